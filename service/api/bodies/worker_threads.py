"""Runs the parsing and the writing of large bodies in threads, so that the event loop goes on serving everybody else.

Guarantees: each team has one such work at a time, so that one team's large requests leave a thread to the others. What
is small runs at once, in the event loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

_THREADS = 2
"""The interpreter runs one thread at a time: more of them would make the event loop wait longer for its turn."""


class WorkerThreads:
    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="body")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, team: str, work: Callable[[], T], *, small: bool) -> T:
        """The work's result, or its error."""
        if small:
            return work()
        turn = self._turns.setdefault(team, asyncio.Lock())  # lives as long as someone waits for it
        await turn.acquire()
        working = asyncio.get_running_loop().run_in_executor(self._executor, work)
        # Not when this is cancelled: the thread works on.
        working.add_done_callback(lambda _: turn.release())
        return await asyncio.shield(working)
