"""`rubricd audit --pairwise` on a run's folder and on two logs."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Json, Service, answered, judge_info, preferences, served
from tests.trainer_client.rollouts.made import columns, write
from trainer_client.cli.main import main


def service(p: float) -> Service:
    """A judge that prefers the later answer, which is `a`, with this probability."""

    def compared(body: Json) -> httpx.Response:
        assert all("rubric" not in item and "reference" not in item for item in body["items"])
        whole = preferences(body)
        for result in whole["results"]:
            result.update(p=p)
        return answered(whole)

    made = Service()
    made.compares = compared
    made.info = {"compare": {"judge": {**judge_info()["judges"][0], "mode": "compare"}}}
    return made


def audit(logs: Path | list[Path], judge: Service, *options: str) -> int:
    paths = [str(path) for path in (logs if isinstance(logs, list) else [logs])]
    with served(judge) as url:
        return main(["audit", *paths, "--pairwise", "--url", url, "--quiet", *options])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    ids = [f"r{n}" for n in range(12)]
    for step in (1, 2, 3, 4):
        write(tmp_path / "run", step, columns(step, ids, [f"answer {step}" for _ in ids]))
    return tmp_path / "run"


def test_a_run_is_compared_with_itself_without_its_rubric(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge, found = service(0.8), run.with_name("found.json")
    assert audit(run, judge, "--steps", "1", "--json", str(found)) == 0
    said = capsys.readouterr().out
    assert "12 pairs of 12 prompts, steps 1 to 1 against 4 to 4" in said
    assert "pass: without the rubric the judge prefers the later answers" in said
    assert all(item["a"] == "answer 4" and item["b"] == "answer 1" for body in judge.bodies for item in body["items"])
    assert json.loads(found.read_text())["preferred"]["value"] == 1.0
    judge.bodies.clear()
    assert audit(run, judge, "--steps", "1") == 0
    assert judge.bodies == [], "what was answered is not asked again"
    assert "Is the policy better without its rubric?" in (run.with_name("run.pairwise") / "report.html").read_text()


def test_two_logs_may_be_given(tmp_path: Path) -> None:
    def log(name: str, response: str, reward: float) -> Path:
        path = tmp_path / name
        rubric = [{"text": "Says to rest.", "points": 5}]
        rows: list[dict[str, Any]] = [
            {"prompt": f"p{n}", "response": response, "score": reward, "rubric": rubric} for n in range(8)
        ]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path

    before, after = log("before.jsonl", "Run.", 0.0), log("after.jsonl", "Rest.", 1.0)
    found = tmp_path / "found.json"
    assert audit([before, after], service(0.2), "--json", str(found), "--out", str(tmp_path / "out")) == 1
    told = json.loads(found.read_text())
    assert (told["verdict"], told["steps"]) == ("fail", "before.jsonl against after.jsonl")


def test_mistakes_are_one_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit([run, run, run], service(0.5)) == 2
    assert audit(tmp_path / "none", service(0.5)) == 2
    older = service(0.5)
    older.info = {}
    assert audit(run, older) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "takes one run, or two logs" in said[0]
    assert "there is no such file or folder" in said[1]
    assert "compares no responses" in said[2]
