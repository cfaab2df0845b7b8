"""What a judge said is drawn to scale and in words: shares, levels, members, failures, groups, on every width."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from testkit.browser import opened
from tests.e2e.scripted_page import ScriptedPage, problem, result, verdict

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


def test_a_failure_is_a_failure_and_never_a_zero(scripted: ScriptedPage) -> None:
    failed = verdict(id="1", status="timeout", met=None, p=None, p_raw=None, points=3.0, detail="ask with more time")
    some = [verdict(points=7.0, p=0.8, p_raw=0.95), failed, verdict(id="2", met=False, points=2.0, p=0.1, p_raw=0.1)]
    judged = result(
        *some, verdict(id="3", points=-5.0), score=None, score_bounds=[0.1, 0.4], status="partial", coverage=0.82
    )
    scripted.results = [[judged]]
    page = scripted.open()
    score(page)
    assert page.inner_text(".score") == "no score"
    assert "82 % of the points judged. Between 0.1 and 0.4" in page.inner_text(".coverage")
    row = page.locator("[data-criterion='1']")
    assert "out of time" in row.inner_text() and "ask with more time" in row.inner_text()
    assert row.locator("rect.unjudged").count() == 1 and row.locator(".share > .n").inner_text() == "0 to +0.250"
    assert "0.000" not in row.inner_text() and row.locator("svg.probability").count() == 0
    assert page.locator(".step.sum").count() == 0, "a reward that is not there is not drawn"
    assert "raw 0.950" in page.locator("[data-criterion='0']").inner_text()
    assert page.locator("svg.axis rect.band").count() == 1


def test_a_group_with_a_failure_leaves_it_out(scripted: ScriptedPage) -> None:
    page = scripted.open()
    for text in ("b", "c"):
        page.click("#add-response")
        page.keyboard.type(text)
    four = [verdict(id=str(n)) for n in range(4)]
    scripted.results = [
        [result(*four, score=1.0), result(*four, score=None, status="failed"), result(*four, score=0.5)]
    ]
    score(page)
    assert "1 of 3 has no score" in page.inner_text(".group .notice")
    assert page.locator(".group tfoot tr").nth(1).locator("td").all_inner_texts() == ["+0.71", "none", "−0.71"]


def test_a_deployment_of_several_judges_is_chosen_from(blank: Page) -> None:
    judges = [
        ("small", "local", True, None),
        ("both", "panel", True, None),
        ("large", "remote", False, "its engine is down"),
    ]
    deployed = [{"name": n, "kind": k, "ready": ready, "reason": why} for n, k, ready, why in judges]
    scripted = ScriptedPage(blank, name="small", deployed=deployed)
    said = [
        {"judge": "small", "status": "ok", "met": True, "p": 0.9},
        {"judge": "large", "status": "timeout", "met": None, "p": None},
    ]
    of_both = result(verdict(members=said, disagreement=0.25, extracted="42"))
    scripted.results = [[of_both]]
    page = scripted.open()
    page.wait_for_selector("#first-judge")
    assert page.locator("#first-judge option[disabled]").inner_text() == "large (remote) (not now)"
    page.select_option("#first-judge", "both")
    for _ in range(page.locator(".criterion").count() - 1):
        page.click("[aria-label='Remove criterion 2']")
    score(page)
    assert scripted.asked[0]["judge"] == "both"
    page.click("#compare")
    page.select_option("#second-mode", "reasoned")
    scripted.results = [[of_both], [result(verdict(met=False, p=0.2), score=0.0)]]
    score(page)
    assert page.inner_text("#pair-said") == "1 of 1 verdicts flip, and the reward changes by −1.000."
    assert page.locator(".pair tr.flips td").all_text_contents() == ["✓met 0.90", "✗not met 0.20"]
    ways = ["Criterion", "both · verdict · healthbench", "both · reasoned · healthbench"]
    assert page.locator(".pair thead th").all_inner_texts() == ways
    row = page.locator("[data-criterion='0']")
    assert row.locator(".extracted").inner_text() == "Extracted: 42"
    assert row.locator(".inside p").inner_text() == "2 judges, 1 of 1 say met, their P(met) differ by 0.25"
    told = row.locator(".inside li").evaluate_all("all => all.map(one => [...one.children].map(a => a.textContent))")
    assert told == [["small", "", "met 0.90"], ["large", "", "out of time"]]
    assert row.locator(".inside li svg").count() == 1, "a judge that failed has no bar, which would be a zero"
    assert "two askings" not in row.inner_text()


def test_a_level_is_shown_with_its_neighbours(scripted: ScriptedPage) -> None:
    page = scripted.open()
    page.click("[aria-label='Criterion 1: more fields']")
    page.get_by_label("The judge says").select_option("levels")
    page.fill("textarea[id$=-levels]", "0: None.\n0.5: One.\n1: Both.")
    graded = verdict(level=1, p_levels=[0.2, 0.7, 0.1], value=0.45, met=True, p=0.8, points=7.0)
    met = [verdict(id=str(n), points=p) for n, p in ((1, 3.0), (2, 2.0), (3, -5.0))]
    scripted.results = [[result(graded, *met, score=0.292)]]
    score(page)
    row = page.locator("[data-criterion='0']")
    assert "level 2 of 3" in row.inner_text()
    assert row.locator(".inside .chosen > span").all_inner_texts() == ["2: One.", "0.70"]
    widths = row.locator(".inside rect.fill").evaluate_all("all => all.map(one => one.getAttribute('width'))")
    assert widths == ["20%", "70%", "10%"], "drawn to scale"
    assert row.locator(".share > .n").inner_text() == "+0.292", "half of 7 of 12 points"


def test_a_bar_is_as_high_whatever_stands_in_its_row(scripted: ScriptedPage) -> None:
    """A high row would else be a large share to the eye."""
    page = scripted.open()
    long = verdict(explanation="Because. " * 100, points=7.0)
    rest = [verdict(id=str(n), points=p) for n, p in ((1, 3.0), (2, 2.0), (3, -5.0))]
    scripted.results = [[result(long, *rest, score=7 / 12 - 0.125, score_bounds=[0, 1])]]
    score(page)
    rows = page.locator(".step[data-criterion]").evaluate_all("all => all.map(one => one.clientHeight)")
    assert rows[0] > 2 * rows[1]
    bars = page.locator("svg.steps rect").evaluate_all(
        "all => all.map(one => [one.getAttribute('class'), one.getBoundingClientRect().height])"
    )
    assert [height for _, height in bars] == [12] * len(bars) and bars[0][0] == "gain"
    drawn = page.locator("svg.steps").evaluate_all(
        "all => all.map(one => one.parentElement.parentElement.clientHeight)"
    )
    assert max(drawn[1:]) < 150, "a drawing makes no row higher"


def test_a_phone_shows_the_answer_and_a_refusal_which_stand_below_the_button(browser: Browser) -> None:
    with opened(browser, "about:blank", width=320, height=640) as page:
        scripted = ScriptedPage(page)
        scripted.open()
        page.wait_for_selector(READY)
        scripted.refusal = (503, problem("The judge cannot take this now", "the queue is full"), {})
        for selector in (".refusal", ".score"):
            page.evaluate("scrollTo(0, 0)")
            page.click("#go")
            expect(page.locator(selector)).to_be_in_viewport()
            scripted.refusal = None
        assert page.locator(".step .name:visible").first.inner_text() == "P(met)", "what has no head of a column here"
        page.fill("#turns textarea", "")
        page.click("#go")
        expect(page.locator(".refusal")).to_be_in_viewport()
