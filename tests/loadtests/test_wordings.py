"""The comparison of prompts: its labelled sets have what shows a bias, and its figures are those of known verdicts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.wordings.figures import measured, table
from loadtests.wordings.sets import PRIOR, LabelledSet, rules, written
from service.prompting.wording import read_prompt
from testkit.processes import ROOT
from testkit.scripted_judge import judge_info
from trainer_client import wire
from trainer_client.labels import Judged, JudgedCriterion

RULES = ROOT / "labelled" / "held_out.jsonl.gz"


def _judged(one: LabelledSet, p: Callable[[str, str, bool | None], float]) -> Judged:
    """Verdicts whose P(met) is `p` of response, criterion's text and label."""
    info = wire.JudgeInfo.model_validate(judge_info())
    criteria = []
    for n, item in enumerate(one.labels.items):
        for criterion in item.criteria:
            id = criterion.id or ""
            chance = p(str(item.item.response), criterion.text, item.met[id])
            criteria.append(
                JudgedCriterion(
                    n, id, criterion.text, criterion.worth, dict(criterion.tags), item.met[id],
                    "ok", chance >= 0.5, chance, chance, 0.9, "judge",
                )
            )  # fmt: skip
    return Judged(info.judges[0], info, {}, tuple(criteria), "")


def test_the_set_of_rules_has_whole_conversations_and_what_shows_a_bias() -> None:
    one = rules(RULES, 4)
    labelled = [item for item in one.labels.items if PRIOR in item.met]
    empty = [item for item in one.labels.items if PRIOR not in item.met]
    assert (one.prompts, len(empty)) == (4, 4)
    assert all(item.criteria[-1].text == "N/A" and item.met[PRIOR] is None for item in labelled)
    assert all(item.item.response == "" and set(item.met.values()) == {None} for item in empty)
    for item in labelled:
        asked = {criterion.text for other in empty if other.group == item.group for criterion in other.criteria}
        assert {criterion.text for criterion in item.criteria[:-1]} <= asked
    assert one.labels.labelled > 80
    less, third = one.cheaper(), rules(RULES, 18).cheaper()
    assert (less.prompts, third.prompts) == (4, 6)
    assert all(item.met.keys() == {criterion.id for criterion in item.criteria} - {PRIOR} for item in less.labels.items)


def test_answers_written_by_hand_are_judged_beside_vague_foreign_and_empty_ones(tmp_path: Path) -> None:
    rubric = [
        {"text": f"Criterion {n}.", "points": 1 if n < 2 else -1, "polarity": "positive" if n < 2 else "negative"}
        for n in range(3)
    ]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f"{json.dumps({'prompt': f'p{n}', 'rubric': rubric})}\n" for n in range(2)))
    answers = tmp_path / "answers.jsonl"
    split = {"met_by_good_not_by_vague": [0, 1], "met_by_vague_not_by_good": [2]}
    answers.write_text(
        "".join(f"{json.dumps({'row': n, 'good': f'good {n}', 'vague': f'vague {n}', **split})}\n" for n in range(2))
    )
    one = written(answers, rows)
    found = [(item.item.response, [item.met[id] for id in ("0", "1", "2")]) for item in one.labels.items[:4]]
    others = [False, False, True]
    assert found == [("good 0", [True, True, False]), ("vague 0", others), ("good 1", others), ("", others)]
    figures = measured("a", one, _judged(one, lambda response, text, met: 0.9 if met else 0.2))
    assert {kind: figure.value for kind, figure in figures.over.items()} == {"vague": 1, "off": 1, "empty": 1}
    backwards = measured("a", one, _judged(one, lambda response, text, met: 0.2 if met else 0.9))
    assert (backwards.auroc["raw"].value, backwards.order["raw"].value) == (0, 0)


def test_a_bias_of_a_criterion_or_of_a_response_is_taken_off() -> None:
    one = rules(RULES, 6)

    def by_response(response: str, text: str, met: bool | None) -> float:
        """Mostly the length of the response, and a little the truth."""
        return min(max(len(response), 1), 900) / 1000 + (0.01 if met else 0.0)

    def by_criterion(response: str, text: str, met: bool | None) -> float:
        return min(len(text), 90) / 100 + (0.01 if met else 0.0)

    for judge, score in ((by_response, "less criterion"), (by_criterion, "less response")):
        figures = measured("a", one, _judged(one, judge))
        assert figures.auroc[score].value == pytest.approx(1.0, abs=0.05)
        assert (figures.auroc["raw"].value or 1) < 0.8
        assert figures.label_mass == 0.9
    shown = table([figures])
    assert "AUROC less response" in shown and "1.00 [" in shown


def test_the_control_asks_for_the_contrary() -> None:
    control = read_prompt(ROOT / "loadtests" / "wordings" / "is_it_false.toml")
    assert "Is it false of the response?" in control.question and "literally false" in control.instructions
