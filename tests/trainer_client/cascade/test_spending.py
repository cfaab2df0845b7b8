"""What judges took survives an interrupt, and is never made up."""

from pathlib import Path

import pytest

from trainer_client.agreement.spent import Spent
from trainer_client.cascade.spending import Cost, cost, keep_run
from trainer_client.errors import DataError


def _spent(judgements: int, hits: int = 0) -> Spent:
    return Spent(judgements + hits, 2.0, judgements, hits, 100 * judgements, 10 * judgements)


def test_runs_are_added_up(tmp_path: Path) -> None:
    file = tmp_path / "spent.jsonl"
    keep_run(file, "a", "l", _spent(10))
    keep_run(file, "a", "l", _spent(30, hits=5))
    keep_run(file, "b", "l", _spent(7))
    keep_run(file, "a", "l", _spent(0, hits=9))
    assert cost(file, "a", "l", None, None) == Cost(tokens=110, seconds=0.2, money=None)
    assert cost(file, "a", "l", 2.0, 10.0).money == pytest.approx((100 * 2 + 10 * 10) / 1e6)
    assert cost(file, "a", "l", 2.0, None).money is None
    assert cost(file, "a", "other", 1.0, 1.0) == Cost() == cost(tmp_path / "none", "a", "l", 1.0, 1.0)
    assert len(file.read_text().splitlines()) == 3


def test_a_line_that_was_cut_off_is_left_out_and_another_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "spent.jsonl"
    keep_run(file, "a", "l", _spent(10))
    with file.open("a") as more:
        more.write('{"judge": "a", "lab')
    keep_run(file, "a", "l", _spent(10))
    assert len(file.read_text().splitlines()) == 2
    with file.open("a") as more:
        more.write('{"judge": "a", "lab')
    assert cost(file, "a", "l", None, None).tokens == 110
    file.write_text("{}\n")
    with pytest.raises(DataError, match="line 1: not a line that `rubricd cascade plan` wrote"):
        cost(file, "a", "l", None, None)
