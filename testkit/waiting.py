"""Waits in tests for what must happen, on however slow a machine.

A test that passes waits as long as that takes. Whatever takes `HUNG_S` hangs and is given up. No test has a shorter
bound, unless a timeout is what it is about.
"""

import asyncio
import inspect
import time
from collections.abc import Callable

HUNG_S = 240.0
START_S = 600.0
"""In place of it where an engine starts: vLLM takes half a minute on two quiet cores."""
_LOOK_S = 0.005


async def until(condition: Callable[[], object], within_s: float = HUNG_S) -> None:
    """Lets the event loop run until the condition holds. Raises AssertionError with its source where it never does."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, _never(condition)
        await asyncio.sleep(_LOOK_S)


def wait_until(condition: Callable[[], object], within_s: float = HUNG_S) -> None:
    """Without an event loop. Raises AssertionError with the condition's source where it never holds."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, _never(condition)
        time.sleep(_LOOK_S)


def _never(condition: Callable[[], object]) -> str:
    try:
        source = inspect.getsource(condition).strip()
    except (OSError, TypeError):
        source = repr(condition)
    return f"it never came true: {source}"
