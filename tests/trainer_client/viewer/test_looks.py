"""The viewer is read by somebody who magnifies it, forces colours of their own, or sees no red."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from testkit.browser import PHONE_PX, axe_problems, opened, too_wide
from tests.trainer_client.viewer.made import page_of, rollout, verdict

FOR_AGAINST_NONE = (verdict("kind", True), verdict("fault", True, -2.0), verdict("late", None, status="timeout"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    rollouts = [rollout(n, *FOR_AGAINST_NONE, score=n / 40) for n in range(40)]
    path: Path = tmp_path_factory.mktemp("looks") / "page.html"
    return page_of(path, rollouts, rollouts)


def _dots(page: Page, style: str) -> list[str]:
    found: list[str] = (
        page.locator(".row >> nth=0")
        .locator(".dots i")
        .evaluate_all(f"all => all.map(one => getComputedStyle(one).{style})")
    )
    return found


def test_verdicts_differ_in_form_and_not_in_colour_alone(browser: Browser, two: str) -> None:
    with opened(browser, f"{two}#tab=responses") as page:
        assert page.locator(".row >> nth=0").locator(".dots i").evaluate_all(
            "all => all.map(one => one.className)"
        ) == [
            "good",
            "bad",
            "none",
        ]
        heights, borders, grounds = (_dots(page, name) for name in ("height", "borderTopWidth", "backgroundColor"))
        assert heights == ["8px", "8px", "2px"] and borders == ["0px", "2px", "0px"]
        assert grounds[1] == "rgba(0, 0, 0, 0)" and grounds[0] != grounds[1]
        page.emulate_media(forced_colors="active")
        assert _dots(page, "backgroundColor") == grounds, "a drawing keeps its colours"
        page.locator(".row >> nth=1").click()
        chosen = (
            "([one, other]) => [one, other].map(each => getComputedStyle(document.querySelector(each)).backgroundColor)"
        )
        for one, other in ((".row.active", ".row:not(.active)"), ("#tab-responses", "#tab-criteria")):
            first, second = page.evaluate(chosen, [one, other])
            assert first != second, f"{one} is seen to be chosen"
        assert axe_problems(page) == []


def test_a_page_that_is_magnified_four_times_has_room_for_its_table(browser: Browser, two: str) -> None:
    """1,280 by 1,024 pixels at 400 %, as WCAG 1.4.10 asks."""
    with opened(browser, f"{two}#tab=responses", width=PHONE_PX, height=256) as page:
        assert page.locator("#list .grid").evaluate("one => one.clientHeight") >= 240
        assert too_wide(page) == []
        for tab in ("responses", "compare", "overview"):
            page.evaluate(f"rubricd.change({{tab: '{tab}'}})")
            expect(page.locator(f"#tab-{tab}")).to_be_in_viewport(ratio=1)
        page.evaluate("rubricd.change({tab: 'responses', row: 1})")
        assert page.locator("#evidence").evaluate("one => one.clientHeight") >= 200
