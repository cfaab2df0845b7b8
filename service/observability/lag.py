"""How late the event loop wakes up what it should: every request waits at least so long."""

import asyncio
from collections.abc import Callable

_EVERY_S = 0.25


async def monitor_event_loop(observe: Callable[[float], None]) -> None:
    """Tells seconds of lateness, four times a second, for as long as the service lives."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        due_s = max(due_s, loop.time()) + _EVERY_S
        await asyncio.sleep(due_s - loop.time())
        observe(max(0.0, loop.time() - due_s))
