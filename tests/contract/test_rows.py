"""Rows of the papers' data sets through reader, contract, prompt, queue and the fake engine: every criterion once."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.engine.fake import FakeEngine
from testkit.apps import CANARIES, fake_settings, serving
from trainer_client import wire
from trainer_client.client import JudgeClient, Scored
from trainer_client.data.items import read_items

HEALTHBENCH = Path(__file__).resolve().parents[3] / "shared" / "data" / "healthbench_dev.parquet"


@dataclass(frozen=True, slots=True)
class Rows:
    """A parquet of verl's schema with a response in each row, and how many rows it holds."""

    path: Path
    count: int


def _made_up(index: int) -> dict[str, Any]:
    rubrics = [
        {"criterion": f"Says {index} and {n}.", "points": n - 2 or 7, "tags": ["axis:accuracy", "level:example"]}
        for n in range(2 + index % 9)
    ]
    turns = [
        {"role": ("user", "assistant")[n % 2], "content": f"Turn {n} of {index}."} for n in range(1 + 2 * (index % 3))
    ]
    model = {"ground_truth": "", "rubrics": rubrics, "style": "rubric"}
    return {"prompt": turns, "data_source": "made-up", "reward_model": model, "response": f"The answer to {index}."}


def _with_responses(source: Path, target: Path) -> int:
    table = pq.read_table(source)
    responses = [f"This is a stand-in for the answer to row {n}." for n in range(table.num_rows)]
    pq.write_table(table.append_column("response", pa.array(responses)), target)
    return int(table.num_rows)


SETS = ["made-up", *(["healthbench"] if HEALTHBENCH.exists() else [])]


@pytest.fixture(params=SETS)
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Rows:
    path = tmp_path / "rows.parquet"
    if request.param == "healthbench":
        return Rows(path, _with_responses(HEALTHBENCH, path))
    pq.write_table(pa.Table.from_pylist([_made_up(n) for n in range(250)]), path)
    return Rows(path, 250)


async def test_every_criterion_of_250_rows_is_answered_once(rows: Rows) -> None:
    items = list(read_items(rows.path))
    assert len(items) == rows.count == 250
    engine = FakeEngine()
    async with (
        serving(engine, settings=fake_settings()) as http,
        JudgeClient("http://127.0.0.1", transport=http._transport) as client,
    ):
        outcomes = await client.score(items)
    questions = {(index, c.text) for index, item in enumerate(items) if item.rubric for c in item.rubric.criteria}
    asked = Counter(engine.seen_ids)
    assert set(asked.values()) == {1}
    assert len(asked) == len(questions) + CANARIES
    for item, outcome in zip(items, outcomes, strict=True):
        assert isinstance(outcome, Scored)
        assert item.rubric is not None
        assert [c.points for c in outcome.result.criteria] == [c.points for c in item.rubric.criteria]
        assert {c.status for c in outcome.result.criteria} == {"ok"}
        assert outcome.result.score is not None


def test_a_row_keeps_its_rubric_with_it(rows: Rows) -> None:
    for item, row in zip(read_items(rows.path), pq.read_table(rows.path).to_pylist(), strict=True):
        rubric = item.rubric
        assert isinstance(rubric, wire.Rubric)
        assert [c.text for c in rubric.criteria] == [r["criterion"] for r in row["reward_model"]["rubrics"]]
