"""Writes the rubrics of many rows, several at a time, and gives their outcomes in the order of the rows.

Guarantees: one outcome a row. A row whose rubric cannot be written fails alone; an endpoint or a service that cannot be
asked at all ends the run, because every other row would fail too.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer_client import wire
from trainer_client.errors import BodyTooLarge, ContractError, InvalidRequest, LostTwice, RubricdClientError
from trainer_client.generation.consistency import Preference
from trainer_client.generation.rows import Source
from trainer_client.generation.shapes import NotARubric
from trainer_client.generation.templates import Template
from trainer_client.generation.writing import Chat, Orders, Written, write
from trainer_client.labels.labelled import digest

Prefer = Callable[[Source, wire.Rubric], Awaitable[Preference]]
State = Literal["written", "failed", "dropped"]
# Of one row: its text is too long, or what the generator does with it is not an answer.
_ABOUT_A_ROW = (InvalidRequest, BodyTooLarge, ContractError, LostTwice)
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row. `why` says why it has no rubric; `refused` counts drafts that could not be read."""

    source: Source
    written: Written | None
    preference: Preference | None
    why: str | None
    refused: int = 0

    @property
    def state(self) -> State:
        if self.preference is not None and self.preference.verdict == "dropped":
            return "dropped"
        return "failed" if self.why is not None else "written"


async def outcomes(
    chat: Chat, sources: Sequence[Source], orders: Orders, prefer: Prefer | None, at_once: int
) -> AsyncGenerator[Outcome]:
    """Yields the outcomes, `at_once` rows under way. Raises RubricdClientError where going on is of no use."""
    left = iter(sources)
    under_way: deque[asyncio.Task[Outcome]] = deque()

    def start() -> None:
        if (source := next(left, None)) is not None:
            under_way.append(asyncio.create_task(_outcome(chat, source, orders, prefer)))

    try:
        for _ in range(at_once):
            start()
        while under_way:
            # The row that is given out has been waited for; meanwhile the others go on.
            yield await under_way[0]
            under_way.popleft()
            start()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _outcome(chat: Chat, source: Source, orders: Orders, prefer: Prefer | None) -> Outcome:
    try:
        written = await write(chat, source, orders)
    except NotARubric as error:
        return Outcome(source, None, None, f"no draft could be used: {error}", error.drafts)
    except RubricdClientError as error:
        if not isinstance(error, _ABOUT_A_ROW) or getattr(error, "status", None) == _NOT_FOUND:
            raise
        return Outcome(source, None, None, str(error))
    if prefer is None:
        return Outcome(source, written, None, None)
    preferred = await prefer(source, written.draft.rubric)
    match preferred.verdict:
        case "kept":
            return Outcome(source, written, preferred, None)
        case "dropped":
            why = "a judge with this rubric does not prefer the answer that people preferred"
            return Outcome(source, written, preferred, why)
        case _:
            return Outcome(source, written, preferred, f"the judge did not decide: {preferred.why}")


def row_of(outcome: Outcome, template: Template, seed: int) -> dict[str, Any]:
    """The row with its rubric, as every command reads it; how it came about is in `metadata.generated`."""
    source, written = outcome.source, outcome.written
    assert written is not None and outcome.state == "written", "only a rubric that is there becomes a row"
    prompt: Any = list(source.messages)
    if len(prompt) == 1 and prompt[0].keys() == {"role", "content"} and prompt[0]["role"] == "user":
        prompt = prompt[0]["content"]
    criteria = [_criterion(one) for one in written.draft.rubric.criteria]
    row: dict[str, Any] = {"id": source.id, "prompt": prompt, "rubric": criteria}
    if source.reference is not None:
        row["reference"] = source.reference
    if source.documents:
        row["documents"] = source.documents
    generated: dict[str, Any] = {
        "model": written.model,
        "template": template.version_name,
        "template_sha256": template.digest,
        "seed": seed,
        "rubric_sha256": digest(criteria),
        "reference": written.reference,
        "drafts_refused": written.refused,
        "lint_rounds": written.rounds,
        "merged": [{"left_out": one.left_out.text, "kept": one.kept.text} for one in written.draft.merged],
        "findings": [one.model_dump() for one in written.draft.findings],
    }
    if written.answer is not None:
        generated["answer"] = written.answer
    if (preference := outcome.preference) is not None:
        scores = {"preferred": preference.preferred, "rejected": preference.rejected, "judge": preference.judge}
        generated["preference"] = scores
    metadata = {"generated": generated}
    return {**row, "metadata": metadata | ({"source": source.source} if source.source else {})}


def _criterion(one: wire.Criterion) -> dict[str, Any]:
    points: float = int(one.points) if one.points == int(one.points) else one.points
    written: dict[str, Any] = {"text": one.text, "points": points}
    if one.polarity is not None:
        written["polarity"] = one.polarity
    return {**written, "tags": dict(one.tags)} if one.tags else written
