"""The pages can be read by everybody: on a phone, on a wall, by night, by ear, and whatever text is in them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from testkit.browser import HOSTILE, PHONE_PX, Scheme, axe_problems, brightness, opened, too_wide
from testkit.processes import Running
from tests.e2e.scripted_page import ScriptedPage, problem, result, verdict

READY = "#judge:has-text('fingerprint f')"


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    with opened(browser, "about:blank") as page:
        yield page


def score(page: Page) -> None:
    page.click("#go")
    page.wait_for_selector("#go:enabled")


def hostile_page(page: Page) -> ScriptedPage:
    """100 criteria, several responses and every text a hostile one."""
    texts, points = [HOSTILE[n % len(HOSTILE)] for n in range(100)], -123456.789
    rubric = [{"text": text, "points": points, "tags": {HOSTILE[0][:200]: HOSTILE[1][:200]}} for text in texts]
    state: dict[str, Any] = {"rubric": rubric, "responses": list(HOSTILE)}
    state["turns"] = [{"role": "user", "content": text} for text in HOSTILE]
    kept = json.dumps(json.dumps(state))
    page.add_init_script(f"try {{ localStorage['rubricd.playground'] = {kept} }} catch {{}}")
    scripted = ScriptedPage(page, model=HOSTILE[0], layouts=["rubricd", HOSTILE[0][:80]])
    verdicts = [verdict(id=str(n), points=points, detail=texts[n], explanation=texts[n]) for n in range(100)]
    one = result(*verdicts, score=-0.5, score_bounds=[-1, 0], warnings=[{"code": "w", "detail": HOSTILE[0]}])
    scripted.results = [[one] * len(HOSTILE)]
    scripted.open()
    return scripted


@pytest.mark.parametrize(
    ("width", "scheme"), [(PHONE_PX, "light"), (PHONE_PX, "dark"), (1280, "dark"), (3840, "light")]
)
def test_hostile_texts_make_no_page_scroll_sideways_or_run(browser: Browser, width: int, scheme: Scheme) -> None:
    with opened(browser, "about:blank", width=width, height=800, scheme=scheme) as page:
        hostile_page(page)
        page.wait_for_selector(".criterion >> nth=99")
        page.click("[aria-label='Criterion 1: more fields']")
        page.click("#options summary")
        assert too_wide(page) == []
        score(page)
        page.wait_for_selector(".group")
        assert page.locator(".step[data-criterion]").count() == 100
        page.click("#code summary")
        assert too_wide(page) == []
        assert page.locator("#answer img").count() == 0 and "<img" in page.inner_text("#answer")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", PHONE_PX)])
def test_axe_finds_nothing_serious(browser: Browser, scheme: Scheme, width: int) -> None:
    with opened(browser, "about:blank", scheme=scheme, width=width) as page:
        scripted = ScriptedPage(page)
        scripted.open()
        page.wait_for_selector(READY)
        page.select_option("#examples", label="A group of four, as GRPO sees it")
        for number, kind in enumerate(("levels", "extract"), 1):
            page.click(f"[aria-label='Criterion {number}: more fields']")
            page.locator("select[id$=-kind]").last.select_option(kind)
        page.click("#options summary")
        page.click("#compare")
        page.click("#paste")
        page.click("#code summary")
        failed = verdict(id="1", status="timeout", met=None, p=None, p_raw=None, detail="why")
        panel = [
            {"judge": "a", "status": "ok", "met": False, "p": 0.3},
            {"judge": "b", "status": "timeout", "met": None},
        ]
        three = [verdict(explanation="Because."), failed, verdict(id="2", met=True, disagreement=0.4, members=panel)]
        scripted.results = [[result(*three, score=None, status="partial", score_bounds=[0.1, 0.9])] * 4]
        score(page)
        page.wait_for_selector(".group")
        assert axe_problems(page) == []
        scripted.refusal = (503, problem("The judge cannot take this now", "the queue is full"), {"Retry-After": "9"})
        score(page)
        assert axe_problems(page) == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(blank: Page) -> None:
    page = ScriptedPage(blank).open()
    page.wait_for_selector(READY)
    names: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, ringed = page.evaluate(
            """() => { const one = document.activeElement;
              if (one === document.body) return ['the end', true];
              return [one.id || one.getAttribute('aria-label') || one.textContent,
                getComputedStyle(one).outlineStyle !== 'none'] }"""
        )
        assert ringed, f"no focus ring at {name}"
        names.append(name)
    for wanted in ("examples", "add-turn", "response-0", "paste", "add-criterion", "first-mode", "compare", "go"):
        assert wanted in names, names
    assert "Criterion 1: points" in names


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE_PX), ("dark", 1280)])
def test_the_reference_is_read_by_everybody(browser: Browser, bundled: Running, scheme: Scheme, width: int) -> None:
    with opened(browser, f"{bundled.url}/docs", width=width, scheme=scheme) as page:
        assert axe_problems(page) == [] and too_wide(page) == []
        assert (brightness(page, "body", "backgroundColor") < 0.5) is (scheme == "dark")


def test_a_response_of_a_megabyte_and_500_criteria_are_no_trouble(blank: Page) -> None:
    """What is typed is drawn at once, and the whole is kept and sent as it is."""
    rubric = [{"text": f"Names cause {n}.", "points": 1, "tags": {}} for n in range(500)]
    kept = json.dumps(json.dumps({"rubric": rubric, "responses": ["x " * 500_000]}))
    blank.add_init_script(f"localStorage['rubricd.playground'] = {kept}")
    scripted = ScriptedPage(blank)
    scripted.results = [[result(*(verdict(id=str(n)) for n in range(500)))]]
    page = scripted.open()
    page.wait_for_selector(READY)
    page.fill("[aria-label^='Criterion 500: a statement']", "Names the last cause.")
    page.fill("#turns textarea", "Why?")
    score(page)
    (sent,) = scripted.asked[0]["items"]
    assert len(sent["response"]) == 1_000_000 and len(sent["rubric"]) == 500
    assert sent["rubric"][-1]["text"] == "Names the last cause."
    assert page.locator(".step[data-criterion]").count() == 500


def test_a_rubric_is_written_and_judged_by_the_keyboard_alone(blank: Page) -> None:
    scripted = ScriptedPage(blank)
    page = scripted.open()
    page.wait_for_selector(READY)

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            own = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"
            if page.evaluate(own) == name:
                return
        raise AssertionError(f"no way to {name}")

    tab_to("Criterion 1: points")
    page.keyboard.press("Control+A")
    page.keyboard.type("9")
    tab_to("Criterion 1: more fields")
    page.keyboard.press("Enter")
    assert page.locator("select[id$=-kind]").is_visible()
    tab_to(page.locator("select[id$=-kind]").get_attribute("id") or "")
    page.keyboard.type("one of levels")
    page.wait_for_selector("textarea[id$=-levels]")
    assert page.evaluate("document.activeElement.id").endswith("-kind"), "the focus stays where it was"
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".score")
    first = scripted.asked[0]["items"][0]["rubric"][0]
    assert first["points"] == 9 and len(first["levels"]) == 3


def test_nothing_moves_for_who_wants_no_motion(blank: Page) -> None:
    blank.emulate_media(reduced_motion="reduce")
    page = ScriptedPage(blank).open()
    page.wait_for_selector(READY)
    score(page)
    moving = "all => all.filter(one => getComputedStyle(one).transitionDuration !== '0s').length"
    assert page.locator("*").evaluate_all(moving) == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE_PX), ("dark", 1280), ("light", 3840)])
def test_the_live_view_shows_what_the_judge_does(
    browser: Browser, bundled: Running, scheme: Scheme, width: int
) -> None:
    with opened(browser, bundled.url, width=width, scheme=scheme) as page:
        page.wait_for_selector("#judge:has-text('fingerprint')")
        score(page)
        page.wait_for_selector(".score")
        page.goto(f"{bundled.url}/live")
        page.wait_for_selector("#state:has-text('ready')")
        page.wait_for_selector("svg polyline", state="attached")
        tiles = page.locator(".tile").all_inner_texts()
        for name in ("Waiting in the queue", "Throughput", "Verdicts", "From a cache", "Refused", "Drift", "Engine"):
            assert [tile for tile in tiles if tile.startswith(name)], (name, tiles)
        text = page.inner_text("main")
        assert "the service itself" in text and "_service" not in text and "unmet" not in text
        for name in ("The queue, by team and class", "Label mass", "Refusals since the start", "Work by team"):
            assert name in text
        assert "Of this one process" in text and "fingerprint" in page.inner_text("#who")
        assert axe_problems(page) == [] and too_wide(page) == []


def test_the_live_view_says_when_the_service_is_away_and_when_it_wants_a_key(
    browser: Browser, bundled: Running
) -> None:
    with opened(browser, "about:blank") as page:
        page.route("**/v1/live", lambda route: route.abort())
        page.goto(f"{bundled.url}/live")
        page.wait_for_selector("#said:has-text('The service does not answer')")
        assert page.inner_text("#state") == "away"
        page.unroute("**/v1/live")
        page.wait_for_selector("#state:has-text('ready')")
        page.route("**/v1/live", lambda route: route.fulfill(status=401, body="{}"))
        page.reload()
        page.wait_for_selector("#state:has-text('wants a key')")
        assert "no longer up to date" in page.inner_text("#said"), "as after a key that has expired"
        page.fill("#key", "the-key")
        sent: list[str | None] = []
        page.unroute("**/v1/live")
        page.on("request", lambda request: sent.append(request.headers.get("authorization")))
        page.click("#key-form button")
        page.wait_for_selector("#state:has-text('ready')")
        assert sent == ["Bearer the-key"]


def test_the_live_view_begins_again_where_it_reaches_another_process(browser: Browser, bundled: Running) -> None:
    """Behind one address there may be several, whose counters have nothing to do with each other."""

    def event(at_s: int, host: str, refusals: int) -> str:
        metrics = {"rubricd_refusals_total": [[{"team": "t", "code": "overloaded"}, refusals]]}
        reading = {"at_s": at_s, "instance": host, "process": 1, "host": host, "state": "ready", "why": None}
        return f"data: {json.dumps({**reading, 'metrics': metrics})}\n\n"

    bodies = [event(1, "a", 0) + event(2, "a", 3), event(3, "b", 50) + event(4, "b", 50)]

    def answer(route: Route) -> None:
        route.fulfill(body=bodies.pop(0) if len(bodies) > 1 else bodies[0], content_type="text/event-stream")

    with opened(browser, "about:blank") as page:
        page.route("**/v1/live", answer)
        page.goto(f"{bundled.url}/live")
        page.wait_for_selector("[aria-label=Refused] b:has-text('3')")
        page.wait_for_selector("#about:has-text('number 1 on b')")
        assert page.inner_text("[aria-label=Refused] b").startswith("0"), "50 were before this page reached it"
        assert "Prometheus adds them up" in page.inner_text("#about")


def grouped(page: Page) -> None:
    """Four responses of which the first two differ in one verdict."""
    scripted = ScriptedPage(page)
    scripted.open()
    page.wait_for_selector(READY)
    page.select_option("#examples", "1")
    first, *rest = (verdict(id=str(n)) for n in range(3))
    scripted.results = [[result(first, *rest), result({**first, "met": False}, *rest), *[result(first, *rest)] * 2]]
    score(page)
    page.wait_for_selector(".group")


def test_what_is_chosen_and_what_differs_is_seen_in_forced_colours(blank: Page) -> None:
    blank.emulate_media(forced_colors="active")
    grouped(blank)
    colours = blank.locator(".group thead button").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert colours[0] not in colours[1:] and len(set(colours[1:])) == 1
    marks = blank.locator(".group tbody th").evaluate_all(
        "all => all.map(one => getComputedStyle(one, '::before').content)"
    )
    assert marks == ['"≠ "', "none", "none"]
    assert axe_problems(blank) == []


def test_a_printed_answer_has_no_buttons_and_all_its_rows(blank: Page) -> None:
    grouped(blank)
    blank.emulate_media(media="print")
    for hidden in (".bar", "#examples", "#share", "#add-turn", ".step button", ".top nav"):
        assert blank.locator(hidden).first.is_hidden(), hidden
    assert blank.is_visible(".score") and blank.is_visible("#turns textarea")
    assert blank.locator(".scroll").evaluate("one => one.scrollHeight <= one.clientHeight + 1"), "nothing is cut off"


@pytest.mark.parametrize("path", ["", "live"])
def test_a_page_that_is_magnified_four_times_is_read_by_scrolling_down_alone(
    browser: Browser, bundled: Running, path: str
) -> None:
    """1,280 by 1,024 pixels at 400 %, as WCAG 1.4.10 asks."""
    with opened(browser, f"{bundled.url}/{path}", width=PHONE_PX, height=256) as page:
        page.wait_for_selector("#state:has-text('ready')" if path else "#judge:has-text('fingerprint')")
        assert too_wide(page) == []
        covered = page.evaluate(
            "[...document.querySelectorAll('.bar')].reduce((all, one) => all + one.clientHeight, 0)"
        )
        assert covered < 256 / 3, "what stays in place leaves room"
