"""Takes the picture of the live view while a made training job and an evaluation share the judge."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from miniature.world.cases import evaluation
from testkit.browser import opened, picture
from testkit.processes import service

_WATCHED_MS = 45_000
"""Of the minute that the page draws."""
_KNOWN = 5
"""So many calls are asked over and over."""


def take(browser: Browser, path: Path) -> None:
    """Writes the picture."""
    with (
        service() as running,
        asked(running.url, "train", "train", "eval"),
        opened(browser, f"{running.url}/live") as page,
    ):
        page.wait_for_timeout(_WATCHED_MS)
        picture(page, path)


@contextmanager
def asked(url: str, *priorities: str) -> Iterator[None]:
    """Meanwhile one caller for each of these classes asks as fast as it is answered."""
    over = threading.Event()
    callers = [threading.Thread(target=_ask, args=(url, n, one, over)) for n, one in enumerate(priorities)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        over.set()
        for caller in callers:
            caller.join()


def _ask(url: str, seed: int, priority: str, over: threading.Event) -> None:
    """Eight items a call. Every third call is new, as a policy's answers are; the others are known after a while."""
    calls = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        while not over.is_set():
            first = 8 * calls if calls % 3 == 0 else 8 * (calls % _KNOWN) + 1_000_000
            items = [evaluation(seed, first + n).wire for n in range(8)]
            client.post("/v1/score", json={"items": items, "priority": priority}).raise_for_status()
            calls += 1
