"""Many rows are written: in order, each with one outcome, and a fault of one row or of all."""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.trainer_client.generation.drafts import categories, orders, points, source
from trainer_client import wire
from trainer_client.data.reader import LENIENT, for_training
from trainer_client.endpoint import ChatAnswer, Message, Usage
from trainer_client.errors import (
    ConnectFailed,
    ContractError,
    InvalidRequest,
    QuotaExceeded,
    RubricdClientError,
    Unauthorized,
)
from trainer_client.generation.consistency import Preference
from trainer_client.generation.rows import Source
from trainer_client.generation.run import Outcome, outcomes, row_of
from trainer_client.labels.labelled import digest


class _Model:
    """Answers by the row's words, after some turns of the loop; it counts what is under way."""

    def __init__(self, special: Mapping[str, RubricdClientError | str] | None = None) -> None:
        self.special = special or {}
        self.under_way = self.most = 0
        self.rng = random.Random(5)

    async def chat(self, messages: Sequence[Message], **more: Any) -> ChatAnswer:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            for _ in range(self.rng.randint(0, 9)):
                await asyncio.sleep(0)
            asked = messages[1]["content"]
            said = next((said for word, said in self.special.items() if word in asked), points())
            if isinstance(said, Exception):
                raise said
            return ChatAnswer((said,), ("stop",), Usage(1, 1), "writer-7b")
        finally:
            self.under_way -= 1


def _rows(count: int) -> list[Source]:
    return [source(id=f"row {n}", messages=({"role": "user", "content": f"question <{n}>"},)) for n in range(count)]


async def _all(model: _Model, rows: Sequence[Source], **more: Any) -> list[Outcome]:
    fields: dict[str, Any] = {"orders": orders(attempts=2), "prefer": None, "at_once": 6, **more}
    return [one async for one in outcomes(model, rows, **fields)]


async def test_outcomes_come_in_the_order_of_the_rows_and_so_many_at_once() -> None:
    model = _Model()
    found = await _all(model, _rows(200))
    assert [one.source.id for one in found] == [f"row {n}" for n in range(200)]
    assert all(one.state == "written" for one in found) and 1 < model.most <= 6


async def test_a_fault_of_a_row_fails_that_row_alone() -> None:
    special: dict[str, RubricdClientError | str] = {
        "<3>": InvalidRequest("the context is too long", status=400),
        "<5>": ContractError("no choices"),
        "<7>": "I cannot.",
    }
    found = await _all(_Model(special), _rows(10))
    assert [one.source.id for one in found if one.state == "failed"] == ["row 3", "row 5", "row 7"]
    assert found[3].why == "the context is too long" and "no draft could be used" in str(found[7].why)


@pytest.mark.parametrize(
    "error",
    [Unauthorized("no"), ConnectFailed("no"), QuotaExceeded("no"), InvalidRequest("no such model", status=404)],
)
async def test_what_would_fail_all_rows_ends_the_run_after_the_rows_before(error: RubricdClientError) -> None:
    model, found = _Model({"<4>": error}), []
    with pytest.raises(type(error)):
        async for one in outcomes(model, _rows(50), orders(), None, 6):
            found.append(one)
    assert [one.source.id for one in found] == [f"row {n}" for n in range(4)]
    assert model.under_way == 0


async def test_who_leaves_early_leaves_nothing_under_way() -> None:
    model = _Model()
    found = outcomes(model, _rows(50), orders(), None, 6)
    await anext(found)
    await found.aclose()
    assert model.under_way == 0


async def test_a_preference_keeps_drops_or_fails() -> None:
    answers = {"row 0": (0.6, 0.4), "row 1": (0.4, 0.6), "row 2": (None, 0.6)}

    async def prefer(one: Source, rubric: wire.Rubric) -> Preference:
        preferred, rejected = answers[one.id]
        return Preference(preferred, rejected, "judge-1", None if preferred is not None else "the judge abstained")

    found = await _all(_Model(), _rows(3), prefer=prefer)
    assert [one.state for one in found] == ["written", "dropped", "failed"]
    assert found[2].why == "the judge did not decide: the judge abstained"
    assert row_of(found[0], orders().template, 0)["metadata"]["generated"]["preference"] == {
        "preferred": 0.6,
        "rejected": 0.4,
        "judge": "judge-1",
    }


async def _row(one: Source, draft: str, template: str, **changes: Any) -> dict[str, Any]:
    how = orders(template, **changes)
    (outcome,) = [found async for found in outcomes(_Model({"": draft}), [one], how, None, 1)]
    row: dict[str, Any] = json.loads(json.dumps(row_of(outcome, how.template, how.seed)))
    return row


async def test_a_row_is_read_back_as_it_was_written() -> None:
    turns = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "My knee hurts."})
    row = await _row(source(messages=turns, reference="Rest it.", source="knees"), categories(), "rar-medicine")
    item = for_training(row, LENIENT).item
    assert (item.id, item.reference, item.rubric is not None) == ("knee", "Rest it.", True)
    assert item.rubric is not None and [one.worth for one in item.rubric.criteria] == [5] * 7 + [-2]
    assert {one.category for one in item.rubric.criteria} == {"essential", "pitfall"}
    assert row["prompt"] == list(turns) and row["metadata"]["source"] == "knees"


async def test_a_row_says_how_it_came_about() -> None:
    row = await _row(source(), points(), "ruscarl", seed=4)
    generated = row["metadata"]["generated"]
    template = orders().template
    assert row["prompt"] == "My knee hurts." and "reference" not in row
    assert (generated["model"], generated["template"], generated["seed"]) == ("writer-7b", "ruscarl@1", 4)
    assert generated["template_sha256"] == template.digest
    assert generated["rubric_sha256"] == digest(row["rubric"]), "who edits a rubric later can be told"
    assert row["rubric"][0] == {"text": "Mentions rest for the knee.", "points": 3}
