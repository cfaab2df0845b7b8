"""Opens pages in a real Chromium, and says what is wrong with them for somebody who reads on a phone or hears them.

Guarantees: nothing is downloaded. `chromium` raises Missing, which says what to install, where there is no Chromium.
"""

import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from testkit.waiting import HUNG_S

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)
PHONE_PX = 320
_HUNG_MS = 1000 * HUNG_S
LONG_WORD = "unbroken" * 400
RIGHT_TO_LEFT = "\u202eمرحبا بكم في العالم " * 20
HOSTILE = (LONG_WORD, RIGHT_TO_LEFT, "👩‍👩‍👧‍👦" * 60, "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳" * 8, "<img src=x onerror=alert(1)>")
"""Texts that make pages too wide, turn them round or run in them. Put each in every place where a text is shown."""

Scheme = Literal["light", "dark"]


class Missing(RuntimeError):
    """There is no Chromium on this machine; the message says how to get it."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, until the block ends. Raises Missing. While it runs, this thread cannot run an event loop
    of its own, so keep it in modules without async tests."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise Missing("no chromium on the PATH: `make test` installs Debian's, or `apt-get install chromium`")
    expect.set_options(timeout=_HUNG_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS), timeout=_HUNG_MS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, url: str, *, width: int = 1280, height: int = 800, scheme: Scheme = "light", scale: float = 1.0
) -> Iterator[Page]:
    """A page with a storage of its own. At its end, raises AssertionError with what its scripts threw or logged as an
    error."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=scale
    )
    context.set_default_timeout(_HUNG_MS)
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    # A refusal that a page shows is also logged by the browser, as an error of nobody's script.
    faults = [fault for fault in faults if not fault.startswith("Failed to load resource")]
    assert not faults, faults


def axe_problems(page: Page) -> list[str]:
    """What axe calls serious or critical on the page as it is now, one line for each place."""
    found = Axe().run(page).response["violations"]
    return [
        f"{problem['id']}: {problem['help']} at {' '.join(map(str, node['target']))}: {node['html'][:120]}"
        for problem in found
        if problem["impact"] in ("serious", "critical")
        for node in problem["nodes"]
    ]


def too_wide(page: Page) -> list[str]:
    """The elements that reach beyond the window of a page that scrolls sideways; empty where it does not."""
    found: list[str] = page.evaluate(
        """() => {
          const wide = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= wide) return [];
          return ['the page is ' + document.documentElement.scrollWidth + ' px wide',
            ...[...document.body.querySelectorAll('*')].filter(one => one.getBoundingClientRect().right > wide + 0.5)
              .slice(0, 12).map(one => one.outerHTML.slice(0, 100))];
        }"""
    )
    return found


def brightness(page: Page, selector: str, kind: str = "color") -> float:
    """How bright a colour of the first element that `selector` finds is, in 0..1."""
    colour: str = page.evaluate(
        "([selector, kind]) => getComputedStyle(document.querySelector(selector))[kind]", [selector, kind]
    )
    return sum(int(number) for number in re.findall(r"\d+", colour)[:3]) / 765


def picture(page: Page, path: Path, *, whole: bool = False, colours: int = 128) -> None:
    """Writes what the page shows as a small PNG: with a palette, and without the pixels below the window unless
    `whole`."""
    taken = Image.open(io.BytesIO(page.screenshot(full_page=whole, animations="disabled", caret="hide")))
    small = taken.convert("RGB").quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
