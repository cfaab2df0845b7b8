"""The page can be read by day, by night and on a narrow screen, and asks for nothing else."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.trainer_client.agreement.test_measured import measured
from trainer_client.agreement.page import page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "Debian's chromium is missing: `make test` installs it"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    path.write_text(page(measured(folder)[1]), encoding="utf-8")
    return path


def _brightness(colour: str) -> float:
    return sum(int(number) for number in re.findall(r"\d+", colour)[:3]) / 765


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_the_page_in_a_browser(browser: Browser, file: Path, scheme: Any, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    shown = context.new_page()
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(file.as_uri())
    assert len(asked) == 1
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    for place in ("body", "td", "td.figure span", "svg.reliability text"):
        colour = "getComputedStyle(document.querySelector('{}')).{}"
        ink = shown.evaluate(colour.format(place, "fill" if "svg" in place else "color"))
        assert abs(_brightness(ink) - _brightness(ground)) > 0.35, (place, ink, ground)
    assert (_brightness(ground) > 0.5) is (scheme == "light")
    box = shown.locator("svg.reliability").first.bounding_box()
    assert box is not None and box["width"] > 200
    context.close()
