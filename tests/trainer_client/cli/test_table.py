import io
from typing import Any

import pytest
from rich.console import Console

from testkit.scripted_judge import FINGERPRINT
from trainer_client import wire
from trainer_client.cli import table
from trainer_client.client import Failed, Outcome, Scored
from trainer_client.errors import Overloaded

JUDGE = wire.Judge(model="fake", revision="r", engine="fake", mode="verdict", layout="rubricd", fingerprint=FINGERPRINT)


def _shown(items: list[wire.Item], outcomes: list[Outcome]) -> str:
    page = io.StringIO()
    table.show(items, outcomes, Console(file=page, width=80, no_color=True))
    return page.getvalue()


def _item(*texts: tuple[str, float], axis: str | None = None) -> wire.Item:
    tags = {"axis": axis} if axis else {}
    rubric = [{"text": text, "points": points, "tags": tags} for text, points in texts]
    return wire.Item.model_validate({"prompt": "p", "response": "r", "rubric": rubric})


def _criterion(index: int, points: float, met: bool | None, p: float | None, status: str = "ok") -> dict[str, Any]:
    facts = {"id": str(index), "status": status, "met": met, "p": p, "p_raw": p, "label_mass": 1.0}
    return {**facts, "points": points, "source": "judge"}


def _scored(id: str, score: float | None, *criteria: dict[str, Any], rating: Any = None) -> Scored:
    facts = {"id": id, "status": "ok", "score": score, "score_bounds": None, "coverage": 0.4, "rating": rating}
    return Scored(wire.Result.model_validate({**facts, "criteria": list(criteria)}), JUDGE)


def test_a_few_criteria_are_shown_one_by_one() -> None:
    items = [_item(("Is kind.", 5), ("Lies " * 30, -3)), _item(("Is kind.", 5)), _item(("Is kind.", 5))]
    outcomes: list[Outcome] = [
        _scored("a", 1.0, _criterion(0, 5, True, 0.83), _criterion(1, -3, False, 0.04)),
        _scored("b", None, _criterion(0, 5, None, None, "timeout")),
        Failed("c", Overloaded("full")),
    ]
    rows = [line.split() for line in _shown(items, outcomes).splitlines() if line.strip()]
    assert rows[0] == ["criterion", "points", "verdict", "P(met)"]
    assert rows[1] == ["response", "a", "1.000"]
    assert rows[2] == ["Is", "kind.", "+5", "met", "████████▎", "0.83"]
    assert rows[3][0] == "Lies" and rows[3][-4:] == ["-3", "not", "met", "▍", "0.04"][-4:]
    assert rows[4] == ["response", "b", "no", "score", "40%", "judged"]
    assert rows[5] == ["Is", "kind.", "+5", "timeout"]
    assert len(rows) == 6


def test_a_toy_is_called_one_under_its_verdicts() -> None:
    real = _scored("a", 1.0, _criterion(0, 5, True, 0.83))
    toy = Scored(real.result, JUDGE.model_copy(update={"toy": True}))
    assert "toy" not in _shown([_item(("Is kind.", 5))], [real])
    lines = _shown([_item(("Is kind.", 5))], [toy]).splitlines()
    assert lines[-1] == "judge fake is a toy: believe none of these verdicts"


def test_many_verdicts_on_the_same_texts_become_shares() -> None:
    items = [_item(("Is kind.", 5), ("Lies.", -3))] * 20
    outcomes: list[Outcome] = [
        _scored(str(n), 1.0, _criterion(0, 5, n < 15, 0.75), _criterion(1, -3, None, None, "abstained"))
        for n in range(20)
    ]
    rows = [line.split() for line in _shown(items, outcomes).splitlines()]
    assert rows[1] == ["Is", "kind.", "+5", "20", "75%", "███████▌", "0.75"]
    assert rows[2] == ["Lies.", "-3", "20", "20"]


def test_texts_that_never_repeat_are_grouped_by_axis_and_sign() -> None:
    items = [_item((f"t{n}", 5), (f"u{n}", -n - 1), axis="accuracy" if n % 2 else "safety") for n in range(30)]
    outcomes: list[Outcome] = [
        _scored(str(n), 1.0, _criterion(0, 5, True, 1.0), _criterion(1, -n - 1, False, 0.0)) for n in range(30)
    ]
    rows = [line.split() for line in _shown(items, outcomes).splitlines()]
    assert [row[:2] for row in rows[1:]] == [
        ["wanted,", "accuracy"],
        ["wanted,", "safety"],
        ["faults,", "accuracy"],
        ["faults,", "safety"],
    ]
    assert rows[3][2:] == ["-30", "…", "-2", "15", "0%", "0.00"]


def test_the_rarest_of_many_texts_are_left_out_and_counted() -> None:
    items = [_item(*((f"t{n}", 1.0) for n in range(30)))] * 2
    verdicts = [_criterion(n, 1, True, 1.0) for n in range(30)]
    page = _shown(items, [_scored("0", 1.0, *verdicts), _scored("1", 1.0, *verdicts)])
    assert "and 10 more that occur less often" in page
    assert len(page.strip().splitlines()) == 22


def test_ratings_are_shown_by_response() -> None:
    rating = {"expected": 7.25, "most_likely": 7, "normalised": 0.7}
    bare = wire.Item.model_validate({"prompt": "p", "response": "r"})
    rows = [line.split() for line in _shown([bare], [_scored("a", 0.7, rating=rating)]).splitlines()]
    assert rows[:2] == [["response", "rating", "score"], ["a", "7.2", "0.700"]]


def test_where_nothing_was_judged_there_is_no_table() -> None:
    assert _shown([_item(("t", 1))], [Failed("a", Overloaded("full"))]) == ""


@pytest.mark.parametrize(
    ("points", "met", "colour"),
    [(5, True, "green"), (5, False, "red"), (-3, False, "green"), (-3, True, "red"), (0, True, "dim")],
)
def test_green_is_what_was_wanted(points: float, met: bool, colour: str) -> None:
    result = wire.CriterionResult.model_validate(_criterion(0, points, met, 1.0))
    assert table._verdict(table.Judged("a", "t", None, result)).style == colour


def test_markup_in_a_criterion_is_text() -> None:
    assert "[red]x[/red]" in _shown([_item(("[red]x[/red]", 1))], [_scored("[b]", 1.0, _criterion(0, 1, True, 1.0))])


def test_a_bar_is_as_long_as_its_share() -> None:
    assert [table.bar(share, 1).plain for share in (0.0, 0.5, 1.0)] == [
        "           0.00",
        "█████      0.50",
        "██████████ 1.00",
    ]
    assert table.bar(None, 1).plain == ""


def test_a_level_and_an_extracted_value_are_said() -> None:
    graded = _criterion(0, 5, True, 0.9) | {"level": 1, "p_levels": [0.1, 0.6, 0.3], "value": 0.6}
    found = _criterion(1, 2, True, None) | {"extracted": "42"}
    rows = _shown([_item(("Is kind.", 5), ("Gives it.", 2))], [_scored("a", 0.5, graded, found)]).splitlines()
    assert any("level 2 of 3" in row and row.endswith("0.60") for row in rows)
    assert any("met: 42" in row for row in rows)
