"""Holds what engines share whose servers read texts: the client, the calls, and which model answers.

Guarantees: a call that the server refuses for load is sent again when it says, up to `TRIES` times and within its time;
any other failure is not repeated here. An answer of another model than the first one is given to nobody, and no more
work is taken then. A server that is up is asked nothing by itself, as each answer may cost money.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import httpx

from service.clock import Clock
from service.engine.base import Prompt
from service.engine.text_prompt import words_of
from service.engine.upstream.calls import STOPPED_REASON, Dialect, JudgeCalls, http_timeout
from service.engine.upstream.state import Busy, Upstream
from service.errors import EngineFailed, JudgeBusy, JudgementError, TooLong

_T = TypeVar("_T")

TRIES = 3
"""As often as the SDK of System One calls."""
MAX_CONCURRENCY = 32
PROBE = Prompt(words_of('{"submission":"Drink some water and get some rest."}'), words_of("Mentions water."))
"""What a server is asked to see whether it answers, and as which model."""


class TextServer:
    """`probe` asks it a question that costs little, and raises JudgementError where it does not answer."""

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        *,
        api_key: str | None,
        timeout_s: float,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None,
        probe: Callable[[], Awaitable[None]],
    ) -> None:
        self.answering: str | None = None
        self.timeout_s = timeout_s
        self._probe_once = probe
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=http_timeout(timeout_s),
            limits=httpx.Limits(max_connections=MAX_CONCURRENCY + 2),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )
        self._upstream = Upstream(clock, self._probe)
        self._calls = JudgeCalls(self._client, dialect, MAX_CONCURRENCY, self._upstream, _nothing_to_confirm)
        self._stopped = False
        self._watching = asyncio.create_task(self._upstream.run(), name="text server upstream")

    @property
    def down(self) -> str | None:
        return STOPPED_REASON if self._stopped else self._upstream.reason

    @property
    def pause_s(self) -> float:
        return self._upstream.pause_s

    def require_up(self) -> None:
        """Raises EngineFailed."""
        if (down := self.down) is not None:
            raise EngineFailed(down)

    async def ask(
        self, prompts: Sequence[Prompt], body: dict[str, Any], read: Callable[[Any], Sequence[_T]]
    ) -> list[_T | JudgementError]:
        """One call, and again where the server had no place for it. One outcome for each prompt."""
        found: Sequence[_T | JudgementError] = []
        for _ in range(TRIES):
            found = await self._calls.post(prompts, body, self._checked(read), self.timeout_s)
            if not any(isinstance(one, JudgeBusy) for one in found):
                break
        return list(found)

    async def exchange(self, body: dict[str, Any], read: Callable[[Any], Sequence[_T]]) -> list[_T | JudgementError]:
        """One call, whatever is known of the server. Raises JudgementError."""
        return await self._calls.exchange(1, body, self._checked(read), self.timeout_s)

    def cancel(self, prompt: Prompt) -> None:
        self._calls.cancel(prompt)

    async def stop(self) -> None:
        self._stopped = True
        self._watching.cancel()
        self._calls.stop()
        await self._client.aclose()

    def _checked(self, read: Callable[[Any], Sequence[_T]]) -> Callable[[Any], Sequence[_T]]:
        def checked(reply: Any) -> Sequence[_T]:
            self._check_model(_model_of(reply))
            return read(reply)

        return checked

    def _check_model(self, answered: str) -> None:
        """Raises EngineFailed where another model answers than at the start."""
        if self.answering is None:
            self.answering = answered
        if answered != self.answering:
            self._upstream.changed(f"model {answered!r} answers, and not {self.answering!r}")
            raise EngineFailed(self._upstream.reason or "")

    async def _probe(self, with_verdict: bool) -> None:
        """Raises Busy, and others where it does not answer."""
        if not with_verdict:
            return
        try:
            await self._probe_once()
        except JudgeBusy as error:
            raise Busy(max(1.0, self.pause_s)) from error


def too_long(prompt: Prompt, max_model_len: int) -> TooLong | None:
    if len(prompt) <= max_model_len:
        return None
    return TooLong(f"{len(prompt)} words of four bytes exceed {max_model_len}")


def _model_of(reply: Any) -> str:
    """Raises EngineFailed."""
    model = reply.get("model") if isinstance(reply, dict) else None
    if not isinstance(model, str) or not model:
        raise EngineFailed("the judge's server does not say which model answered")
    return model


async def _nothing_to_confirm() -> None:
    """Each answer names its model."""
