"""Columns hold what the log holds, each text once, and nothing else."""

import json
from typing import Any

from tests.trainer_client.viewer.made import rollout, verdict
from trainer_client import wire
from trainer_client.rollouts import Rollout
from trainer_client.viewer.columns import Source, entries_of, pack, said_in


def _packed(*rollouts: Rollout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(pack([Source("a", rollouts)])))
    return found


def test_every_text_is_held_once() -> None:
    told = [rollout(n, verdict("one", True), verdict("two", False), prompt="x" * 1000) for n in range(50)]
    found = _packed(*told)
    assert len(found["texts"]) == len(set(found["texts"]))
    assert found["texts"].count("x" * 1000) == 1 and len(found["criteria"]) == 2
    assert found["ends"] == [2 * n for n in range(1, 51)]


def test_numbers_are_the_logs_own_and_what_is_missing_is_null() -> None:
    awkward = 0.1 + 0.2
    found = _packed(
        rollout(
            0, verdict("one", True, p=awkward, p_raw=5e-324), score=awkward, coverage=1 / 3, bounds=(-1e-17, 1e300)
        ),
        rollout(1, verdict("one", None, p=None), score=None),
    )
    assert found["rows"]["score"] == [awkward, None] and found["rows"]["coverage"] == [1 / 3, None]
    assert (found["rows"]["low"], found["rows"]["high"]) == ([-1e-17, None], [1e300, None])
    assert found["verdicts"]["p"] == [awkward, None] and found["verdicts"]["raw"] == [5e-324, None]
    assert found["verdicts"]["met"] == [1, None] and found["rows"]["advantage"] is None


def test_a_column_with_one_value_is_written_once() -> None:
    found = _packed(*(rollout(n, verdict("one", True)) for n in range(3)))
    assert found["rows"]["score"] == {"all": 0.5} and found["verdicts"]["met"] == {"all": 1}
    assert found["rows"]["id"] == [found["texts"].index(f"g/{n}") for n in range(3)]


def test_a_response_that_was_not_judged_shows_its_criteria_without_verdicts() -> None:
    rubric = wire.Rubric.model_validate(
        {"criteria": [{"text": "Is kind.", "points": 2}, {"text": "Lies.", "points": -1}]}
    )
    failed = rollout(0, score=None, rubric=rubric, status="timeout")
    assert [(one.text, one.points, one.met, one.status) for one in entries_of(failed)] == [
        ("Is kind.", 2, None, "timeout"),
        ("Lies.", -1, None, "timeout"),
    ]
    assert entries_of(rollout(0, rubric=rubric, score=0.5)) == (), "a score without verdicts has none to show"


def test_calls_of_tools_and_parts_are_texts_too() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "look"}}]}
    assert json.loads(said_in(call))["tool_calls"][0]["function"] == {"name": "look"}
    assert said_in({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}) == "ab"


def test_levels_are_carried() -> None:
    levels: dict[str, Any] = {"level": 0, "levels": ("good", "poor"), "level_values": (1.0, 0.0)}
    told = verdict("one", True, p_levels=[0.75, 0.25], value=0.75, **levels)
    found = _packed(rollout(0, told), rollout(1, verdict("one", True)), rollout(2, verdict("one", True, level=3)))
    good, poor = (found["texts"].index(name) for name in ("good", "poor"))
    assert found["verdicts"]["levels"] == [[[good, 0.75, 1.0], [poor, 0.25, 0.0]], None, None]
    assert found["verdicts"]["level"] == [good, None, found["texts"].index("level 4")]
    assert found["verdicts"]["value"] == [0.75, None, None]
    older = _packed(rollout(0, verdict("one", True, level=1, levels=("good", "poor"), level_values=(1.0, 0.0))))
    ((one, no_p, value), _) = older["verdicts"]["levels"]["all"]
    assert (older["texts"][one], no_p, value) == ("good", None, 1.0), "without probabilities"
