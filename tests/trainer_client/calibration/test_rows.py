"""A calibration is fitted to verdicts of the judge that are met or not met, and to no others."""

from dataclasses import replace
from pathlib import Path

from tests.trainer_client.agreement.made import judged_by, labels_of
from trainer_client.calibration.rows import rows_of


def test_graded_criteria_are_left_out_and_counted(tmp_path: Path) -> None:
    rubric = [{"text": f"Is {n}.", "points": 1} for n in range(3)]
    row = {"item": {"prompt": "p", "response": "r", "rubric": rubric}, "met": {"0": True, "1": False, "2": True}}
    labels = labels_of(tmp_path, [row])
    judged = judged_by(labels, [0.9, 0.2, 0.7])
    first, *others = judged.criteria
    rows = rows_of(labels, replace(judged, criteria=(replace(first, plain=False), *others)), {})
    assert (list(rows.p), rows.left_out) == ([0.2, 0.7], {"graded or extracted": 1})
