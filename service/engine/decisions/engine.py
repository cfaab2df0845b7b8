"""Asks a server of typed decisions: a candidate's criteria are the questions of one call, and P(met) is what it says.

Guarantees: each prompt has one outcome, a number of the server's or a typed failure. A call that is too long is
divided, so that what is too long fails alone. `text_server.py` says what is repeated, and what happens where another
model answers.

The fingerprint holds the URL, the protocol, the model as it answered at the start, and the framing. Its weights are
undeclared: other weights under the same name are the same judge to this engine.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Self

from service.engine.base import EngineIdentity, GenerationOutcome, Outcome, Prompt, Sampling
from service.engine.decisions.protocol import PROTOCOLS, Answers, Protocol, ProtocolName
from service.engine.text_prompt import texts_of
from service.engine.upstream.calls import require_outcomes
from service.engine.upstream.spending import DECISIONS, shared_out, spent_of
from service.engine.upstream.text_server import PROBE, TextServer, TextServerOptions, too_long
from service.errors import ConfigurationError, EngineFailed, JudgementError, TooLong

CRITERION = "{criterion}"


class DecisionsEngine:
    """An Engine over HTTP that reads texts. Create one with `connect`."""

    streams = True
    restarts = 0

    def __init__(
        self, options: TextServerOptions, protocol: Protocol, *, framing: str, questions_per_call: int
    ) -> None:
        self.max_model_len = options.max_model_len
        self.identity = EngineIdentity(model=options.model, revision="undeclared", engine=options.engine, facts={})
        self._url = options.base_url
        self._protocol = protocol
        self._model = options.model
        self._framing = framing
        self._questions_per_call = questions_per_call
        self._server = TextServer(options, protocol.dialect, self._probe)

    @classmethod
    async def connect(
        cls,
        options: TextServerOptions,
        *,
        protocol: ProtocolName = "system_one",
        framing: str = CRITERION,
        questions_per_call: int = 64,
    ) -> Self:
        """Asks one question, to learn which model answers. Raises ConfigurationError with what to change. `framing`
        holds `{criterion}` once."""
        if framing.count(CRITERION) != 1:
            raise ConfigurationError("`decisions_framing` must hold {criterion} once, where the criterion's text goes")
        engine = cls(options, PROTOCOLS[protocol], framing=framing, questions_per_call=questions_per_call)
        await engine._server.begin(engine._first_look)
        engine.identity = engine._server.identity({"protocol": protocol, "framing": framing})
        return engine

    @property
    def referable(self) -> bool:
        """Whether the protocol has a place for a reference answer."""
        return self._protocol.referable

    @property
    def down(self) -> str | None:
        return self._server.down

    @property
    def pause_s(self) -> float:
        return self._server.pause_s

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        """`label_ids` mean nothing to a server that reads texts."""
        self._server.require_up()
        outcomes: list[Outcome | None] = [too_long(prompt, self.max_model_len) for prompt in prompts]
        calls = list(_calls(prompts, [n for n, one in enumerate(outcomes) if one is None], self._questions_per_call))
        answers = await asyncio.gather(*(self._ask([prompts[n] for n in call]) for call in calls))
        for call, found in zip(calls, answers, strict=True):
            for place, outcome in zip(call, found, strict=True):
                outcomes[place] = outcome
        return require_outcomes(outcomes)

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        raise EngineFailed("a server of typed decisions writes no text")

    def cancel(self, prompt: Prompt) -> None:
        self._server.cancel(prompt)

    async def stop(self) -> None:
        await self._server.stop()

    async def _ask(self, prompts: Sequence[Prompt]) -> Answers:
        """One call. One that is too long is divided."""
        body, read = self._call(prompts)
        found = await self._server.ask(prompts, body, read)
        if len(prompts) > 1 and all(isinstance(one, TooLong) for one in found):
            middle = len(prompts) // 2
            halves = await asyncio.gather(self._ask(prompts[:middle]), self._ask(prompts[middle:]))
            return [one for half in halves for one in half]
        return [one for one in found]

    def _call(self, prompts: Sequence[Prompt]) -> tuple[dict[str, Any], Callable[[Any], Answers]]:
        """The body of a call about one candidate, and what reads its reply."""
        state = json.loads(texts_of(prompts[0])[0])
        questions = [self._framing.replace(CRITERION, texts_of(prompt)[1]) for prompt in prompts]
        words = len(prompts[0].shared) + sum(len(prompt.own) for prompt in prompts)
        body = self._protocol.write(self._model, state, questions)

        def read(reply: Any) -> Answers:
            return shared_out(self._protocol.read(reply, len(prompts)), spent_of(reply, DECISIONS, words))

        return body, read

    async def _probe(self) -> None:
        """Raises JudgementError."""
        await self._server.exchange(*self._call([PROBE]))

    async def _first_look(self) -> None:
        """Raises ConfigurationError."""
        [answer] = await self._ask([PROBE])
        if isinstance(answer, JudgementError):
            path = self._protocol.dialect.path
            raise ConfigurationError(
                f"{self._url}{path} gave no decision ({answer}): start the server, or correct `decisions_url`, "
                "`decisions_protocol`, `decisions_model` or `decisions_key`"
            )


def _calls(prompts: Sequence[Prompt], places: Sequence[int], most: int) -> Sequence[list[int]]:
    """The places by call: a call is about one candidate of one scope, and has at most so many questions."""
    groups: dict[tuple[int, str], list[int]] = {}
    for place in places:
        groups.setdefault((id(prompts[place].shared), prompts[place].salt), []).append(place)
    return [members[n : n + most] for members in groups.values() for n in range(0, len(members), most)]
