"""The page says in plain words what is the matter: no service, no key, a full queue, a verdict that is not there."""

import json
import re
from collections.abc import Iterator
from typing import get_args

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from service.api.reference import RULES
from testkit.browser import opened
from tests.e2e.scripted_page import KEY, PAGE, URL, ScriptedPage, problem, result, verdict
from trainer_client import wire

READY = "#judge:has-text('fingerprint f')"


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    with opened(browser, "about:blank") as page:
        yield page


@pytest.fixture
def scripted(blank: Page) -> ScriptedPage:
    return ScriptedPage(blank)


def score(page: Page) -> None:
    page.wait_for_selector("#go:enabled")
    page.click("#go")
    page.wait_for_selector("#go:enabled")


def test_a_service_with_keys_is_asked_with_the_key_that_a_person_gives(blank: Page) -> None:
    scripted = ScriptedPage(blank, needs_key=True)
    page = scripted.open()
    page.wait_for_selector("#key")
    assert "give a key" in page.inner_text("#away") and "Give your team's key below" in page.inner_text("#away")
    assert page.get_attribute("#key", "type") == "password"
    score(page)
    assert page.inner_text(".refusal p >> nth=0") == "No or unknown key: give a key"
    page.fill("#key", f" {KEY} ")
    score(page)
    page.wait_for_selector(READY)
    assert set(scripted.keys) == {None, f"Bearer {KEY}"}
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    assert KEY not in str(page.evaluate(kept))
    page.click("#share")
    assert KEY not in str(page.evaluate(kept))
    page.check("#keep-key")
    assert KEY in str(page.evaluate(kept)), "a person asked for it"
    page.reload()
    page.wait_for_selector(READY)
    page.uncheck("#keep-key")
    assert KEY not in str(page.evaluate(kept))


@pytest.mark.parametrize(
    ("status", "title", "detail", "wait_s"),
    [
        (403, "Not allowed", "team t may not ask with this `priority`", None),
        (429, "The team's quota is used up", "team t has used its share", "170"),
        (503, "The judge cannot take this now", "the queue is full", "2"),
    ],
)
def test_a_refusal_has_its_reason_and_when_to_come_back(
    scripted: ScriptedPage, status: int, title: str, detail: str, wait_s: str | None
) -> None:
    page = scripted.open()
    scripted.refusal = (status, problem(title, detail), {} if wait_s is None else {"Retry-After": wait_s})
    score(page)
    assert page.inner_text(".refusal p >> nth=0") == f"{title}: {detail}"
    button = page.locator(".refusal button")
    if wait_s is None:
        assert button.inner_text() == "Try again" and button.is_enabled()
    elif wait_s == "170":  # the page counts down
        shown = re.fullmatch(r"Try again in (\d+) s", button.inner_text())
        assert shown is not None and 100 < int(shown[1]) <= 170 and button.is_disabled()
    else:
        scripted.refusal = None
        expect(button).to_be_enabled()
        button.click()
        page.wait_for_selector(".score")


def test_a_place_in_the_request_is_named(scripted: ScriptedPage) -> None:
    page = scripted.open()
    page.fill("[aria-label^='Criterion 2: a statement']", " ")  # a row that is not sent
    places = {
        ("rubric",): "Rubric: x",
        ("rubric", "criteria", 1, "levels", 0, "value"): "Criterion 3, levels, number 1, value: x",
        ("prompt", "(key)", 2, "content"): "Turn 3, content: x",
        ("responses", 1): "Response B: x",
    }
    errors = [{"loc": ["items", 0, *place], "msg": "x"} for place in places]
    found = {**problem("Request not valid", "5 places"), "errors": [*errors, {"loc": ["min_coverage"], "msg": "x"}]}
    scripted.refusal = (422, found, {})
    score(page)
    assert page.inner_text(".refusal p >> nth=0") == "Request not valid:"
    assert page.locator(".refusal li").all_inner_texts() == [*places.values(), "Min coverage: x"]


def test_a_page_of_a_proxy_in_place_of_an_answer_is_said_to_be_none(scripted: ScriptedPage) -> None:
    page = scripted.open()
    scripted.refusal = (502, "<html>Bad gateway", {})
    score(page)
    assert "The service responded with status 502 and gave no reason." in page.inner_text(".refusal")


def test_a_key_that_expires_is_asked_for_and_nothing_is_lost(scripted: ScriptedPage) -> None:
    page = scripted.open()
    page.wait_for_selector(READY)
    page.fill("#response-0", "Mine.")
    scripted.needs_key = True
    score(page)
    page.wait_for_selector(".refusal:has-text('give a key')")
    assert page.evaluate("document.activeElement.id") == "key"
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector(".score")
    page.wait_for_selector(READY)
    assert page.input_value("#response-0") == "Mine." and page.is_hidden("#away")


def test_a_service_that_is_away_is_waited_for(scripted: ScriptedPage) -> None:
    page = scripted.page
    page.route(f"{URL}v1/judge", lambda route: route.abort())
    scripted.open()
    page.wait_for_selector("#away:has-text('The service does not answer')")
    assert "asks again by itself" in page.inner_text("#away")
    page.unroute(f"{URL}v1/judge")
    page.wait_for_selector(READY)
    assert page.is_hidden("#away")


def test_another_judge_that_came_in_the_place_of_the_first_is_named(scripted: ScriptedPage) -> None:
    """As after a restart of the service with other weights."""
    page = scripted.open()
    page.wait_for_selector(READY)
    scripted.judge = {**scripted.judge, "fingerprint": "g", "judges": [{"fingerprint": "g", "trust": "unproven"}]}
    score(page)
    page.wait_for_selector("#judge:has-text('fingerprint g')")
    assert page.is_visible("#unproven")


def test_a_service_that_is_away_is_asked_by_one_loop(scripted: ScriptedPage) -> None:
    """Each press of the button began another one, and all of them asked until it was back."""
    page, there, answered = scripted.page, False, 0

    def judge(route: Route) -> None:
        nonlocal answered
        answered += there
        if there:
            route.fulfill(json=scripted.judge)
        else:
            route.abort()

    page.clock.install()
    page.route(f"{URL}v1/judge", judge)
    page.route(f"{URL}v1/score", lambda route: route.abort())
    scripted.open()
    for _ in range(5):
        score(page)
        page.wait_for_selector(".refusal")
    there = True
    page.clock.run_for(60_000)
    page.wait_for_selector(READY)
    page.clock.run_for(60_000)
    with page.expect_request(f"{URL}v1/last"):
        page.evaluate("() => { void fetch('v1/last').catch(() => {}) }")
    assert answered == 1


def test_a_judge_that_loads_is_waited_for(scripted: ScriptedPage) -> None:
    scripted.no_judge = (503, problem("The judge cannot take this now", "the judge is loading"), {"Retry-After": "1"})
    page = scripted.open()
    page.wait_for_selector("#away:has-text('the judge is loading')")
    assert "goes on by itself" in page.inner_text("#away")
    scripted.no_judge = None
    page.wait_for_selector(READY)


def test_an_answer_that_breaks_off_is_no_score(scripted: ScriptedPage) -> None:
    page = scripted.open()
    line = '{"index": 0, "score": 1.0}\n'
    page.route(f"{URL}v1/score", lambda route: route.fulfill(body=line, content_type="application/x-ndjson"))
    score(page)
    assert "broke off before its end, so there is no score" in page.inner_text(".refusal")
    assert page.locator(".score").count() == 0


def test_progress_is_shown_and_stop_stops(scripted: ScriptedPage) -> None:
    page = scripted.open()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.url.endswith("v1/score") else None)
    scripted.hold = True
    page.click("#add-response")
    page.fill("#response-1", "Another.")
    with page.expect_request(f"{URL}v1/score"):
        page.click("#go")
    page.wait_for_selector("#progress :text('0 of 2 responses')")
    assert page.locator("#go").is_disabled()
    page.click("#stop")
    page.wait_for_selector("#answer:has-text('Stopped.')")
    page.focus("#response-1")
    with page.expect_request(f"{URL}v1/score"):
        page.keyboard.press("Control+Enter")
        page.keyboard.press("Control+Enter")
    page.keyboard.press("Escape")
    page.wait_for_selector("#go:enabled")
    scripted.hold = False
    page.focus("#go")
    with page.expect_request(f"{URL}v1/score"):
        page.keyboard.press("Enter")
    page.wait_for_selector("#spoken:has-text('Reward 1.000. 100 % of the points judged.')", state="attached")
    assert page.evaluate("document.activeElement.id") == "go", "a button that was disabled keeps the focus"
    assert len(sent) == 3, "pressed twice, it is asked once"


def test_nothing_empty_is_sent(scripted: ScriptedPage) -> None:
    page = scripted.open()
    page.fill("#turns textarea", " ")
    score(page)
    assert "The conversation is empty" in page.inner_text(".refusal")
    page.fill("#turns textarea", "Hi")
    for _ in range(page.locator(".criterion").count()):
        page.click("[aria-label='Remove criterion 1']")
    score(page)
    assert "The rubric is empty" in page.inner_text(".refusal") and scripted.asked == []


def test_the_judge_explains_one_criterion_when_asked(scripted: ScriptedPage) -> None:
    page = scripted.open()
    page.wait_for_selector(READY)
    four = [verdict(id=str(n)) for n in range(4)]
    scripted.results = [[result(*four)], [result(verdict(met=False, explanation="It names <b>none</b>."))]]
    score(page)
    page.click("[data-criterion='2'] button:has-text('Explain')")
    page.wait_for_selector("[data-criterion='2'] .explanation:has-text('none')")
    told = page.inner_text("[data-criterion='2'] .explanation")
    assert "It names <b>none</b>." in told and "That is another verdict" in told
    assert scripted.asked[1]["mode"] == "reasoned"
    assert [one["text"] for one in scripted.asked[1]["items"][0]["rubric"]] == ["Gives at least four steps."]


def test_a_judge_without_reasons_says_so(blank: Page) -> None:
    reason = "it writes no text"
    scripted = ScriptedPage(
        blank, modes=["verdict"], unserved=[{"mode": "reasoned", "layout": "rubricd", "reason": reason}]
    )
    page = scripted.open()
    page.wait_for_selector(READY)
    score(page)
    page.click("[data-criterion='0'] button:has-text('Explain')")
    assert f"This judge gives no reasons: {reason}." in page.inner_text("[data-criterion='0'] .explanation")
    assert page.locator("#first-mode option[disabled]").count() == 3


@pytest.mark.parametrize(
    ("trust", "toy", "shown"), [("unproven", False, True), ("proven", False, False), ("unproven", True, False)]
)
def test_an_unproven_judge_is_called_one(blank: Page, trust: str, toy: bool, shown: bool) -> None:
    page = ScriptedPage(blank, toy=toy, judges=[{"fingerprint": "f", "trust": trust}]).open()
    page.wait_for_selector(READY)
    assert page.is_visible("#unproven") is shown
    assert page.is_visible("#toy") is toy


def test_every_example_is_a_request_that_the_service_takes(scripted: ScriptedPage) -> None:
    page = scripted.open()
    page.click("#code summary")
    page.click("#languages button:has-text('JSON')")
    names = page.locator("#examples option").all_inner_texts()[1:]
    assert names.pop() == "Nothing: an empty page" and len(names) == 4
    for name in names:
        page.select_option("#examples", label=name)
        sent = wire.ScoreRequest.model_validate_json(page.inner_text("#snippet"))
        assert sent.items[0].rubric is not None and len(sent.items[0].rubric.criteria) >= 3


def test_the_page_offers_all_that_the_contract_has(scripted: ScriptedPage) -> None:
    page = scripted.open()
    page.wait_for_selector(READY)

    def offered(selector: str) -> set[str]:
        return set(page.locator(f"{selector} >> option").evaluate_all("all => all.map(one => one.value)")) - {""}

    assert offered("#first-aggregation") == set(get_args(wire.AggregationName))
    assert offered("#first-mode") == set(get_args(wire.Mode))
    page.click("#options summary")
    assert offered("#first-unjudged") == set(get_args(wire.Unjudged))
    page.click("[aria-label='Criterion 1: more fields']")
    rules = {one.model_json_schema()["properties"]["rule"]["const"] for one in RULES}
    assert offered("select[id$=-rule]") == rules
    page.locator("select[id$=-kind]").select_option("extract")
    assert offered("select[id$=-type]") == set(get_args(wire.ExtractType))
    script = PAGE[PAGE.index("const STATUS") :].split("\n")[0]
    assert [one for one in get_args(wire.CriterionStatus) if one != "ok" and f"{one}: " not in script] == []


def test_a_category_with_a_name_of_the_pages_language_is_an_unknown_one(blank: Page) -> None:
    rubric = [{"text": "A.", "points": 5, "tags": {"category": "constructor"}}]
    kept = json.dumps(json.dumps({"rubric": rubric, "options": {"aggregation": "rar_explicit"}}))
    blank.add_init_script(f"try {{ localStorage['rubricd.playground'] = {kept} }} catch {{}}")
    page = ScriptedPage(blank).open()
    page.wait_for_selector(READY)
    page.fill("#turns textarea", "Hi")
    score(page)
    told = page.inner_text("#answer")
    assert "It is no sum" in told and "NaN" not in told
