"""A run's tables are read as they were logged, also older ones and those that are not whole."""

import json
from pathlib import Path

import pytest

from tests.trainer_client.rollouts import made
from trainer_client.errors import DataError
from trainer_client.rollouts import opened, read

IDS, ANSWERS = ["a", "a", "b", "b"], ["one", "two", "three", "four"]


def _run(folder: Path, *steps: int) -> Path:
    for step in steps:
        made.write(folder, step, made.columns(step, IDS, ANSWERS))
    return folder


def test_a_rollout_holds_what_was_logged(tmp_path: Path) -> None:
    first, second, *_ = read(_run(tmp_path, 3))
    assert (first.step, first.id, first.group) == (3, "a", "3/a/0") == (second.step, second.id, second.group)
    assert first.prompt == ({"role": "user", "content": "I have a a."},) and first.question == "I have a a."
    assert (first.response, first.answer, first.reference) == ("one", "one", "Tea.")
    assert (first.status, first.reward, second.reward, first.advantage) == ("ok", 0.0, 0.125, 0.5)
    assert (first.shown, first.judge, first.attempts) == ((0, 2), "judge-1", 1)
    tea, nurse, boxes = first.criteria
    assert (tea.id, tea.text, tea.points, tea.tags) == ("tea", "Tells the user to drink tea.", 5, {"axis": "item"})
    assert (nurse.id, nurse.text) == ("1", "names a nurse.") and nurse.fingerprint == "judge-1"
    said = made.judged("one").outcome.result.criteria[2]  # type: ignore[union-attr]
    assert (boxes.met, boxes.p, boxes.status, boxes.points) == (said.met, said.p, "ok", said.points)


def test_a_rollout_can_be_judged_again(tmp_path: Path) -> None:
    one = read(_run(tmp_path, 1))[0]
    item = one.item()
    assert item.response == "one" and item.reference == "Tea." and item.rubric is one.rubric
    assert one.item("").response == "" and one.rubric is not None and len(one.rubric.criteria) == 3


def test_steps_are_in_order_and_a_row_twice_in_a_batch_is_two_groups(tmp_path: Path) -> None:
    made.write(tmp_path, 10, made.columns(10, ["a"] * 4, ANSWERS))
    _run(tmp_path, 9, 11)
    found = read(tmp_path)
    assert [one.step for one in found] == [9] * 4 + [10] * 4 + [11] * 4
    assert [one.group for one in found][4:8] == ["10/a/0", "10/a/0", "10/a/1", "10/a/1"]


def test_held_out_tables_are_apart(tmp_path: Path) -> None:
    _run(tmp_path, 1)
    made.write(tmp_path, 1, made.columns(1, IDS[:2], ANSWERS[:2]), "held_out")
    assert len(read(tmp_path)) == 4 and len(read(tmp_path, "held_out")) == 2


def test_a_last_table_that_is_cut_off_is_left_out_and_said(tmp_path: Path) -> None:
    _run(tmp_path, 1, 2)
    last = tmp_path / "completions" / "completions_00002.parquet"
    whole = last.read_bytes()
    for kept in range(0, len(whole), 97):
        last.write_bytes(whole[:kept])
        said: list[str] = []
        assert {one.step for one in read(tmp_path, say=said.append)} == {1}
        assert said == ["completions_00002.parquet is not whole yet and is left out"]
    last.with_name("completions_00001.parquet").write_bytes(whole[:100])
    last.write_bytes(whole)
    with pytest.raises(DataError, match=r"completions_00001.parquet: the table is damaged .*; take it out of the fol"):
        read(tmp_path)


def test_a_log_that_grows_is_read_on(tmp_path: Path) -> None:
    log = opened(_run(tmp_path, 1))
    before = list(log.rollouts_after(None))
    assert list(log.rollouts_after(before[-1])) == []
    _run(tmp_path, 2)
    assert [one.step for one in log.rollouts_after(before[-1])] == [2] * 4


def test_an_older_table_has_verdicts_without_p_and_says_so(tmp_path: Path) -> None:
    table = made.columns(1, IDS, ANSWERS)
    for name in ("verdicts", "judge", "attempts", "reward", "member", "revealed"):
        table.pop(name)
    table["judge"] = [float("nan")] * 4  # TRL's own column of the function `judge`
    made.write(tmp_path, 1, table)
    said: list[str] = []
    one = read(tmp_path, say=said.append)[0]
    assert len(said) == 1 and "an older run" in said[0]
    tea = one.criteria[0]
    assert (tea.p, tea.status, tea.text) == (None, "ok", "Tells the user to drink tea.")
    assert (one.reward, one.judge, one.shown, one.group) == (None, None, None, "1/a/0")


def test_what_was_not_judged_has_no_score_and_its_reason(tmp_path: Path) -> None:
    table = made.columns(1, IDS, ANSWERS)
    table["score"] = table["reward"] = [None, 0.5, float("nan"), 0.5]
    table["status"] = ["timeout", "ok", "engine_error", "ok"]
    table["verdicts"][0] = '[{"id": "tea", "met": null, "p": null, "status": "timeout", "points": 5}]'
    made.write(tmp_path, 1, table)
    first, _, third, _ = read(tmp_path)
    assert (first.score, first.reward, first.status) == (None, None, "timeout")
    assert (first.criteria[0].met, first.criteria[0].status) == (None, "timeout")
    assert (third.score, third.status) == (None, "engine_error")


def test_a_trajectory_keeps_its_turns(tmp_path: Path) -> None:
    table = made.columns(1, ["a", "a"], ANSWERS[:2])
    call = {"role": "assistant", "content": None, "name": None}
    tool = {"role": "tool", "content": "12:00", "name": "clock"}
    last = {"role": "assistant", "content": "Noon.", "name": None}
    table["completion"] = [[call, tool, last]] * 2
    made.write(tmp_path, 1, table)
    one = read(tmp_path)[0]
    assert one.response == ({"role": "assistant"}, tool, {"role": "assistant", "content": "Noon."})
    assert one.answer == "Noon."


def test_another_judges_verdicts_stand_beside(tmp_path: Path) -> None:
    table = made.columns(1, IDS, ANSWERS)
    table["examiner/verdicts"] = [*table["verdicts"][1:], None]
    table["examiner/judge"] = ["judge-2"] * 4
    made.write(tmp_path, 1, table, "held_out")
    first, second, *_, last = read(tmp_path, "held_out")
    examined = first.others["examiner"]
    assert [(one.id, one.p) for one in examined] == [(one.id, one.p) for one in second.criteria]
    assert {one.fingerprint for one in examined} == {"judge-2"} and last.others == {}


def test_criteria_that_evolved_in_a_step_are_in_its_rubric(tmp_path: Path) -> None:
    table = made.columns(1, IDS, ANSWERS)
    evolved = {"id": "new", "text": "Names the dose.", "points": 2.0, "tags": {"origin": "evolved"}}
    said = {"id": "new", "status": "ok", "met": True, "p": 0.9, "points": 2.0, "source": "judge"}
    table["evolved"] = [json.dumps([evolved]), *["[]"] * 3]
    table["verdicts"][0] = json.dumps([*json.loads(table["verdicts"][0]), said])
    made.write(tmp_path, 1, table)
    first, second, *_ = read(tmp_path)
    new = first.criteria[-1]
    assert (new.id, new.text, new.tags) == ("new", "Names the dose.", {"origin": "evolved"})
    assert first.rubric is not None and [one.id for one in first.rubric.criteria][-1] == "new"
    assert second.rubric is not None and len(second.rubric.criteria) == 3


def test_mistakes_are_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("{}")
    with pytest.raises(DataError, match=r": no rollouts yet$"):
        read(tmp_path)
    table = made.columns(1, IDS, ANSWERS)
    path = made.write(tmp_path, 1, {name: values for name, values in table.items() if name != "criteria"})
    with pytest.raises(DataError, match="no column `criteria`; it is no table of rollouts"):
        read(tmp_path)
    made.write(tmp_path, 1, {**table, "verdicts": ["no JSON", *table["verdicts"][1:]]})
    with pytest.raises(DataError, match=r"row 0 \(the first is row 0\): `verdicts` is not JSON"):
        read(tmp_path)
    made.write(tmp_path, 1, {**table, "prompt": [made.prompt("a", [{"text": "x"}])] * 4})
    with pytest.raises(DataError, match=r"row 0 .*: the rubric is not valid: criteria.0.points: "):
        read(path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="neither a run's folder"):
        read(empty)
