"""The checks of pages see what is wrong with a page that we made wrong."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from testkit.browser import HOSTILE, PHONE_PX, Missing, axe_problems, brightness, chromium, opened, picture, too_wide

GOOD = "<!doctype html><html lang=en><title>t</title><main><h1>Hello</h1></main>"
BAD = "<!doctype html><html lang=en><title>t</title><main><h1 style='color:#ccc'>Hello</h1><input></main>"


def test_axe_sees_a_field_without_a_label_and_a_faint_text(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, "about:blank") as page:
        page.set_content(GOOD)
        assert axe_problems(page) == []
        page.set_content(BAD)
        assert sorted(line.split(":")[0] for line in axe_problems(page)) == ["color-contrast", "label"]
        picture(page, tmp_path / "shot.png")
    with Image.open(tmp_path / "shot.png") as taken:
        assert taken.size == (1280, 800) and taken.mode == "P"


def test_a_page_that_scrolls_sideways_is_seen_with_what_makes_it(browser: Browser) -> None:
    with opened(browser, "about:blank", width=PHONE_PX, scheme="dark") as page:
        page.set_content(f"{GOOD}<b>{HOSTILE[0]}</b>")
        assert too_wide(page)[0].startswith("the page is ") and "<b>" in too_wide(page)[1]
        page.add_style_tag(content="* { overflow-wrap: anywhere; color: #ff0000 }")
        assert too_wide(page) == []
        assert brightness(page, "b") == pytest.approx(1 / 3)


def test_what_a_script_throws_fails_the_page(browser: Browser) -> None:
    with pytest.raises(AssertionError, match="broken"), opened(browser, "about:blank") as page:
        page.set_content("<script>throw Error('broken')</script>")


def test_a_machine_without_chromium_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testkit.browser.shutil.which", lambda name: None)
    with pytest.raises(Missing, match="no chromium on the PATH: `make test` installs Debian's"), chromium():
        pass
