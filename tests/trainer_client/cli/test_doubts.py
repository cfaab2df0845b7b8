"""`rubricd score` says before and after the work how far the judge can be trusted."""

import json
from pathlib import Path

import httpx
import pytest

from testkit.scripted_judge import Json, Service, answered, exam, items, scores, served
from trainer_client.cli.main import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{json.dumps(item)}\n" for item in items(5)))
    return path


def _score(file: Path, service: Service, *options: str) -> int:
    with served(service) as url:
        return main(["score", str(file), "--url", url, *options])


def test_an_unproven_judge_is_told_first_and_named_last(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["judge"]["trust"] = "unproven"
        return answered(whole)

    service = Service(answer)
    service.exams = [exam("unproven", "it tells what is met in 20 of 40 pairs of the exam")]
    assert _score(file, service, "--quiet") == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == (
        "WARNING: judge fake is unproven: it tells what is met in 20 of 40 pairs of the exam"
    )
    assert "judge fake judge-1 (unproven)" in said.out


def test_a_mode_that_failed_its_exam_is_refused_with_the_reason(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = Service()
    service.unserved = [
        {"mode": "reasoned", "layout": "rubricd", "reason": "it answered 0 of 48 questions of the exam"}
    ]
    assert _score(file, service, "--mode", "reasoned") == 2
    assert "and not reasoned (it answered 0 of 48 questions of the exam)" in capsys.readouterr().err
