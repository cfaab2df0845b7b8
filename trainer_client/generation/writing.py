"""Writes one rubric: asks the generator, reads its draft, merges repetitions, and asks again where something is wrong.

Guarantees: a draft that cannot be read is not used, and its faults go back to the generator. Findings of the linter go
back a bounded number of times; of all drafts the one with the fewest errors, then the fewest findings, is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from trainer_client import wire
from trainer_client.endpoint import ChatAnswer, Message
from trainer_client.generation import shapes
from trainer_client.generation.duplicates import Merged, merge
from trainer_client.generation.rows import Source
from trainer_client.generation.shapes import NotARubric
from trainer_client.generation.templates import Template, UseOfReference, revision
from trainer_client.policy_answers import PolicyAnswers

Lint = Callable[[wire.Rubric, str | None], Sequence[wire.Finding]]
"""The findings about a rubric whose prompt has this reference, or none."""
KindOfReference = Literal["given", "written", "none"]
_ANSWERS = PolicyAnswers()


class Chat(Protocol):
    """What is asked: an endpoint, or a model in this process."""

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        json_schema: Mapping[str, Any] | None = None,
    ) -> ChatAnswer: ...


@dataclass(frozen=True, slots=True)
class Orders:
    """How rubrics are written. `attempts` bounds how often a draft that cannot be read is asked for again, `rounds` how
    often findings go back. `sampling` are the arguments of `chat`."""

    template: Template
    answer_template: Template
    reference: UseOfReference
    form: type[BaseModel]
    lint: Lint
    guideline: str | None = None
    attempts: int = 3
    rounds: int = 2
    seed: int = 0
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A rubric that could be read, without its repetitions."""

    rubric: wire.Rubric
    merged: tuple[Merged, ...]
    findings: tuple[wire.Finding, ...]

    @property
    def weight(self) -> tuple[int, int]:
        """Errors, and findings in all."""
        return sum(one.severity == "error" for one in self.findings), len(self.findings)


@dataclass(frozen=True, slots=True)
class Written:
    """The rubric, with how it came about. `first` are the findings about the first draft, `refused` counts drafts that
    could not be read, `rounds` how often findings went back; `model` is the generator's own name for itself."""

    draft: Draft
    first: tuple[wire.Finding, ...]
    refused: int
    rounds: int
    model: str
    reference: KindOfReference
    answer: str | None


async def write(chat: Chat, source: Source, orders: Orders) -> Written:
    """The rubric for one row. Raises NotARubric where no draft could be read, RubricdClientError where the generator
    cannot be asked."""
    answer, kind = await _reference(chat, source, orders)
    task = orders.template.messages(source.messages, answer=answer, pair=source.pair, guideline=orders.guideline)
    writer = _Writer(chat, orders, task, answer)
    try:
        best = first = await writer.draft([])
    except NotARubric as error:
        error.drafts = writer.refused
        raise
    rounds = 0
    while best.findings and rounds < orders.rounds:
        rounds += 1
        try:
            draft = await writer.draft(_told(best))
        except NotARubric:
            break  # The draft that is there can be read.
        if draft.weight >= best.weight:
            break
        best = draft
    return Written(
        best, first.findings, writer.refused, rounds, writer.model, kind, answer if kind == "written" else None
    )


async def _reference(chat: Chat, source: Source, orders: Orders) -> tuple[str | None, KindOfReference]:
    if orders.reference == "ignore":
        return None, "none"
    if source.reference is not None:
        return source.reference, "given"
    if orders.reference == "use":
        return None, "none"
    messages = orders.answer_template.messages(source.messages)
    said = await chat.chat(messages, seed=orders.seed, **orders.sampling)
    answer = _ANSWERS.split(said.text).answer.strip()
    if not wire.says_something(answer) or said.finish_reasons[0] == "length":
        raise NotARubric(["the answer that the generator wrote first is empty or was cut off; raise --max-tokens"])
    return answer, "written"


class _Writer:
    """The conversation with the generator about one row."""

    def __init__(self, chat: Chat, orders: Orders, task: Sequence[Message], reference: str | None) -> None:
        self._chat = chat
        self._reference = reference
        self._orders = orders
        self._task = list(task)
        self._schema = shapes.schema_of(orders.form)
        self._said = ""
        self._asked = 0
        self.refused = 0
        self.model = ""

    async def draft(self, findings: Sequence[str]) -> Draft:
        """The next draft that can be read; `findings` are about the one before. Raises NotARubric after the last
        attempt."""
        again = revision("findings", findings) if findings else None
        left = self._orders.attempts
        while True:
            left -= 1
            try:
                kept, merged = self._distinct(await self._criteria(again))
                break
            except NotARubric as error:
                self.refused += 1
                if left == 0:
                    raise
                again = revision("faults", error.faults)
        rubric = wire.Rubric(criteria=kept)
        return Draft(rubric, tuple(merged), tuple(self._orders.lint(rubric, self._reference)))

    def _distinct(self, criteria: Sequence[wire.Criterion]) -> tuple[list[wire.Criterion], list[Merged]]:
        """The criteria without their repetitions. Raises NotARubric where too few are left."""
        kept, merged = merge(criteria)
        least = self._orders.template.items[0]
        if len(kept) < least:
            told = [f'"{one.left_out.text}" says the same as "{one.kept.text}"' for one in merged]
            raise NotARubric([f"without repetitions {len(kept)} are left; write at least {least} that differ", *told])
        return kept, merged

    async def _criteria(self, again: Message | None) -> list[wire.Criterion]:
        """What the generator writes next. It sees the task, the draft before and what is wrong with that: not all
        drafts, so that the prompt stays short."""
        messages = [*self._task]
        if again is not None:
            messages += [{"role": "assistant", "content": self._said}, again]
        # Another seed each time: the same one may give the same faulty text again.
        seed = self._orders.seed + self._asked
        said = await self._chat.chat(messages, seed=seed, json_schema=self._schema, **self._orders.sampling)
        self._asked += 1
        self._said, self.model = said.text, said.model
        if said.finish_reasons[0] == "length":
            raise NotARubric(["it was cut off at the limit of tokens; write less, or raise --max-tokens"])
        return shapes.read(said.text, self._orders.template, self._orders.form, self._orders.guideline)


def _told(draft: Draft) -> list[str]:
    """The findings as sentences, with the texts that they are about."""
    texts = dict(zip(draft.rubric.ids(), (one.text for one in draft.rubric.criteria), strict=True))
    return [
        one.message if one.criterion is None else f'"{texts[one.criterion]}": {one.message}' for one in draft.findings
    ]
