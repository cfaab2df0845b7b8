"""Takes the picture of the page that `rubricd view` writes, of made results."""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from testkit.browser import opened, picture
from testkit.made_results import write_results
from trainer_client.rollouts import read
from trainer_client.viewer.columns import Source
from trainer_client.viewer.page import write

SOURCES = (
    *("trainer_client/viewer/*", "trainer_client/viewer/scripts/*"),
    *(f"trainer_client/pages/{name}" for name in ("palette.css", "dom.js", "writing.js")),
)
"""Globs of what the picture would look different without."""


def take(browser: Browser, path: Path) -> None:
    """Writes the picture: the table of responses, and the evidence of one of them."""
    with tempfile.TemporaryDirectory() as folder:
        results = write_results(Path(folder) / "answers.results.jsonl", 1000)
        page = Path(folder) / "answers.results.html"
        write([Source(results.name, read(results))], page)
        with opened(browser, f"{page.as_uri()}#tab=responses&row=6", width=1440, height=900) as shown:
            shown.wait_for_selector(".row.active")
            picture(shown, path)
