"""Puts a batch's answers into items for the judge: the answers to one row in one item, for each rubric that counts.

Guarantees: each answer has one outcome by which it is rewarded. Where criteria are left out of the reward it has a
second one, by the full rubric, which is in the next item: the judge reads a criterion that both hold once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from trainer_client import wire
from trainer_client.live_rubrics.step_rubric import StepRubric
from trainer_client.trl.prompt_row import Prompt, bare, row_of, row_text


@dataclass(frozen=True, slots=True)
class Question:
    """An item, the places of its answers in the batch, and whether it asks about the full rubric beside another."""

    item: wire.Item
    places: range
    full: bool = False


def questions(
    prompts: Sequence[Prompt], answers: Sequence[Any], rubrics: Sequence[StepRubric | None]
) -> list[Question]:
    """Puts neighbours of one row into one item with several responses: a GRPO group, or this process's part of it."""
    return list(_questions(prompts, answers, rubrics))


def _questions(
    prompts: Sequence[Prompt], answers: Sequence[Any], rubrics: Sequence[StepRubric | None]
) -> Iterator[Question]:
    asked = 0
    for _, group in groupby(range(len(prompts)), key=lambda place: row_text(prompts[place])):
        members = list(group)
        places = range(members[0], members[-1] + 1)
        rubric, prompt = rubrics[places[0]], prompts[places[0]]
        row = row_of(prompt)
        fields = {
            "prompt": bare(prompt),
            "responses": [answers[place] for place in places],
            "reference": row["reference"],
            "documents": row.get("documents") or None,
        }
        if rubric is not None and rubric.dropped:
            counted = {"criteria": rubric.counted}
            yield Question(wire.Item.model_validate({**fields, "id": f"{asked}", "rubric": counted}), places)
            asked += 1
        else:
            rubric = None
        stored = row["rubric"] if row.get("ref") is None else {"criteria": row["rubric"], "ref": row["ref"]}
        item = wire.Item.model_validate({**fields, "id": f"{asked}", "rubric": stored})
        yield Question(item, places, full=rubric is not None)
        asked += 1
