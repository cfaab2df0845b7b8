"""Results of `rubricd score` and lines of any trainer are read as rollouts."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from testkit.scripted_judge import Service, expected_score, items, problem, served
from trainer_client.cli.main import main
from trainer_client.errors import DataError
from trainer_client.rollouts import opened, read

Json = dict[str, Any]


def _lines(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def _scored(path: Path, service: Service) -> int:
    with served(service) as url:
        return main(["score", str(path), "--url", url, "--quiet"])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What `rubricd score` wrote of a group of three responses and of two single ones with a step."""
    one, other = items(2)
    group = {**one, "id": "g", "responses": ["answer 0", "answer 1", "answer 2"]}
    group.pop("response")
    path = _lines(tmp_path / "in.jsonl", group, {**other, "metadata": {"step": 7}, "group": "mine"}, items(1)[0])
    assert _scored(path, Service()) == 0
    return tmp_path / "in.results.jsonl"


def test_results_of_score_are_rollouts(results: Path) -> None:
    found = read(results)
    assert [one.id for one in found] == ["g/0", "g/1", "g/2", "1", "2"]
    assert [one.score for one in found] == [expected_score(one.answer) for one in found]
    first, _, _, fourth, _ = found
    assert first.group == found[2].group and (fourth.step, fourth.group) == (7, "7/mine")
    assert [(one.text, one.points, one.status) for one in first.criteria] == [
        ("Is kind.", 5, "ok"),
        ("Lies.", -3, "ok"),
    ]
    assert (first.prompt, first.judge, first.attempts, first.status) == ("Hello?", "judge-1", 1, "ok")
    assert first.item().rubric is not None and first.reward is None and first.shown is None
    assert first.coverage == 1.0 and first.bounds is not None and first.detail is None


def test_a_failed_response_has_no_score(tmp_path: Path) -> None:
    path = _lines(tmp_path / "in.jsonl", items(1)[0])
    assert _scored(path, Service(lambda body: problem("invalid_request", 422))) == 1
    (one,) = read(tmp_path / "in.results.jsonl")
    assert (one.score, one.criteria, one.status, one.coverage) == (None, (), "invalid_request", None)
    assert one.detail


def test_a_last_line_that_is_cut_off_is_left_out_and_said(results: Path) -> None:
    whole = results.read_bytes()
    lengths = [len(line) for line in whole.splitlines(keepends=True)]
    before = sum(lengths[:-1])
    for kept in range(before + 1, len(whole) - 1, 53):
        results.write_bytes(whole[:kept])
        said: list[str] = []
        assert len(read(results, say=said.append)) == 4
        assert said == [f"{results}, line 5 is not whole yet and is left out"]
    log = opened(results)
    last = list(log.rollouts())[-1]
    results.write_bytes(whole)
    assert [one.id for one in log.rollouts_after(last)] == ["2"]


def test_lines_of_another_trainer_are_read(tmp_path: Path) -> None:
    path = _lines(
        tmp_path / "log.jsonl",
        {"step": 1, "input": "Hi?", "output": "Ho.", "score": 0.5},
        {
            "step": 2,
            "group": "g",
            "prompt": [{"role": "user", "content": "Hi?"}],
            "response": "Ho.",
            "criteria": [{"id": "kind", "text": "Is kind.", "points": 2, "met": True, "p": 0.75}],
            "score": 1,
            "reward": 0.75,
            "advantage": -1,
            "shown": [0],
        },
    )
    first, second = read(path)
    assert (first.step, first.question, first.answer, first.score, first.criteria) == (1, "Hi?", "Ho.", 0.5, ())
    assert (second.group, second.reward, second.advantage, second.shown) == ("2/g", 0.75, -1, (0,))
    kind = second.criteria[0]
    assert (kind.text, kind.points, kind.met, kind.p, kind.status) == ("Is kind.", 2, True, 0.75, "ok")
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [one.score for one in read(packed)] == [0.5, 1]


def test_a_folder_of_files_is_read_by_its_steps_and_on_where_it_grows(tmp_path: Path) -> None:
    """As verl writes them: `input`, `output`, `score`, `step`, and more that is not read."""
    for step in (10, 9, 1):
        rows = [
            {"input": f"{name}?", "output": f"{n}", "gts": None, "score": n, "step": step}
            for name in "ab"
            for n in (0, 1)
        ]
        _lines(tmp_path / f"{step}.jsonl", *rows)
    log = opened(tmp_path)
    found = list(log.rollouts())
    assert [one.step for one in found] == [1] * 4 + [9] * 4 + [10] * 4
    assert len({one.group for one in found}) == 6 and [one.score for one in found[:2]] == [0, 1]
    assert list(log.rollouts_after(found[-1])) == []
    assert [one.step for one in log.rollouts_after(found[5])] == [9] * 2 + [10] * 4
    _lines(tmp_path / "11.jsonl", {"input": "a?", "output": "3", "score": 3, "step": 11})
    assert [one.step for one in log.rollouts_after(found[-1])] == [11]


GOOD: Json = {"prompt": "Hi?", "response": "Ho."}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"response": "Ho."}, "line 1: no `prompt`; a rollout has"),
        ({"prompt": "Hi?"}, "line 1: no `response`; a rollout has"),
        ({**GOOD, "prompt": 3}, "`prompt` is neither a text nor a list of turns"),
        ({**GOOD, "step": "3"}, "`step` is no whole number"),
        ({**GOOD, "score": True}, "`score` is neither a number nor null"),
        ({**GOOD, "criteria": {"a": True}}, "`criteria` is no list"),
        ({**GOOD, "criteria": [{"met": True}]}, "a verdict has no `id`"),
        ({**GOOD, "rubric": [{"text": "x"}]}, "the rubric is not valid: criteria.0.points"),
        ([], "a line must hold one whole JSON object"),
    ],
)
def test_mistakes_are_told_in_one_sentence(tmp_path: Path, line: Any, said: str) -> None:
    with pytest.raises(DataError) as raised:
        read(_lines(tmp_path / "log.jsonl", line))
    assert said in str(raised.value)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        opened(tmp_path / "none.jsonl")
    other = tmp_path / "log.txt"
    other.write_text("x")
    with pytest.raises(DataError, match="cannot tell what it holds; give a run's folder"):
        opened(other)
    with pytest.raises(DataError, match="no rollouts yet"):
        read(_lines(tmp_path / "empty.jsonl"))
    damaged = _lines(tmp_path / "two.jsonl", "", GOOD)
    damaged.write_text('{"prompt"\n' + json.dumps(GOOD) + "\n")
    with pytest.raises(DataError, match="line 1: not JSON"):
        read(damaged)
