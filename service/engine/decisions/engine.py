"""Asks a server of typed decisions: a candidate's criteria are the questions of one call, and P(met) is what it says.

Guarantees: each prompt has one outcome, a number of the server's or a typed failure. A call that the server refuses for
load is sent again when it says, up to `TRIES` times and within its time; any other failure is not repeated here. A
call that is too long is divided, so that what is too long fails alone. An answer of another model than the first one
is given to nobody, and no more work is taken then.

The fingerprint holds the URL, the protocol, the model as it answered at the start, and the framing. Its weights are
undeclared: other weights under the same name are the same judge to this engine.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Self

import httpx

from service.clock import Clock, SystemClock
from service.engine.base import (
    EngineIdentity,
    GenerationOutcome,
    Outcome,
    Prompt,
    Sampling,
)
from service.engine.decisions.protocol import PROTOCOLS, Answers, Protocol, ProtocolName, decisions, model_of
from service.engine.text_prompt import texts_of, words_of
from service.engine.upstream.calls import STOPPED_REASON, JudgeCalls, http_timeout, require_outcomes
from service.engine.upstream.state import Busy, Upstream
from service.engine.upstream.urls import base_url
from service.errors import ConfigurationError, EngineFailed, JudgeBusy, JudgementError, TooLong

TRIES = 3
"""As often as the protocol's own SDK calls."""
CRITERION = "{criterion}"
_MAX_CONCURRENCY = 32
_PROBE = Prompt(words_of('{"submission":"Drink some water and get some rest."}'), words_of("Mentions water."))


class DecisionsEngine:
    """An Engine over HTTP that reads texts. Create one with `connect`."""

    streams = True
    restarts = 0

    def __init__(
        self,
        client: httpx.AsyncClient,
        protocol: Protocol,
        *,
        model: str,
        framing: str,
        max_model_len: int,
        questions_per_call: int,
        timeout_s: float,
        clock: Clock,
    ) -> None:
        self.max_model_len = max_model_len
        self.identity = EngineIdentity(model=model, revision="undeclared", engine="decisions", facts={})
        self._client = client
        self._protocol = protocol
        self._model = model
        self._framing = framing
        self._questions_per_call = questions_per_call
        self._timeout_s = timeout_s
        self._answering: str | None = None
        self._upstream = Upstream(clock, self._probe)
        self._calls = JudgeCalls(client, protocol.dialect, _MAX_CONCURRENCY, self._upstream, _nothing_to_confirm)
        self._stopped = False
        self._watching = asyncio.create_task(self._upstream.run(), name="decisions upstream")

    @classmethod
    async def connect(
        cls,
        url: str,
        model: str,
        *,
        protocol: ProtocolName = "system_one",
        api_key: str | None = None,
        framing: str = CRITERION,
        expected_model: str | None = None,
        max_model_len: int = 32_768,
        questions_per_call: int = 64,
        timeout_s: float = 60.0,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Asks one question, to learn which model answers. Raises ConfigurationError with what to change.

        `model` is the name that is asked for, which may be an alias; `expected_model` must be the one that answers,
        where it is set. `framing` holds `{criterion}` once. `max_model_len` is in words of four bytes.
        """
        if framing.count(CRITERION) != 1:
            raise ConfigurationError("`decisions_framing` must hold {criterion} once, where the criterion's text goes")
        base = base_url(url, "decisions_url")
        client = httpx.AsyncClient(
            base_url=base,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=http_timeout(timeout_s),
            limits=httpx.Limits(max_connections=_MAX_CONCURRENCY + 2),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )
        engine = cls(
            client,
            PROTOCOLS[protocol],
            model=model,
            framing=framing,
            max_model_len=max_model_len,
            questions_per_call=questions_per_call,
            timeout_s=timeout_s,
            clock=clock or SystemClock(),
        )
        try:
            answered = await engine._first_look(base, expected_model)
        except BaseException:
            await engine.stop()
            raise
        facts = {
            "server": base,
            "protocol": protocol,
            "asked": model,
            "answered": answered,
            "framing": framing,
            "weights": "undeclared",
        }
        revision = expected_model or "undeclared"
        engine.identity = EngineIdentity(model=answered, revision=revision, engine="decisions", facts=facts)
        return engine

    @property
    def referable(self) -> bool:
        """Whether the protocol has a place for a reference answer."""
        return self._protocol.referable

    @property
    def down(self) -> str | None:
        return STOPPED_REASON if self._stopped else self._upstream.reason

    @property
    def pause_s(self) -> float:
        return self._upstream.pause_s

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        """`label_ids` mean nothing to a server that reads texts."""
        if (down := self.down) is not None:
            raise EngineFailed(down)
        outcomes: list[Outcome | None] = [self._too_long(prompt) for prompt in prompts]
        calls = list(_calls(prompts, [n for n, one in enumerate(outcomes) if one is None], self._questions_per_call))
        answers = await asyncio.gather(*(self._ask([prompts[n] for n in call]) for call in calls))
        for call, found in zip(calls, answers, strict=True):
            for place, outcome in zip(call, found, strict=True):
                outcomes[place] = outcome
        return require_outcomes(outcomes)

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        raise EngineFailed("a server of typed decisions writes no text")

    def cancel(self, prompt: Prompt) -> None:
        self._calls.cancel(prompt)

    async def stop(self) -> None:
        self._stopped = True
        self._watching.cancel()
        self._calls.stop()
        await self._client.aclose()

    async def _ask(self, prompts: Sequence[Prompt]) -> Answers:
        """One call, and again where the server had no place for it. A call that is too long is divided."""
        body, read = self._call(prompts)
        for _ in range(TRIES - 1):
            found = list(await self._calls.post(prompts, body, read, self._timeout_s))
            if not any(isinstance(one, JudgeBusy) for one in found):
                break
        else:
            found = list(await self._calls.post(prompts, body, read, self._timeout_s))
        if len(prompts) > 1 and all(isinstance(one, TooLong) for one in found):
            middle = len(prompts) // 2
            halves = await asyncio.gather(self._ask(prompts[:middle]), self._ask(prompts[middle:]))
            return [one for half in halves for one in half]
        return found

    def _call(self, prompts: Sequence[Prompt]) -> tuple[dict[str, Any], Any]:
        """The body of a call about one candidate, and what reads its reply."""
        state = json.loads(texts_of(prompts[0])[0])
        questions = [self._framing.replace(CRITERION, texts_of(prompt)[1]) for prompt in prompts]
        words = len(prompts[0].shared) + sum(len(prompt.own) for prompt in prompts)

        def read(reply: Any) -> Answers:
            self._check_model(model_of(reply))
            return decisions(reply, self._protocol.read(reply, len(prompts)), words)

        return self._protocol.write(self._model, state, questions), read

    def _check_model(self, answered: str) -> None:
        """Raises EngineFailed where another model answers than at the start."""
        if self._answering is None:
            self._answering = answered
        if answered != self._answering:
            self._upstream.changed(f"model {answered!r} answers, and not {self._answering!r}")
            raise EngineFailed(self._upstream.reason or "")

    def _too_long(self, prompt: Prompt) -> TooLong | None:
        if len(prompt) <= self.max_model_len:
            return None
        return TooLong(f"{len(prompt)} words of four bytes exceed {self.max_model_len}")

    async def _probe(self, with_verdict: bool) -> None:
        """Asks a question where the server is not up: a server that is up is asked nothing, as each answer may cost
        money. Raises Busy, and others where it does not answer."""
        if not with_verdict:
            return
        body, read = self._call([_PROBE])
        try:
            await self._calls.exchange(1, body, read, self._timeout_s)
        except JudgeBusy as error:
            raise Busy(max(1.0, self.pause_s)) from error

    async def _first_look(self, url: str, expected: str | None) -> str:
        """The model that answers. Raises ConfigurationError."""
        try:
            [answer] = await self._ask([_PROBE])
        except EngineFailed as error:
            answer = error
        if isinstance(answer, JudgementError):
            path = self._protocol.dialect.path
            raise ConfigurationError(
                f"{url}{path} gave no decision ({answer}): start the server, or correct `decisions_url`, "
                "`decisions_protocol`, `decisions_model` or `decisions_key`"
            )
        answered = self._answering or ""
        if expected is not None and answered != expected:
            raise ConfigurationError(
                f"{url} answers as model {answered!r}, and `revision` declares {expected!r}: correct one of them"
            )
        return answered


def _calls(prompts: Sequence[Prompt], places: Sequence[int], most: int) -> Sequence[list[int]]:
    """The places by call: a call is about one candidate of one scope, and has at most so many questions."""
    groups: dict[tuple[int, str], list[int]] = {}
    for place in places:
        groups.setdefault((id(prompts[place].shared), prompts[place].salt), []).append(place)
    return [members[n : n + most] for members in groups.values() for n in range(0, len(members), most)]


async def _nothing_to_confirm() -> None:
    """Each answer names its model."""
