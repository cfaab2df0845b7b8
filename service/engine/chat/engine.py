"""Asks any OpenAI-compatible chat API, which reads texts and takes no token ids, one criterion a call.

Mode `verdict` reads the labels from the likely tokens that the server reports. A server that reports none is asked for
a constrained JSON document several times, and P(met) is the share of its verdicts; so is it in mode `reasoned`, since
constrained text has no probability that could be trusted.

Guarantees: each prompt has one outcome, from what the server answered, or a typed failure. How verdicts are read is
settled at the start, and is part of the fingerprint; nothing changes it later. `text_server.py` says what is repeated,
and what happens where another model answers.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Self, TypeVar

from service.engine.base import (
    Decision,
    Document,
    Documents,
    EngineIdentity,
    GenerationOutcome,
    Outcome,
    Prompt,
    Sampling,
)
from service.engine.chat.messages import (
    TOP,
    Wording,
    documents_body,
    label_body,
    read_document,
    read_label,
    read_text,
    reasons_body,
    reports_tokens,
    share,
    vote_body,
)
from service.engine.text_prompt import texts_of
from service.engine.upstream.calls import require_outcomes
from service.engine.upstream.spending import CHAT, having, spent_of, total
from service.engine.upstream.text_dialect import NotTaken, text_dialect
from service.engine.upstream.text_server import PROBE, TextServer, TextServerOptions, too_long
from service.errors import ConfigurationError, EngineFailed, JudgementError

T = TypeVar("T", Decision, Document)
Reading = Literal["top_logprobs", "votes"]
_VOTE = {"criteria_met": bool}
_REASONED = {"explanation": str, "criteria_met": bool}


class ChatEngine:
    """An Engine over HTTP that reads texts. Create one with `connect`."""

    streams = True
    restarts = 0

    def __init__(self, options: TextServerOptions, *, labels: tuple[str, str], votes: int, temperature: float) -> None:
        self.max_model_len = options.max_model_len
        self.identity = EngineIdentity(model=options.model, revision="undeclared", engine=options.engine, facts={})
        self._url = options.base_url
        self._model = options.model
        self._wording = Wording(labels)
        self._votes = votes
        self._temperature = temperature
        self._reading: Reading = "top_logprobs"
        self._server = TextServer(options, text_dialect("/v1/chat/completions"), self._probe)

    @classmethod
    async def connect(
        cls, options: TextServerOptions, *, labels: tuple[str, str], votes: int = 5, temperature: float = 0.7
    ) -> Self:
        """Asks one question, to learn which model answers, and whether it reports tokens. Raises ConfigurationError
        with what to change."""
        engine = cls(options, labels=labels, votes=votes, temperature=temperature)
        await engine._server.begin(engine._first_look)
        by_tokens, wording = engine._reading == "top_logprobs", engine._wording
        facts = {
            "read": f"top_logprobs {TOP}" if by_tokens else f"{votes} votes at {temperature!r}",
            "wording": wording.label if by_tokens else wording.vote,
            "reasons": f"{votes} votes at {temperature!r}: {wording.reasons}",
        }
        engine.identity = engine._server.identity(facts)
        return engine

    @property
    def reading(self) -> Reading:
        """How mode `verdict` is read, which was found out at the start."""
        return self._reading

    @property
    def documents(self) -> str:
        """How it is asked for a document about several criteria, for the fingerprint."""
        return f"{self._votes} votes at {self._temperature!r}: {self._wording.documents}"

    @property
    def down(self) -> str | None:
        return self._server.down

    @property
    def pause_s(self) -> float:
        return self._server.pause_s

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        """`label_ids` mean nothing to a server that reads texts."""
        self._server.require_up()
        ask = self._label if self._reading == "top_logprobs" else partial(self._voted, write=self._vote, fields=_VOTE)
        return require_outcomes(await asyncio.gather(*(self._fitting(prompt, ask) for prompt in prompts)))

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        """A sampling with a seed is one vote of a request's, which is the share of its votes itself."""
        self._server.require_up()
        pairs = zip(prompts, samplings, strict=True)
        return require_outcomes(await asyncio.gather(*(self._reasoned(*pair) for pair in pairs)))

    def cancel(self, prompt: Prompt) -> None:
        self._server.cancel(prompt)

    async def stop(self) -> None:
        await self._server.stop()

    async def _fitting(self, prompt: Prompt, ask: Callable[[Prompt], Any]) -> Decision | JudgementError:
        found: Decision | JudgementError = too_long(prompt, self.max_model_len) or await ask(prompt)
        return found

    async def _label(self, prompt: Prompt) -> Decision | JudgementError:
        body = label_body(self._model, self._wording, *texts_of(prompt))
        return await self._one(prompt, body, lambda reply: read_label(reply, self._wording.labels))

    async def _reasoned(self, prompt: Prompt, sampling: Sampling) -> Decision | Documents | JudgementError:
        def write(prompt: Prompt, seed: int) -> dict[str, Any]:
            texts = texts_of(prompt)
            return reasons_body(self._model, self._wording, *texts, sampling, self._temperature, seed)

        if (failure := too_long(prompt, self.max_model_len)) is not None:
            return failure
        if not _asks_for_one_verdict(sampling):
            return await self._documents(prompt, sampling)
        if sampling.seed:
            return await self._written(prompt, write(prompt, sampling.seed), _REASONED)
        return await self._voted(prompt, write=write, fields=_REASONED)

    async def _documents(self, prompt: Prompt, sampling: Sampling) -> Documents | JudgementError:
        """One document for each vote, or one where the request has votes of its own."""
        seeds = [sampling.seed] if sampling.seed else range(1, self._votes + 1)
        found = await asyncio.gather(*(self._document(prompt, sampling, seed) for seed in seeds))
        spent = total([one.spent for one in found])
        faults = [one for one in found if isinstance(one, EngineFailed)]
        if len(faults) == len(found):  # the server is at fault, and nothing was said
            return faults[0].after(spent)
        return Documents(tuple(found), spent)

    async def _document(self, prompt: Prompt, sampling: Sampling, seed: int) -> Document | JudgementError:
        texts = texts_of(prompt)
        body = documents_body(self._model, self._wording, *texts, sampling, self._temperature, seed)
        return await self._one(prompt, body, read_text)

    def _vote(self, prompt: Prompt, seed: int) -> dict[str, Any]:
        return vote_body(self._model, self._wording, *texts_of(prompt), self._temperature, seed)

    async def _voted(
        self, prompt: Prompt, *, write: Callable[[Prompt, int], dict[str, Any]], fields: Mapping[str, type]
    ) -> Decision | JudgementError:
        bodies = [write(prompt, seed) for seed in range(1, self._votes + 1)]
        return share(await asyncio.gather(*(self._written(prompt, body, fields) for body in bodies)))

    async def _written(
        self, prompt: Prompt, body: dict[str, Any], fields: Mapping[str, type]
    ) -> Decision | JudgementError:
        return await self._one(prompt, body, lambda reply: read_document(reply, fields))

    async def _one(self, prompt: Prompt, body: dict[str, Any], read: Callable[[Any], T]) -> T | JudgementError:
        def one(reply: Any) -> list[T | JudgementError]:
            found: T | JudgementError
            try:
                found = read(reply)
            except EngineFailed:  # the server is at fault
                raise
            except JudgementError as error:
                found = error
            return [having(found, spent_of(reply, CHAT, len(prompt)))]

        [found] = await self._server.ask([prompt], body, one)
        return found

    async def _probe(self) -> None:
        """Raises JudgementError."""
        body = self._vote(PROBE, 1)
        if self._reading == "top_logprobs":
            body = label_body(self._model, self._wording, *texts_of(PROBE))
        await self._server.exchange(body, lambda reply: [reports_tokens(reply)])

    async def _first_look(self) -> None:
        """Raises ConfigurationError."""
        body = label_body(self._model, self._wording, *texts_of(PROBE))
        [found] = await self._server.ask([PROBE], body, lambda reply: [reports_tokens(reply)])
        if found is True:
            return
        vote: Decision | JudgementError | bool = found
        if found is False or isinstance(found, NotTaken):  # it reports no log-probabilities, or refuses to
            self._reading = "votes"
            vote = await self._written(PROBE, self._vote(PROBE, 1), _VOTE)
        if isinstance(vote, JudgementError):
            raise ConfigurationError(
                f"{self._url}/v1/chat/completions gave no verdict, neither by log-probabilities nor as JSON ({vote}): "
                "start the server, or correct `chat_url`, `chat_model` or `chat_key`"
            )


def _asks_for_one_verdict(sampling: Sampling) -> bool:
    """Else the schema is that of a document about several criteria."""
    return "criteria_met" in json.loads(sampling.json_schema or "{}").get("properties", {"criteria_met": None})
