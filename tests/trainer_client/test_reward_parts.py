"""Each part of a score is its own verdicts' alone."""

from typing import Any

import pytest

from trainer_client import wire
from trainer_client.data.rows import Row
from trainer_client.reward_parts import names, split

RUBRIC = [
    wire.Criterion(id="a", text="Says a.", points=3, tags={"axis": "item", "theme": "x"}),
    wire.Criterion(id="b", text="Says b.", points=1, tags={"axis": "item"}),
    wire.Criterion(id="c", text="Says c.", points=-2, tags={"axis": "harm"}),
    wire.Criterion(id="d", text="Says d.", points=5),
    wire.Criterion(id="e", text="Says e.", points=0, tags={"axis": "nothing"}),
]


def _row(name: str, rubric: list[wire.Criterion]) -> Row:
    return Row(name, ({"role": "user", "content": f"Hello, {name}?"},), wire.Rubric(criteria=rubric), None, "s")


def _result(**met: bool | None) -> wire.Result:
    status = {True: "ok", False: "ok", None: "abstained"}
    criteria: list[dict[str, Any]] = [
        {"id": id, "status": status[one], "met": one, "p": None if one is None else 0.25 + one / 2, "p_raw": None}
        for id, one in met.items()
    ]
    return wire.Result.model_construct(
        score=0.5, status="ok", criteria=[wire.CriterionResult.model_construct(**one) for one in criteria]
    )


def test_the_parts_of_some_rows() -> None:
    rows = [_row("1", RUBRIC[:2]), _row("2", RUBRIC)]
    assert names(rows, "total") == []
    assert names(rows, "tag") == ["axis:harm", "axis:item", "theme:x", "untagged"]
    assert names(rows, "criterion") == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="row 3: a criterion has no `id` to name its reward by"):
        names([_row("3", [wire.Criterion(text="Says f.", points=1)])], "criterion")
    many = [wire.Criterion(id=f"c{n}", text="Says it.", points=1) for n in range(65)]
    assert len(names([_row("4", many[:64])], "criterion")) == 64
    with pytest.raises(ValueError, match="have 65 parts by criterion, and at most 64 can be rewards; take tag"):
        names([_row("4", many)], "criterion")


def test_a_part_is_the_points_of_its_own_verdicts() -> None:
    met = _result(a=True, b=False, c=True, d=False, e=True)
    assert split(met, RUBRIC, "tag") == {"axis:item": 0.75, "theme:x": 1.0, "axis:harm": -1.0, "untagged": 0.0}
    assert split(met, RUBRIC, "criterion") == {"a": 1.0, "b": 0.0, "c": -1.0, "d": 0.0}
    assert split(met, RUBRIC, "tag", soft=True)["axis:item"] == pytest.approx((3 * 0.75 + 1 * 0.25) / 4)


def test_a_part_without_one_of_its_verdicts_is_none() -> None:
    missing = _result(a=True, b=None, c=False, d=True)
    assert split(missing, RUBRIC, "tag") == {"theme:x": 1.0, "axis:harm": 0.0, "untagged": 1.0}


def test_a_graded_criterion_earns_the_value_of_its_level() -> None:
    levels = [{"text": "no", "value": 0}, {"text": "some", "value": 0.5}, {"text": "all", "value": 1}]
    graded = wire.Criterion.model_validate({"id": "g", "text": "Says g.", "points": 4, "levels": levels})
    result = wire.CriterionResult.model_validate(
        {
            "id": "g",
            "status": "ok",
            "met": True,
            "p": 0.9,
            "p_raw": 0.9,
            "label_mass": 1,
            "points": 4,
            "source": "judge",
        }
        | {"level": 1, "p_levels": [0.1, 0.6, 0.3], "value": 0.6}
    )
    scored = wire.Result.model_construct(score=0.5, status="ok", criteria=[result])
    assert split(scored, [graded], "criterion") == {"g": 0.5}
    assert split(scored, [graded], "criterion", soft=True) == {"g": 0.6}


def test_a_verdict_without_probability_is_whole_also_where_others_are_soft() -> None:
    result = wire.CriterionResult.model_construct(id="a", status="ok", met=True, p=None, level=None)
    assert split(wire.Result.model_construct(criteria=[result]), RUBRIC[:1], "criterion", soft=True) == {"a": 1.0}
