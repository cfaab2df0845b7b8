"""`rubricd score --resume`: what an earlier run has judged is kept, and nothing of it is asked again."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, answered, expected_score, items, problem, scores, served
from trainer_client import wire
from trainer_client.cli import results_file
from trainer_client.cli.main import main
from trainer_client.cli.score import _OPTIONS
from trainer_client.client import Scored

Json = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    _write(path, items(50))
    return path


@pytest.fixture
def out(file: Path) -> Path:
    return file.with_name("in.results.jsonl")


def _write(path: Path, rows: list[Json]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _results(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _score(file: Path, service: Service, *options: str) -> int:
    with served(service) as url:
        return main(["score", str(file), "--url", url, "--quiet", *options])


def _asked(service: Service) -> list[str]:
    return sorted((item["id"] for body in service.bodies for item in body["items"]), key=int)


def _all_scored(out: Path) -> bool:
    lines = _results(out)
    right = [expected_score(f"answer {n}") for n in range(50)]
    return [line["index"] for line in lines] == list(range(50)) and [line["score"] for line in lines] == right


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(lambda lines: lines[:20], id="the first ones"),
        pytest.param(lambda lines: lines[30:] + lines[10:20], id="gaps, out of order"),
        pytest.param(lambda lines: [*lines[:20], lines[20][:40]], id="a line that was cut off"),
        pytest.param(lambda lines: [], id="nothing"),
    ],
)
def test_only_what_is_missing_is_asked_for(
    file: Path, out: Path, left: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _score(file, Service()) == 0
    whole = out.read_text()
    lines = left(whole.splitlines(keepends=True))
    out.write_text("".join(lines))
    kept = {json.loads(line)["index"] for line in lines if line.endswith("\n")}
    service = Service()
    assert _score(file, service, "--resume") == 0
    assert _asked(service) == [str(n) for n in range(50) if n not in kept]
    assert out.read_text() == whole and not list(out.parent.glob("*.new"))
    said = capsys.readouterr().out.splitlines()[-1]
    assert f"{50 - len(kept)} responses; {50 - len(kept)} scored" in said
    assert (f"and {len(kept)} results of an earlier run" in said) == bool(kept)


def test_each_line_says_how_often_its_response_was_sent(file: Path, out: Path) -> None:
    refused: list[str] = []

    def answer(body: Json) -> httpx.Response:
        first = body["items"][0]["id"]
        if first == "10" and not refused:
            refused.append(first)
            return problem("overloaded", 503, retry_after="0.01")
        return problem("internal", 500) if first == "20" else answered(scores(body))

    assert _score(file, Service(answer), "--batch-items", "10") == 1
    attempts = [line["attempts"] for line in _results(out)]
    assert attempts[:20] == [1] * 10 + [2] * 10 and set(attempts[30:]) == {1}
    assert set(attempts[20:30]) == {_results(out)[20]["attempts"]} and "error" in _results(out)[20]


def test_when_nothing_is_missing_nobody_is_asked(file: Path, out: Path) -> None:
    assert _score(file, Service()) == 0
    service = Service()
    assert _score(file, service, "--resume") == 0
    assert service.requests == [] and _all_scored(out)


def test_a_first_run_may_be_told_to_resume(file: Path, out: Path) -> None:
    assert _score(file, Service(), "--resume") == 0
    assert _all_scored(out)


def test_what_failed_is_asked_for_again(file: Path, out: Path) -> None:
    def answer(body: Json) -> httpx.Response:
        return problem("internal", 500) if body["items"][0]["id"] == "10" else answered(scores(body))

    assert _score(file, Service(answer), "--batch-items", "10") == 1
    service = Service()
    assert _score(file, service, "--resume") == 0
    assert _asked(service) == [str(n) for n in range(10, 20)] and _all_scored(out)


def test_what_was_judged_without_a_score_is_kept_and_still_no_success(file: Path) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["results"][0].update(score=None, status="partial", coverage=0.5)
        whole["results"][0]["criteria"][0].update(status="timeout", met=None, p=None)
        return answered(whole)

    assert _score(file, Service(answer)) == 1
    service = Service()
    assert _score(file, service, "--resume") == 1
    assert service.requests == []


@pytest.mark.parametrize("options", [["--soft"], ["--aggregation", "min"], ["--threshold", "0.4"]])
def test_other_options_are_another_question(
    file: Path, out: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _score(file, Service()) == 0
    before = out.read_text()
    service = Service()
    assert _score(file, service, "--resume", *options) == 2
    assert "line 1: this is no result of this input with these options" in capsys.readouterr().err
    assert service.requests == [] and out.read_text() == before


def test_another_input_is_told_by_its_first_line(file: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _score(file, Service()) == 0
    before = out.read_text()
    changed = items(50)
    changed[30]["response"] = "something else"
    for rows, line in ((changed, 31), (items(20), 21), (items(1) + items(50), 2)):
        _write(file, rows)
        service = Service()
        assert _score(file, service, "--resume") == 2
        assert f"line {line}: this is no result of this input" in capsys.readouterr().err
        assert service.requests == [] and out.read_text() == before


@pytest.mark.parametrize("junk", ["precious", "[]", "{}", '{"index": -1, "digest": "x"}', '{"index": "0"}', "7"])
def test_a_file_that_is_something_else_is_left_alone(
    file: Path, out: Path, junk: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out.write_text(f"{junk}\n")
    assert _score(file, Service(), "--resume") == 2
    assert "line 1: this is no result" in capsys.readouterr().err and out.read_text() == f"{junk}\n"


def test_more_items_may_have_come_and_a_part_may_have_been_enough(file: Path, out: Path) -> None:
    assert _score(file, Service(), "--limit", "20") == 0
    service = Service()
    assert _score(file, service, "--resume") == 0
    assert len(_asked(service)) == 30 and _all_scored(out)


def test_another_judge_does_not_go_on(file: Path, out: Path) -> None:
    assert _score(file, Service(), "--limit", "20") == 0

    def answer(body: Json) -> httpx.Response:
        assert body["expect_judge"] == "judge-1"
        return problem("judge_mismatch", 409)

    assert _score(file, Service(answer), "--resume") == 1
    lines = _results(out)
    assert [line["index"] for line in lines] == list(range(50))
    assert sum("error" in line for line in lines) == 30


def test_a_group_that_is_not_whole_is_asked_for_whole(file: Path, out: Path) -> None:
    rubric = [{"text": "Is kind.", "points": 5}]
    _write(file, [{"id": f"g{n}", "prompt": "p", "responses": ["a", "b", "c"], "rubric": rubric} for n in range(3)])
    assert _score(file, Service()) == 0
    whole = out.read_text()
    out.write_text("".join(whole.splitlines(keepends=True)[:4]))
    service = Service()
    assert _score(file, service, "--resume") == 0
    assert [item["id"] for body in service.bodies for item in body["items"]] == ["g1", "g2"]
    assert out.read_text() == whole


def test_an_interrupted_resume_keeps_both(file: Path, out: Path) -> None:
    assert _score(file, Service(), "--batch-items", "10") == 0
    whole = out.read_text()
    out.write_text("".join(whole.splitlines(keepends=True)[40:]))

    work = results_file.open_work([wire.Item.model_validate(row) for row in items(50)], out, _defaults(), resume=True)
    assert list(work.items) == list(range(40))
    answer_body = scores(
        json.loads(wire.ScoreRequest.model_validate({"items": items(50)}).model_dump_json(exclude_none=True))
    )
    judge = wire.Judge.model_validate(answer_body["judge"])
    with pytest.raises(KeyboardInterrupt), work.writing() as write:
        for number in (3, 0, 1):
            write(number, Scored(wire.Result.model_validate(answer_body["results"][number]), judge))
        raise KeyboardInterrupt
    assert [line["index"] for line in _results(out)] == [0, 1, 3, *range(40, 50)]
    assert _score(file, Service(), "--resume") == 0
    assert out.read_text() == whole


def _defaults() -> Json:
    named = [name for name in _OPTIONS if name not in ("cache", "rating_norm")]
    return {name: wire.ScoreRequest.model_fields[name].default for name in named}


def test_one_may_not_ask_for_both(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _score(file, Service(), "--resume", "--force")
    assert "not allowed with" in capsys.readouterr().err


def test_a_fresh_run_writes_into_whatever_it_is_given(file: Path) -> None:
    assert _score(file, Service(), "--out", "/dev/null", "--force") == 0
    assert not Path("/dev/null").is_file()
