"""The page in Chromium: it finds, sorts and links, by mouse and by key, on every width, and with every text."""

import csv
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from testkit.browser import PHONE_PX, Scheme, axe_problems, opened, too_wide
from testkit.made_results import write_results
from tests.trainer_client.viewer.made import hostile, page_of, rollout, verdict
from trainer_client.rollouts import Rollout, read
from trainer_client.viewer.columns import Source
from trainer_client.viewer.page import write

ROWS, CRITERIA = 10_000, 10
TABS = ("overview", "responses", "criteria", "tags", "compare")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("large")
    rollouts = read(write_results(folder / "made.jsonl", ROWS, criteria=CRITERIA))
    write([Source("made.jsonl", rollouts)], folder / "made.html")
    return (folder / "made.html").as_uri()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("two")
    first = read(write_results(folder / "a.jsonl", 400))
    second = read(write_results(folder / "b.jsonl", 400, judge="judge-b", doubt=0.2))
    return page_of(folder / "two.html", first, second)


def _rows(page: Page) -> int:
    found: int = page.evaluate("document.querySelectorAll('.row').length")
    return found


def _work(page: Page, more: str) -> dict[str, int]:
    """What one change looks at."""
    found: dict[str, int] = page.evaluate(
        f"() => {{ const before = {{...rubricd.work}}; rubricd.change({more});"
        "return Object.fromEntries(Object.entries(rubricd.work).map(([key, n]) => [key, n - before[key]])); }"
    )
    return found


def test_of_10_000_responses_the_visible_ones_exist(browser: Browser, large: str) -> None:
    with opened(browser, f"{large}#tab=responses") as page:
        assert page.locator(".grid:visible").get_attribute("aria-rowcount") == str(ROWS + 1)
        assert 10 <= _rows(page) <= 40
        page.locator("#list .grid").focus()
        page.keyboard.press("End")
        page.wait_for_function("document.querySelector('.row.active')?.getAttribute('aria-rowindex') === '10001'")
        assert _rows(page) <= 40


def test_a_filter_looks_once_at_what_it_needs(browser: Browser, large: str) -> None:
    with opened(browser, f"{large}#tab=responses") as page:
        texts = page.evaluate("rubricd.data.texts.length")
        assert texts < 2 * ROWS, "equal texts are held once"
        first = _work(page, '{q: "numbness"}')
        assert first["texts"] == texts and first["rows"] == ROWS and first["verdicts"] == 0 and first["built"] <= 80
        assert _work(page, "{score: [0, 0.5]}") == {"texts": 0, "rows": ROWS, "verdicts": 0, "built": first["built"]}
        assert _work(page, '{verdict: "none"}')["verdicts"] <= ROWS * CRITERIA
        assert _work(page, '{sort: "-Score"}')["rows"] == 0, "sorting filters nothing"
        kinds = page.evaluate(
            "[rubricd.data.score, rubricd.data.said.p, rubricd.data.said.met].map(one => one.constructor.name)"
        )
        assert kinds == ["Float64Array", "Float64Array", "Int8Array"]


def test_search_filters_and_chips(browser: Browser, two: str) -> None:
    with opened(browser, two) as page:
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "q"
        page.keyboard.type("NUMBNESS")
        page.wait_for_function("rubricd.chosen().rows.length < 800")
        text_of = "i => rubricd.data.texts[rubricd.data.talks[rubricd.data.response[i]][1]]"
        shown = page.evaluate(f"Array.from(rubricd.chosen().rows, {text_of})")
        assert shown and all("numbness" in text for text in shown)
        page.locator("#verdict").select_option("none")
        page.locator("#low").fill("0.5")
        assert page.evaluate("[...rubricd.chosen().rows].every(i => rubricd.data.score[i] >= 0.5)")
        assert page.locator("#count").inner_text().endswith("of 800")
        page.locator(".bin").nth(1).press("Enter")
        page.get_by_text("Clear all filters").click()
        assert page.locator("#count").inner_text() == "800 of 800"


def test_a_link_brings_back_what_is_seen(browser: Browser, two: str) -> None:
    with opened(browser, two) as page:
        page.locator("#tab-responses").click()
        page.locator("#verdict").select_option("unmet")
        page.locator("#list .grid").focus()
        for _ in range(3):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.tagName") == "H2"
        title, address = page.locator("#evidence h2").inner_text(), page.url
        page.keyboard.press("Escape")
        assert page.locator("#detail").is_hidden() and "row=" not in page.url
    with opened(browser, address) as page:
        assert page.locator("#evidence h2").inner_text() == title
        assert page.locator("#verdict").input_value() == "unmet"
    with opened(
        browser, f"{two}#row=99999&tab=no&status=-7&score=a~b&verdict=constructor&criterion=1.5&toString=x"
    ) as page:
        assert page.locator("#count").inner_text() == "800 of 800", "a wrong link filters nothing"


def test_the_evidence_of_a_response(browser: Browser, tmp_path: Path) -> None:
    panel = [
        {"judge": "large", "met": False, "p": 0.4, "status": "ok"},
        {"judge": "small", "met": None, "status": "timeout"},
    ]
    failed = verdict("late", None, status="timeout", detail="it took too long", members=panel)
    fault = verdict("fault", True, -3.0, p=0.9, p_raw=0.6, explanation="It says so.", tags={"axis": "safety"})
    levels = verdict(
        "graded",
        True,
        level=0,
        p_levels=[0.75, 0.25],
        levels=("good", "poor"),
        level_values=(1.0, 0.0),
        value=0.75,
        extracted="42",
        status="ok",
    )
    whole = rollout(
        0,
        fault,
        failed,
        levels,
        prompt=({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hm?"}),
        coverage=0.5,
        bounds=(0.1, 0.9),
    )
    gone = rollout(1, score=None, status="overloaded", detail="the judge was full")
    with opened(browser, page_of(tmp_path / "page.html", [whole, gone]) + "#tab=responses&row=0") as page:
        text = page.locator("#evidence").inner_text()
        for told in (
            "0.500",
            "0.100 to 0.900",
            "50 %",
            "no verdict: timeout",
            "it took too long",
            "P 0.900 (raw 0.600)",
            "It says so.",
            "axis: safety",
            "\u22123",
            "level good",
            "100 % of its points, 75 % expected",
            "Extracted: 42",
            "Conversation: 2 turns",
        ):
            assert told in text, told
        parts = page.locator(".parts").evaluate_all(
            "all => all.map(list => [...list.children].map(one => [...one.children].map(part => part.textContent)))"
        )
        assert parts == [
            [["large", "", "not met 0.400"], ["small", "", "timeout"]],
            [["good", "", "0.750"], ["poor", "", "0.250"]],
        ]
        assert page.locator(".parts svg").count() == 3, "a judge that failed has no bar, which would be a zero"
        mark = page.locator(".verdict .mark.none").bounding_box()
        row = page.locator(".verdict", has_text="late").first.bounding_box()
        assert mark and row and row["y"] <= mark["y"] < row["y"] + row["height"], "a mark stands in its row"
        assert page.locator(".verdict .mark.bad").count() == 1 and page.locator(".verdict .mark.none").count() == 1
        page.locator("#next").click()
        text = page.locator("#evidence").inner_text()
        assert "no score" in text and "overloaded: the judge was full" in text and "0.000" not in text


def test_two_files_are_compared(browser: Browser, tmp_path: Path) -> None:
    """Four answers of one group, of which one judge turns the order of two round and flips two verdicts."""
    said = [(0.9, True), (0.5, True), (0.1, False)]
    first = [rollout(n, verdict("kind", met), score=score) for n, (score, met) in enumerate(said)]
    second = [
        rollout(n, verdict("kind", met), score=score)
        for n, (score, met) in enumerate([(0.4, False), (0.6, True), (0.2, True)])
    ]
    first.append(rollout(3, verdict("kind", True), score=0.5))
    second.append(rollout(3, verdict("kind", None), score=None))
    with opened(browser, page_of(tmp_path / "page.html", first, second) + "#tab=compare") as page:
        found = page.evaluate("rubricd.compared()")
        assert [pair for pair in found["pairs"]] == [[0, 4], [1, 5], [2, 6], [3, 7]]
        assert (found["toMet"], found["toUnmet"], found["lost"], found["verdicts"]) == (1, 1, 1, 3)
        assert (found["ordered"], found["orderTurned"], found["bestChanged"], found["turned"]) == (3, 1, 1, 0)
        ranks = page.evaluate(
            "[rubricd.compared().rankBefore, rubricd.compared().rankAfter].map(one => [...one].map(String))"
        )
        assert ranks == [["1", "2", "3", "NaN"], ["2", "1", "3", "NaN"]]
        page.locator("#flipped").select_option("verdicts")
        assert page.locator("#pairs .row").count() == 2
        page.locator("#pairs .row").first.click()
        assert (
            page.locator("#evidence .verdict.flipped").count() == 1
            and "Before: 0.900" in page.locator("#evidence").inner_text()
        )
        page.locator("#by").select_option("criteria")
        assert page.locator("#flips .row").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, two: str, scheme: Scheme) -> None:
    with opened(browser, two, scheme=scheme) as page:
        for tab, row in (*((tab, -1) for tab in TABS), ("responses", 1), ("compare", 401)):
            page.evaluate(f"rubricd.change({{tab: '{tab}', row: {row}}})")
            assert axe_problems(page) == [], (tab, row)


@pytest.mark.parametrize("width", [PHONE_PX, 1280, 3840])
def test_hostile_texts_neither_run_nor_widen_the_page(browser: Browser, tmp_path: Path, width: int) -> None:
    address = page_of(tmp_path / "page.html", hostile(), hostile())
    with opened(browser, "about:blank", width=width) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        for row, tab in [(-1, tab) for tab in TABS] + [(row, "responses") for row in range(9)] + [(12, "compare")]:
            page.evaluate(f"rubricd.change({{tab: '{tab}', row: {row}}})")
            assert too_wide(page) == [], (tab, row)
            assert page.evaluate("document.querySelectorAll('img').length") == 0
        assert len(asked) == 1 and page.title() == "a.jsonl and b.jsonl"


def test_a_long_text_is_shown_in_full_when_asked(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, page_of(tmp_path / "page.html", [rollout(0, response="word " * 20_000)])) as page:
        assert len(page.locator(".said").last.inner_text()) == 20_000
        page.get_by_text("Show all 100,000 characters").click()
        assert page.evaluate("[...document.querySelectorAll('.said')].pop().textContent.length") == 100_000


def test_the_chosen_responses_are_saved(browser: Browser, tmp_path: Path) -> None:
    rollouts = [rollout(0, score=0.1 + 0.2, response='say "hi",\nnow'), rollout(1, score=None)]
    with opened(browser, page_of(tmp_path / "page.html", rollouts)) as page:
        with page.expect_download() as waiting:
            page.locator("#download").click()
        with Path(waiting.value.path()).open(newline="") as file:
            first, second = csv.DictReader(file)
    assert (first["response"], float(first["score"])) == ('say "hi",\nnow', 0.1 + 0.2)
    assert (second["score"], second["status"]) == ("", "overloaded")


def test_a_run_is_filtered_by_its_steps(browser: Browser, tmp_path: Path) -> None:
    rollouts = [rollout(n, verdict("one", True), step=n // 4, group=str(n // 2)) for n in range(40)]
    with opened(browser, page_of(tmp_path / "page.html", rollouts)) as page:
        assert page.locator("#tab-tags").is_hidden(), "there are no tags"
        page.locator("#first").fill("8")
        assert page.locator("#count").inner_text() == "8 of 40" and "step=8%7E" in page.url
    with opened(browser, page_of(tmp_path / "none.html", [rollout(0), rollout(1)])) as page:
        assert page.locator("#first").is_hidden()


def test_the_best_and_the_worst_are_shown(browser: Browser, tmp_path: Path) -> None:
    scores = [0.3, None, 0.9, -0.2, 0.5, 0.9, 0.1, 0.7, 0.0, 0.8, -0.2]
    rollouts = [rollout(n, verdict("one", True), score=score) for n, score in enumerate(scores)]
    with opened(browser, page_of(tmp_path / "page.html", rollouts)) as page:
        best, worst = (page.locator(f"#{name} b").all_inner_texts() for name in ("best", "worst"))
        assert best == ["0.900", "0.900", "0.800", "0.700", "0.500"]
        assert worst == ["\u22120.200", "\u22120.200", "0.000", "0.100", "0.300"]
        page.locator("#best .answer").first.click()
        assert page.locator("#evidence h2").inner_text() == "g/2"


def _graded(place: int, level: int, **more: Any) -> Rollout:
    """A response with one graded criterion, of which only the chosen level and its probabilities differ."""
    ps = [0.8 if n == level else 0.1 for n in range(3)]
    names, values = ("none", "one", "both"), (0.0, 0.5, 1.0)
    told = verdict("graded", level > 0, level=level, p_levels=ps, levels=names, level_values=values, value=0.5)
    return rollout(place, told, **more)


def test_levels_are_verdicts_and_a_filter(browser: Browser, tmp_path: Path) -> None:
    rated = rollout(4, verdict("rating", None, value=0.25, status="ok"))
    rollouts = [*(_graded(n, level) for n, level in enumerate((0, 1, 1, 2))), rated]
    with opened(browser, page_of(tmp_path / "page.html", rollouts)) as page:
        assert "4 verdicts, 0 missing" in page.inner_text("#tiles"), "a rating is no missing verdict"
        page.locator("#level").select_option(label="one")
        assert page.locator("#count").inner_text() == "2 of 5" and "level=" in page.url
        page.get_by_text("Clear all filters").click()
        page.locator("#verdict").select_option("none")
        assert page.locator("#count").inner_text() == "0 of 5"
        page.get_by_text("Clear all filters").click()
        page.locator("#tab-criteria").click()
        ribbon = page.locator("#criteria .ribbon[role=img]")
        assert ribbon.get_attribute("aria-label") == "none: 1\none: 2\nboth: 1"
        widths = ribbon.locator("rect").evaluate_all("all => all.map(one => Number(one.getAttribute('width')))")
        assert widths == [25, 50, 25]
        page.locator("#tab-responses").click()
        dots = page.locator(".row >> nth=1").locator(".dots i")
        assert dots.evaluate_all("all => all.map(one => one.className)") == ["graded"]
    with opened(browser, page_of(tmp_path / "plain.html", [rollout(0, verdict("one", True)), rollout(1)])) as page:
        assert page.locator("#level").is_hidden()


def test_a_level_that_differs_is_a_flip(browser: Browser, tmp_path: Path) -> None:
    first = [_graded(n, level) for n, level in enumerate((0, 1, 2))]
    second = [_graded(n, level) for n, level in enumerate((0, 2, 1))]
    with opened(browser, page_of(tmp_path / "page.html", first, second) + "#tab=compare") as page:
        found = page.evaluate("rubricd.compared()")
        assert (found["verdicts"], found["toMet"], found["toUnmet"], found["lost"]) == (3, 1, 1, 0)


def test_every_verdict_has_its_dot_in_its_row(browser: Browser, tmp_path: Path) -> None:
    said = [verdict(str(n), met) for n, met in enumerate((True, False, None))]
    with opened(browser, page_of(tmp_path / "page.html", [rollout(0, *said), rollout(1, *said)])) as page:
        page.locator("#tab-responses").click()
        row = page.locator("#list .row").first.bounding_box()
        boxes = [one.bounding_box() for one in page.locator("#list .row >> nth=0").locator(".dots i").all()]
        assert row and all(box and row["y"] <= box["y"] < row["y"] + row["height"] for box in boxes)
        assert len({box["x"] for box in boxes if box}) == 3


def test_the_page_is_printed_in_full(browser: Browser, tmp_path: Path) -> None:
    rollouts = [rollout(n, verdict("one", True)) for n in range(120)]
    with opened(browser, page_of(tmp_path / "page.html", rollouts) + "#tab=responses") as page:
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert _rows(page) == 120 and page.locator("footer").is_hidden() and page.locator("#q").is_hidden()
        tops = page.locator("#list .row").evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
        assert tops == sorted(tops) and tops[-1] > 120 * 20, "rows stand under each other"
        page.emulate_media(media="screen")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert _rows(page) < 60


def test_a_file_of_failures_alone_says_why(browser: Browser, tmp_path: Path) -> None:
    rollouts = [rollout(n, score=None, status="overloaded", detail="the judge was full") for n in range(3)]
    with opened(browser, page_of(tmp_path / "page.html", rollouts)) as page:
        assert page.inner_text("#reasons") == "overloaded: 3"
        tiles = page.locator("#tiles .tile").all_inner_texts()
        assert tiles[0].splitlines()[:2] == ["3", "responses"] and tiles[1].splitlines()[0] == "none"
        page.locator("#reasons button").click()
        assert page.locator("#list .row").count() == 3 and "0.000" not in page.inner_text("#list")
