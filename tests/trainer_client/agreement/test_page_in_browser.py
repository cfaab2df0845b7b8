"""The page can be read by day, by night and on a narrow screen, and asks for nothing else."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from testkit.browser import Scheme, brightness, opened, too_wide
from tests.trainer_client.agreement.test_measured import measured
from trainer_client.agreement.page import page


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    path.write_text(page(measured(folder)[1]), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_the_page_in_a_browser(browser: Browser, file: Path, scheme: Scheme, width: int) -> None:
    with opened(browser, "about:blank", width=width, height=900, scheme=scheme) as shown:
        asked: list[str] = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(file.as_uri())
        assert len(asked) == 1
        assert too_wide(shown) == []
        ground = brightness(shown, "body", "backgroundColor")
        for place in ("body", "td", "td.figure span", "svg.reliability text"):
            ink = brightness(shown, place, "fill" if "svg" in place else "color")
            assert abs(ink - ground) > 0.35, (place, ink, ground)
        assert (ground > 0.5) is (scheme == "light")
        box = shown.locator("svg.reliability").first.bounding_box()
        assert box is not None and box["width"] > 200
