"""The lifecycle is loading, ready, unavailable, draining, stopped or failed, and holds the judge that serves.

    loading --> ready <--> unavailable
       |          |             |
       |          +-------------+--> draining --> stopped
       |                               ^
       +--> failed --------------------+      (loading may also go to draining directly)

Unavailable is a judge that has loaded and cannot take work for a while: its engine restarts, or the server that it
depends on does not answer, or is another judge now. Whether it is so is read from the judge at every look, and stored
nowhere, so that it cannot be out of date.

Guarantees: the stored state changes in `_move` alone, and a change that the picture does not show raises
IllegalTransition; no judge becomes ready once draining has begun; `drained` is set exactly when the state becomes
stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Generic, Literal, Protocol, TypeVar

from service.errors import Unavailable

State = Literal["loading", "ready", "unavailable", "draining", "stopped", "failed"]

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        "loading": frozenset({"ready", "draining", "failed"}),
        "ready": frozenset({"unavailable", "draining"}),
        "unavailable": frozenset({"ready", "draining"}),
        "failed": frozenset({"draining"}),
        "draining": frozenset({"stopped"}),
        "stopped": frozenset(),
    }
)

_REASONS: Mapping[State, str] = MappingProxyType(
    {
        "loading": "the judge is loading",
        "draining": "the service is shutting down",
        "stopped": "the service is shutting down",
        "failed": "the judge is not working; see the service's log",
    }
)


class IllegalTransition(RuntimeError):
    """The lifecycle was asked for a change of state that it does not have. This is a bug of the caller."""


def check_transition(before: State, after: State) -> None:
    """Raises IllegalTransition for a change of state that the picture above does not show."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"the lifecycle cannot go from {before} to {after}")


class Judge(Protocol):
    """The lifecycle asks these things of the judge that serves, or of the judges that do."""

    @property
    def unavailable_reason(self) -> str | None:
        """Why it is not ready: what has to be judged cannot be now. None when it is."""

    @property
    def refuses_all(self) -> str | None:
        """Why no new work at all can be judged now. None when some can."""

    @property
    def dead(self) -> bool:
        """Returns whether a restart of the process is the only remedy."""

    @property
    def load_tokens(self) -> int:
        """Tokens that wait in the queue, and tokens at the engine."""

    async def drain(self, grace_s: float) -> None:
        """Refuses new work and gives accepted work `grace_s` seconds. May be called again with less."""


J = TypeVar("J", bound=Judge)


class Lifecycle(Generic[J]):
    """One lifecycle belongs to one app. `on_ready` is called when the judge serves, `on_failed` with the error when it
    cannot be loaded."""

    def __init__(
        self,
        *,
        on_ready: Callable[[], None] = lambda: None,
        on_failed: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._state: State = "loading"
        self._judge: J | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loading: asyncio.Task[None] | None = None
        self._drain_begun = asyncio.Event()
        self._cut_short = asyncio.Event()
        self.drained = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Lifecycle {self._state}, {self.load_tokens} tokens>"

    @property
    def state(self) -> State:
        serves = self._state == "ready" and self._judge is not None
        return "unavailable" if serves and self.why_not_ready is not None else self._state

    @property
    def shutting_down(self) -> bool:
        """Returns whether draining has begun. It does not end any more."""
        return self._state in ("draining", "stopped")

    @property
    def loading_cancelled(self) -> bool:
        """Returns whether draining began while the judge was loading. A thread in which it loads runs on."""
        return self._loading is not None and self._loading.cancelled()

    @property
    def why_not_ready(self) -> str | None:
        """Why a request cannot be judged now. None when it can."""
        if self._state == "ready" and self._judge is not None:
            return self._judge.unavailable_reason
        return _REASONS[self._state]

    @property
    def dead(self) -> bool:
        """Returns whether a restart of the process is the only remedy."""
        return self._judge is not None and self._judge.dead

    @property
    def load_tokens(self) -> int:
        """Tokens that wait in the queue, and tokens at the engine. 0 where there is no judge yet."""
        return 0 if self._judge is None else self._judge.load_tokens

    def judge(self) -> J:
        """The judge that serves. Raises Unavailable where no request at all can be judged now."""
        if self._judge is None or self._state != "ready":
            raise Unavailable(_REASONS[self._state] if self._state != "ready" else _REASONS["loading"])
        if (reason := self._judge.refuses_all) is not None:
            raise Unavailable(reason)
        return self._judge

    def serve(self, judge: J) -> None:
        """From loading to ready."""
        self._move("ready")
        self._judge = judge
        self._on_ready()

    def fail(self, error: BaseException) -> None:
        """From loading to failed."""
        self._move("failed")
        self._on_failed(error)

    def drain(self) -> None:
        """Begins the end: not ready from now on. Does nothing before `running` and after the first call. A signal
        handler may call it: the state changes in the event loop's next turn."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin_drain)

    def cut_short(self) -> None:
        """Gives the work that is left no more time, once draining has begun. A signal handler may call it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut_short.set)

    @asynccontextmanager
    async def running(self, load: Callable[[], Awaitable[J]], drain_s: float) -> AsyncIterator[None]:
        """Loads the judge while inside, and drains when left, whatever happened. Accepted work has `drain_s` seconds
        from the first call of `drain`, or from the moment that this is left."""
        self._loop = asyncio.get_running_loop()
        self._loading = asyncio.create_task(self._load(load), name="load")
        draining = asyncio.create_task(self._drain(drain_s), name="drain")
        try:
            yield
        finally:
            self._begin_drain()
            await asyncio.gather(self._loading, draining, return_exceptions=True)

    async def _load(self, load: Callable[[], Awaitable[J]]) -> None:
        # Nothing awaits between the end of `load` and the change of state, so draining cannot begin between them.
        try:
            judge = await load()
        except Exception as error:
            if self.shutting_down:  # it failed while it was cancelled: the state goes on, and the error is reported
                self._on_failed(error)
            else:
                self.fail(error)
        else:
            self.serve(judge)

    def _begin_drain(self) -> None:
        if self.shutting_down:
            return
        self._move("draining")
        if self._loading is not None:
            self._loading.cancel()  # in the same turn: what loads cannot become ready any more
        self._drain_begun.set()

    async def _drain(self, drain_s: float) -> None:
        await self._drain_begun.wait()
        cutting = asyncio.create_task(self._drain_at_once_when_cut_short(), name="cut short")
        try:
            if self._judge is not None:
                await self._judge.drain(drain_s)
        finally:
            cutting.cancel()
            self._move("stopped")
            self.drained.set()

    async def _drain_at_once_when_cut_short(self) -> None:
        await self._cut_short.wait()
        if self._judge is not None:
            await self._judge.drain(0.0)

    def _move(self, to: State) -> None:
        check_transition(self._state, to)
        self._state = to
