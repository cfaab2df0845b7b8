"""A person opens the page in a real browser, scores a response and sees why."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.processes import Running

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def page(bundled: Running) -> Iterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium, "Debian's chromium is missing: `make test` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(bundled.url)
        yield page
        browser.close()


def test_scoring_shows_the_score_and_a_row_for_each_criterion(page: Page) -> None:
    page.fill("#response", "Get some rest.")
    page.fill("#rubric", "5 Tells the user to get some rest.\n0 Is kind.\n-2 Tells the user to run.")
    page.click("#go")
    page.wait_for_selector(".score")
    float(page.inner_text(".score"))
    assert page.locator("#answer tr").count() == 4
    assert "fingerprint" in page.inner_text("#judge")


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


def test_the_judge_can_be_asked_in_every_mode_it_has(page: Page) -> None:
    page.wait_for_selector("#mode option:nth-child(4)", state="attached")
    for mode, shown in (("reasoned", "#answer table"), ("implicit", "#answer p.wait"), ("verdict", "#answer table")):
        page.select_option("#mode", mode)
        with page.expect_response("**/v1/score") as answered:
            page.click("#go")
        assert answered.value.json()["judge"]["mode"] == mode
        page.wait_for_selector(shown)
