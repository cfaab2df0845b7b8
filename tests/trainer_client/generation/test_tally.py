"""Rows, criteria and findings are counted once each."""

from typing import Any

from tests.trainer_client.generation.drafts import source
from trainer_client import wire
from trainer_client.generation.consistency import Preference
from trainer_client.generation.duplicates import Merged
from trainer_client.generation.run import Outcome
from trainer_client.generation.tally import Tally
from trainer_client.generation.writing import Draft, Written

RUBRIC = wire.Rubric.model_validate(
    [
        {"text": "Mentions rest.", "points": 5, "category": "essential"},
        {"text": "Recommends running.", "points": -2, "category": "pitfall"},
    ]
)


def finding(code: str, severity: str = "warning", criterion: str | None = "0") -> wire.Finding:
    return wire.Finding.model_validate(
        {"code": code, "severity": severity, "criterion": criterion, "message": f"correct the <{code}>"}
    )


def outcome(findings: tuple[wire.Finding, ...] = (), **changes: Any) -> Outcome:
    again = Merged(RUBRIC.criteria[0], RUBRIC.criteria[0], 1.0)
    draft = Draft(RUBRIC, (again,), findings)
    written = Written(draft, (finding("vague"), *findings), 2, 1, "writer-7b", "written", "Rest <it>.")
    fields: dict[str, Any] = {"source": source(), "written": written, "preference": None, "why": None, **changes}
    return Outcome(**fields)


def test_everything_is_counted() -> None:
    tally = Tally()
    tally.add(outcome())
    tally.add(outcome((finding("vague"), finding("contradiction", "error"))))
    tally.add(outcome(written=None, why="no draft", refused=3))
    tally.add(outcome(preference=Preference(0.1, 0.2, "judge-1"), why="not preferred"))
    found = tally.as_json()
    assert (found["rows"], found["written"], found["failed"], found["dropped"]) == (4, 2, 1, 1)
    assert (found["criteria"], found["criteria_per_rubric"], found["merged"]) == (4, 2.0, 2)
    assert (found["with_error"], found["drafts_refused"], found["lint_rounds"]) == (1, 9, 3)
    assert found["points"] == {"-2": 2, "5": 2} and found["categories"] == {"essential": 2, "pitfall": 2}
    assert found["findings_first"] == {"vague": 3, "contradiction": 1}
    assert found["findings_left"] == {"vague": 1, "contradiction": 1}
    assert found["failures"] == {"no draft": 1, "not preferred": 1}
    assert "2 rubrics of 4 rows, 2.0 criteria each; 1 failed; 1 dropped" in str(tally)


def test_a_run_is_complete_where_each_row_has_a_rubric_without_errors_or_was_dropped() -> None:
    for one, complete in (
        (outcome((finding("vague"),)), True),
        (outcome(preference=Preference(0.1, 0.2, "judge-1"), why="not preferred"), True),
        (outcome((finding("contradiction", "error"),)), False),
        (outcome(written=None, why="no draft"), False),
    ):
        tally = Tally()
        tally.add(one)
        assert tally.complete is complete


def test_an_empty_tally_has_no_mean() -> None:
    assert Tally().as_json()["criteria_per_rubric"] is None
