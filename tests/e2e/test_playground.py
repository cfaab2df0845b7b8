"""A person opens the page in a real browser, scores a response and sees why."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Route

from testkit.browser import opened
from testkit.processes import ROOT, Running

PAGE = (ROOT / "service" / "api" / "playground" / "page.html").read_text(encoding="utf-8")
KEY = "rbd_right"


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    with opened(browser, "about:blank") as page:
        yield page


@pytest.fixture
def page(bundled: Running, blank: Page) -> Page:
    blank.goto(bundled.url)
    return blank


class Guarded:
    """The page as a service with keys would serve it. With the right key, `/v1/score` gives `answer`."""

    def __init__(self, page: Page) -> None:
        self.answer: tuple[int, dict[str, Any], dict[str, str]] = (200, scored(), {})
        self.keys: list[str | None] = []
        self.judge: dict[str, Any] = {}
        page.route("http://judge.test/**", self._route)
        page.goto("http://judge.test/")

    def _route(self, route: Route) -> None:
        if route.request.url.endswith("/"):
            route.fulfill(body=PAGE, content_type="text/html; charset=utf-8")
            return
        self.keys.append(route.request.header_value("authorization"))
        if self.keys[-1] != f"Bearer {KEY}":
            route.fulfill(status=401, json=told("No or unknown key", "give a key"))
        elif route.request.url.endswith("/v1/judge"):
            route.fulfill(json={"model": "m", "engine": "e", "fingerprint": "f", "modes": ["verdict"], **self.judge})
        else:
            status, body, headers = self.answer
            route.fulfill(status=status, json=body, headers=headers)


def told(title: str, detail: str) -> dict[str, Any]:
    return {"title": title, "detail": detail, "errors": []}


def scored() -> dict[str, Any]:
    verdict = {"met": True, "status": "ok", "p": 0.9, "p_raw": 0.9, "source": "judge"}
    result = {"score": 1.0, "score_bounds": [1, 1], "status": "ok", "coverage": 1, "criteria": [verdict] * 3}
    return {"judge": {"mode": "verdict"}, "results": [result]}


@pytest.fixture
def guarded(blank: Page) -> Guarded:
    return Guarded(blank)


def test_a_service_with_keys_is_asked_with_the_key_that_a_person_gives(blank: Page, guarded: Guarded) -> None:
    blank.wait_for_selector("#key")
    assert "give a key" in blank.inner_text("#judge")
    assert blank.get_attribute("#key", "type") == "password"
    blank.click("#go")
    blank.wait_for_selector(".error")
    assert blank.inner_text(".error") == "No or unknown key: give a key"
    blank.fill("#key", f" {KEY} ")
    blank.click("#go")
    blank.wait_for_selector(".score")
    blank.wait_for_function("document.getElementById('judge').textContent.includes('fingerprint f')")
    assert set(guarded.keys) == {None, f"Bearer {KEY}"}
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    assert KEY not in str(blank.evaluate(kept))


@pytest.mark.parametrize(
    ("status", "title", "detail", "retry_after", "shown"),
    [
        (403, "Not allowed", "team t may not ask with this `priority`", None, "may not ask with this `priority`"),
        (429, "The team's quota is used up", "team t has used its share", "17", "Try again in 17 s."),
        (503, "The judge cannot take this now", "the queue is full", "2", "Try again in 2 s."),
    ],
)
def test_a_refusal_is_shown_with_its_reason_and_when_to_come_back(
    blank: Page, guarded: Guarded, status: int, title: str, detail: str, retry_after: str | None, shown: str
) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    guarded.answer = (status, told(title, detail), headers)
    blank.fill("#key", KEY)
    blank.click("#go")
    blank.wait_for_selector(".error")
    said = blank.inner_text(".error")
    assert said.startswith(f"{title}: {detail}") and shown in said


def test_a_page_of_a_proxy_in_place_of_an_answer_is_said_to_be_none(blank: Page, guarded: Guarded) -> None:
    blank.route("http://judge.test/v1/score", lambda route: route.fulfill(status=502, body="<html>Bad gateway"))
    blank.click("#go")
    blank.wait_for_selector(".error")
    assert blank.inner_text(".error") == "The service responded with status 502: it gave no reason"


def test_scoring_shows_the_score_and_a_row_for_each_criterion(page: Page) -> None:
    page.fill("#response", "Get some rest.")
    page.fill("#rubric", "5 Tells the user to get some rest.\n0 Is kind.\n-2 Tells the user to run.")
    page.click("#go")
    page.wait_for_selector(".score")
    float(page.inner_text(".score"))
    assert page.locator("#answer tr").count() == 4
    assert "fingerprint" in page.inner_text("#judge")


def test_a_warning_about_the_response_is_shown(page: Page) -> None:
    page.fill("#response", "<think>Ignore the pain.</think>Drink ginger tea.")
    page.click("#go")
    page.wait_for_selector("#answer .score")
    told = page.locator("#answer p.wait").all_inner_texts()
    assert len(told) == 1 and told[0].startswith("reasoning_kept: ")


@pytest.mark.parametrize(
    ("trust", "toy", "shown"), [("unproven", False, True), ("proven", False, False), ("unproven", True, False)]
)
def test_an_unproven_judge_is_called_one_above_the_form(
    blank: Page, guarded: Guarded, trust: str, toy: bool, shown: bool
) -> None:
    guarded.judge = {"toy": toy, "judges": [{"fingerprint": "f", "trust": trust}]}
    blank.wait_for_selector("#key")
    blank.fill("#key", KEY)
    blank.click("#go")
    blank.wait_for_selector(".score")
    assert blank.is_visible("#unproven") is shown
    assert blank.is_visible("#toy") is toy


def test_a_slip_in_the_rubric_is_explained(page: Page) -> None:
    page.fill("#rubric", "Tells the user to rest.")
    page.click("#go")
    page.wait_for_selector(".error")
    assert "line 1: write points, a space and the criterion" in page.inner_text(".error")


def test_text_of_a_response_is_never_markup(page: Page) -> None:
    page.fill("#rubric", "1 <img src=x onerror=alert(1)>")
    page.click("#go")
    page.wait_for_selector(".score")
    assert page.locator("#answer img").count() == 0
    assert "<img" in page.inner_text("#answer table")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_long_words_without_scrolling_sideways(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 640})
    page.fill("#response", "w" * 2000)
    page.fill("#rubric", f"-100000 {'criterion' * 200}\n1 Is kind.")
    page.click("#go")
    page.wait_for_selector("#answer table")
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(246, 247, 249)"
    assert dark is (scheme == "dark")


def test_the_judge_can_be_asked_in_every_mode_it_has(page: Page) -> None:
    page.wait_for_selector("#mode option:nth-child(3)", state="attached")
    assert page.locator("#mode option").all_inner_texts() == ["verdict", "implicit", "likert"]
    assert page.inner_text("#toy") == "This judge is a toy: believe none of its verdicts."
    assert page.is_hidden("#unproven"), "one line is enough"
    for mode, shown in (("implicit", "#answer p.wait"), ("verdict", "#answer table")):
        page.select_option("#mode", mode)
        with page.expect_response("**/v1/score") as answered:
            page.click("#go")
        assert answered.value.json()["judge"]["mode"] == mode
        page.wait_for_selector(shown)
