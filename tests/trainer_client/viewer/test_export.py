"""Tables hold the log's numbers exactly, and what is missing stays missing."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer_client.viewer.made import rollout, verdict
from trainer_client.viewer.columns import Source
from trainer_client.viewer.export import beside, write_csv, write_parquet

_NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60)
@given(st.lists(st.tuples(_NUMBER, _NUMBER, st.none() | st.booleans()), min_size=1, max_size=8))
def test_numbers_and_nulls_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[float | None, float | None, bool | None]]
) -> None:
    """60 lists of up to 8 responses: of 0 a number or a null came back as another."""
    folder = tmp_path_factory.mktemp("tables")
    rollouts = [rollout(n, verdict("one", met, p=p), score=score) for n, (score, p, met) in enumerate(told)]
    write_csv([Source("a", rollouts)], folder / "a.csv")
    write_parquet([Source("a", rollouts)], folder / "a.parquet")
    with (folder / "a.csv").open(newline="") as file:
        assert [float(row["score"]) if row["score"] else None for row in csv.DictReader(file)] == [
            one[0] for one in told
        ]
    with beside(folder / "a.csv").open(newline="") as file:
        words = {"true": True, "false": False, "": None}
        assert [(float(row["p"]) if row["p"] else None, words[row["met"]]) for row in csv.DictReader(file)] == [
            one[1:] for one in told
        ]
    assert pq.read_table(folder / "a.parquet")["score"].to_pylist() == [one[0] for one in told]
    verdicts = pq.read_table(beside(folder / "a.parquet"))
    assert list(zip(verdicts["p"].to_pylist(), verdicts["met"].to_pylist(), strict=True)) == [one[1:] for one in told]


def test_texts_with_every_character_are_kept(tmp_path: Path) -> None:
    text = 'a "quoted", \r\n line; =1+1; \x01 \u202e مرحبا 👩‍👩‍👧'
    rollouts = [
        rollout(0, verdict("one", True, explanation=text), response=text),
        rollout(1, response="half \ud800 of it"),
    ]
    write_csv([Source("a", rollouts)], tmp_path / "a.csv")
    write_parquet([Source("a", rollouts)], tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [row["response"] for row in csv.DictReader(file)] == [text, "half \\ud800 of it"]
    assert pq.read_table(tmp_path / "a.parquet")["response"].to_pylist() == [text, "half \\ud800 of it"]
    assert pq.read_table(beside(tmp_path / "a.parquet"))["explanation"].to_pylist() == [text]


def test_types_do_not_depend_on_what_is_there(tmp_path: Path) -> None:
    write_parquet([Source("a", [rollout(0, score=None)])], tmp_path / "a.parquet")
    found = pq.read_table(tmp_path / "a.parquet")
    assert str(found.schema.field("score").type) == "double" and str(found.schema.field("step").type) == "int64"
    assert str(pq.read_table(beside(tmp_path / "a.parquet")).schema.field("met").type) == "bool"
