"""Gets the answers of a policy: from a chat endpoint, for each prompt and seed, or from a file that has them.

Guarantees: reasoning that an answer begins with is no part of it, and what was cut off inside its reasoning is empty.
Who asked for so many answers gets so many, or an error that says which are missing.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.data import responses
from trainer_client.data.files import sources
from trainer_client.data.records import RowError
from trainer_client.data.rows import messages_of
from trainer_client.endpoint import ChatAnswer, ChatEndpoint
from trainer_client.errors import DataError
from trainer_client.evaluation.workers import work_through
from trainer_client.policy_answers import PolicyAnswers

Messages = Sequence[Mapping[str, Any]]

_AT_ONCE = 16
"""Samples in one request."""
_SEEDS_APART = 1_000_000
"""The endpoint's seeds of two of ours do not meet, however many samples there are."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as one seed asks it."""

    id: str
    seed: int
    messages: Messages


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is what a reader sees. `cut` says that it was cut off. `logprobs` are of all tokens that were written."""

    text: str
    cut: bool = False
    logprobs: tuple[float, ...] = ()


Answers = Mapping[tuple[str, int], Sequence[Answer]]
"""The samples by the id of the prompt and the seed."""


async def ask_policy(
    endpoint: ChatEndpoint,
    prompts: Sequence[Prompt],
    *,
    samples: int = 1,
    sampling: Mapping[str, Any],
    reader: PolicyAnswers,
    workers: int,
    logprobs: bool = False,
    progress: Callable[[int], None],
) -> Answers:
    """`samples` answers to each prompt, in chunks. Raises RubricdClientError, once what is under way is in the log."""
    found: dict[tuple[str, int], dict[int, list[Answer]]] = defaultdict(dict)

    async def ask(chunk: tuple[Prompt, int]) -> None:
        prompt, first = chunk
        count = min(_AT_ONCE, samples - first)
        answer = await endpoint.chat(
            [dict(turn) for turn in prompt.messages],
            n=count,
            seed=prompt.seed * _SEEDS_APART + first,
            logprobs=0 if logprobs else None,
            **sampling,
        )
        found[prompt.id, prompt.seed][first] = list(_read(answer, reader))
        progress(count)

    await work_through(((one, first) for one in prompts for first in range(0, samples, _AT_ONCE)), ask, workers)
    # In the order of the prompts, and not of their answers: a bootstrap draws places.
    places = dict.fromkeys((one.id, one.seed) for one in prompts)
    return {place: [one for first in sorted(found[place]) for one in found[place][first]] for place in places}


def _read(answer: ChatAnswer, reader: PolicyAnswers) -> Iterator[Answer]:
    logprobs = answer.logprobs or ((),) * len(answer.texts)
    for text, reason, tokens in zip(answer.texts, answer.finish_reasons, logprobs, strict=True):
        yield Answer(reader.split(text).answer, reason == "length", tuple(one.logprob for one in tokens))


class _Kept:
    """Answers by prompt and seed. Without a seed, and with one sample, the answers to a prompt are those of its next
    seeds."""

    def __init__(self, samples: int) -> None:
        self.answers: dict[tuple[str, int], list[Answer]] = {}
        self._samples = samples
        self._seeds: Counter[str] = Counter()

    def keep(self, id: str, seed: int | None, answers: Sequence[Answer]) -> None:
        if seed is not None or self._samples > 1:
            self.answers.setdefault((id, seed or 0), []).extend(answers)
            return
        for answer in answers:
            self.answers[id, self._seeds[id]] = [answer]
            self._seeds[id] += 1


def answers_of_items(items: Sequence[wire.Item], reader: PolicyAnswers, *, samples: int = 1) -> Answers:
    """The answers that rows hold themselves. Raises DataError."""
    kept = _Kept(samples)
    for index, item in enumerate(items):
        given = [item.response] if item.responses is None else item.responses
        try:
            kept.keep(item.id or str(index), None, [_answer(one, reader) for one in given])
        except RowError as error:
            raise DataError(f"item {index} (the first is 0): {error}") from None
    return kept.answers


def read_answers(
    path: Path, reader: PolicyAnswers, *, ids: frozenset[str], samples: int = 1, others: bool = False
) -> Answers:
    """The answers of a file of rows with `id`, `response` or `responses`, and `seed` where several seeds were asked.
    With `others` it may have answers to prompts that are not among `ids`. Raises DataError."""
    kept = _Kept(samples)
    for place, row in sources.rows([path]):
        try:
            id, seed = _named(row)
            if id not in ids:
                if others:
                    continue
                raise RowError(f"`id` is {id!r}, and no prompt has it; it is a prompt's `id`, or its number from 0")
            given, _ = responses.found(row, None)
            kept.keep(id, seed, [_answer(one, reader) for one in given.get("responses", [given.get("response")])])
        except RowError as error:
            raise DataError(f"{place}: {error}") from None
    return kept.answers


def _named(row: Any) -> tuple[str, int | None]:
    if not isinstance(row, dict) or row.get("id") is None:
        raise RowError("no `id`; write that of the prompt which it answers")
    id, seed = str(row["id"]), row.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
        raise RowError("`seed` is a whole number from 0")
    return id, seed


def _answer(response: Any, reader: PolicyAnswers) -> Answer:
    if not isinstance(response, str):
        raise RowError("a response with turns; an evaluation needs answers that are texts")
    return Answer(reader.split(response).answer)


def lacking(answers: Answers, prompts: Sequence[Prompt], samples: int) -> list[str]:
    """Names of the prompts and seeds that have fewer answers than that, and of those with more."""
    return [
        f"{prompt.id} (seed {prompt.seed}: {len(answers.get((prompt.id, prompt.seed), ()))} of {samples})"
        for prompt in prompts
        if len(answers.get((prompt.id, prompt.seed), ())) != samples
    ]


def messages_of_item(item: wire.Item) -> Messages:
    return messages_of(item.prompt)
