"""Holds what engines share whose servers read texts: where the server is, the calls, and which model answers.

Guarantees: a call that the server refuses for load is sent again when it says, up to `TRIES` times and within its time;
any other failure is not repeated here. An answer of another model than the first one is given to nobody, and no more
work is taken then. A server that is up is asked nothing by itself, as each answer may cost money.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from service.clock import Clock, SystemClock
from service.engine.base import EngineIdentity, Prompt
from service.engine.text_prompt import words_of
from service.engine.upstream.calls import STOPPED_REASON, Dialect, JudgeCalls
from service.engine.upstream.client import open_client
from service.engine.upstream.spending import NOT_SENT
from service.engine.upstream.state import Busy, Upstream
from service.engine.upstream.urls import base_url
from service.errors import ConfigurationError, EngineFailed, JudgeBusy, JudgementError, TooLong

_T = TypeVar("_T")

TRIES = 3
"""As often as the SDK of System One calls."""
MAX_CONCURRENCY = 32
PROBE = Prompt(words_of('{"submission":"Drink some water and get some rest."}'), words_of("Mentions water."))
"""What a server is asked to see whether it answers, and as which model."""


@dataclass(frozen=True, slots=True)
class TextServerOptions:
    """Where the server of `engine` is, and what it is asked for. `model` may be an alias; `expected_model` must be the
    one that answers, where it is set. `max_model_len` is in words of four bytes."""

    engine: str
    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    expected_model: str | None = None
    max_model_len: int = 32_768
    timeout_s: float = 60.0
    clock: Clock = field(default_factory=SystemClock)
    transport: httpx.AsyncBaseTransport | None = None

    @property
    def base_url(self) -> str:
        """Raises ConfigurationError, which names the setting."""
        return base_url(self.url, f"{self.engine}_url")


class TextServer:
    """`probe` asks it a question that costs little, and raises JudgementError where it does not answer."""

    def __init__(self, options: TextServerOptions, dialect: Dialect, probe: Callable[[], Awaitable[None]]) -> None:
        """Raises ConfigurationError for a URL that is none."""
        self.answering: str | None = None
        self._options = options
        self._timeout_s = options.timeout_s
        self._probe_once = probe
        self._client = open_client(
            options.base_url,
            options.api_key,
            timeout_s=options.timeout_s,
            connections=MAX_CONCURRENCY + 2,
            transport=options.transport,
        )
        self._upstream = Upstream(options.clock, self._probe)
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

    async def begin(self, look: Callable[[], Awaitable[None]]) -> None:
        """Learns which model answers, from the first question, which `look` asks. Raises ConfigurationError; then it
        has stopped."""
        expected = self._options.expected_model
        try:
            await look()
            if expected is not None and self.answering != expected:
                raise ConfigurationError(
                    f"{self._options.base_url} answers as model {self.answering!r}, and `revision` declares "
                    f"{expected!r}: correct one of them"
                )
        except BaseException:
            await self.stop()
            raise

    def identity(self, facts: Mapping[str, str]) -> EngineIdentity:
        """What can be known of a judge whose weights are another's business."""
        options, answered = self._options, self.answering or ""
        known = {"server": options.base_url, "asked": options.model, "answered": answered, "weights": "undeclared"}
        revision = options.expected_model or "undeclared"
        return EngineIdentity(model=answered, revision=revision, engine=options.engine, facts={**known, **facts})

    async def ask(
        self, prompts: Sequence[Prompt], body: dict[str, Any], read: Callable[[Any], Sequence[_T]]
    ) -> list[_T | JudgementError]:
        """One call, and again where the server had no place for it. One outcome for each prompt."""
        found: Sequence[_T | JudgementError] = []
        for _ in range(TRIES):
            found = await self._calls.post(prompts, body, self._checked(read), self._timeout_s)
            if not any(isinstance(one, JudgeBusy) for one in found):
                break
        return list(found)

    async def exchange(self, body: dict[str, Any], read: Callable[[Any], Sequence[_T]]) -> list[_T | JudgementError]:
        """One call, whatever is known of the server. Raises JudgementError."""
        return await self._calls.exchange(1, body, self._checked(read), self._timeout_s)

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
    return TooLong(f"{len(prompt)} words of four bytes exceed {max_model_len}").after(NOT_SENT)


def _model_of(reply: Any) -> str:
    """Raises EngineFailed."""
    model = reply.get("model") if isinstance(reply, dict) else None
    if not isinstance(model, str) or not model:
        raise EngineFailed("the judge's server does not say which model answered")
    return model


async def _nothing_to_confirm() -> None:
    """Each answer names its model."""
