"""Takes pictures of the pages of a running service, as a person sees them after a few clicks.

Guarantees: a picture shows what the service answered, after the answer was drawn.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page

from testkit.browser import Scheme, opened, picture

LISTENS_S = 45
GROUP = "A group of four, as GRPO sees it"
_JUDGED_MS = 120_000


def take_playground(
    browser: Browser, url: str, path: Path, *, scheme: Scheme = "light", width: int = 1280, example: str | None = None
) -> None:
    """The playground with a score and its reasons; on a phone its result alone."""
    phone = width < 600
    with opened(
        browser, url, scheme=scheme, width=width, height=720 if phone else 900, scale=2 if phone else 1
    ) as page:
        page.wait_for_selector("#judge:has-text('fingerprint')", timeout=_JUDGED_MS)
        if example is not None:
            page.select_option("#examples", label=example)
        _score(page)
        picture(page, path)


def take_live(
    browser: Browser, url: str, path: Path, *, scheme: Scheme = "light", listens_s: float = LISTENS_S
) -> None:
    """The live view after some work of a few callers."""
    with _work(url), opened(browser, f"{url}/live", scheme=scheme, height=820) as page:
        page.wait_for_selector("#state:has-text('ready')")
        page.wait_for_timeout(1000 * LISTENS_S)
        picture(page, path)


def _score(page: Page) -> None:
    with page.expect_response("**/v1/score", timeout=_JUDGED_MS):
        page.click("#go")
    page.wait_for_selector("#answer .spent")


@contextmanager
def _work(url: str) -> Iterator[None]:
    """Callers of three classes that ask now and then, some of them twice the same."""
    ended = threading.Event()
    rubric = [
        {"text": "Tells the user to drink ginger tea.", "points": 5},
        {"text": "Gives at least four steps.", "points": 2},
        {"text": "Tells the user to ignore the pain.", "points": -5},
    ]

    def ask(priority: str, responses: int, pause_s: float) -> None:
        round = 0
        with httpx.Client(timeout=60) as client:
            while not ended.wait(pause_s * (1 + round % 3)):
                round += 1
                texts = [f"{round % 200 + 1}. Drink ginger tea. {n + 2}. Rest." for n in range(responses)]
                item = {"prompt": "I have a stiff neck.", "responses": texts, "rubric": rubric}
                client.post(f"{url}/v1/score", json={"items": [item], "priority": priority})

    callers = [("train", 12, 0.4), ("train", 8, 0.7), ("eval", 5, 0.6), ("interactive", 1, 0.3)]
    threads = [threading.Thread(target=ask, args=caller) for caller in callers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
