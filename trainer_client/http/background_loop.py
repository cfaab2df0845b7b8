"""Runs an event loop in a thread of its own, for callers that have none or that go on with other work meanwhile.

Guarantees: the thread begins with the first work, and does not keep the process alive. It ends when it is closed or
when nobody needs its loop any more, and at the process's end; work that is left is cancelled, and the loop's
connections are closed. A forked child begins a thread of its own.
"""

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")

_LAST_S = 2.0
"""Seconds that the end of the process waits for a thread to close its connections."""


class BackgroundLoop:
    """An event loop in a daemon thread named `name`. Its methods may be called from any thread.

    `client` is what works in the loop: it is kept until the loop has closed its connections, and must not refer to
    this object.
    """

    def __init__(self, name: str, client: object) -> None:
        self._name = name
        self._client = client
        self._lock = threading.Lock()
        self.running: _Running | None = None
        """What runs now: None before the first work and after `close`, and another after each beginning."""
        self._finalizer: weakref.finalize[[], BackgroundLoop] | None = None
        _all.add(self)

    def start(self, work: Callable[[], Awaitable[_T]]) -> Future[_T]:
        """Starts `work()` in the loop, and returns its future result."""

        async def run() -> _T:
            return await work()

        with self._lock:  # So that work which is started before the loop is closed is there to be cancelled.
            if self.running is None:
                self.running = running = _Running(self._name, self._client)
                # Not at the process's end, which waits for the thread; the garbage collector must not wait.
                self._finalizer = weakref.finalize(self, running.end)
                self._finalizer.atexit = False
            return asyncio.run_coroutine_threadsafe(run(), self.running.loop)

    def run(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Returns the result of `work()`, run in the loop. An interrupt of the waiting thread cancels it."""
        running = self.running
        if running is not None and threading.current_thread() is running.thread:
            raise RuntimeError("this call would wait for itself: it is made by what the same client calls")
        future = self.start(work)
        try:
            return future.result()
        finally:
            future.cancel()  # An interrupt leaves work behind; a result is not changed by it.

    def close(self) -> None:
        """Cancels what is under way, closes the loop's connections and ends the thread. Later work begins another."""
        with self._lock:
            running = self._forgotten()
            if running is not None:
                running.end()
        if running is not None and threading.current_thread() is not running.thread:
            running.thread.join()

    def after_fork(self) -> None:
        """Forgets, in a forked child, the thread that it does not have."""
        self._lock = threading.Lock()
        if (running := self._forgotten()) is not None:
            _parents.append(running)

    def _forgotten(self) -> "_Running | None":
        running, self.running = self.running, None
        if self._finalizer is not None:
            self._finalizer.detach()
        return running


class _Running:
    """A loop and the thread that runs it."""

    def __init__(self, name: str, client: object) -> None:
        self._client = client
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()
        _threads.add(self)

    def end(self) -> None:
        """Ends the thread, once it has cancelled its work. It does not wait: the garbage collector calls it, from any
        thread."""

        async def cancel_all() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self.loop.stop()

        if not self.loop.is_closed():
            asyncio.run_coroutine_threadsafe(cancel_all(), self.loop)

    def _run(self) -> None:
        self.loop.run_forever()
        # As asyncio.run ends; the second gives sockets that the first closes the turn in which they are let go.
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


_all: "weakref.WeakSet[BackgroundLoop]" = weakref.WeakSet()
_threads: "weakref.WeakSet[_Running]" = weakref.WeakSet()
_parents: list[_Running] = []
"""In a forked child, what its parent runs: kept, because whatever ended it here would reach the parent's sockets."""


def _end_all() -> None:
    for running in list(_threads):
        running.end()
        running.thread.join(_LAST_S)


def _after_fork() -> None:
    _threads.clear()
    for loop in list(_all):
        loop.after_fork()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
