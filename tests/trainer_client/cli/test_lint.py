"""`rubricd lint` asks about each rubric of a file once, and tells every finding with its place."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, answered, items, problem, served
from trainer_client.cli.main import main

Json = dict[str, Any]


class Linter(Service):
    """It finds each criterion vague whose text says so, and an error where one is long."""

    def respond(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        if len(body["rubric"]["criteria"]) > 2:
            return problem("invalid_request", 422)
        found = []
        for place, one in enumerate(body["rubric"]["criteria"]):
            id = one.get("id", str(place))
            if "good" in one["text"]:
                found.append({"code": "vague", "severity": "warning", "criterion": id, "message": "say what is good"})
        if not any(one["points"] for one in body["rubric"]["criteria"]):
            about = {"code": "nothing_counted", "severity": "error", "criterion": None, "message": "give it points"}
            found.append(about)
        return answered({"findings": found})


def _rows(path: Path, *rubrics: Any) -> Path:
    rows = [{**items(1)[0], "rubric": rubric} for rubric in rubrics]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def _lint(service: Service, *arguments: str) -> int:
    with served(service) as url:
        return main(["lint", *arguments, "--url", url])


FINE = [{"text": "Is kind.", "points": 1}]
VAGUE = [{"text": "Is kind.", "points": 1}, {"text": "Is a good answer.", "points": 2, "id": "quality"}]
MONITOR = [{"text": "Is kind.", "points": 0}]


def test_each_finding_names_file_row_criterion_rule_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Linter()
    file = _rows(tmp_path / "rows.jsonl", FINE, VAGUE, FINE, VAGUE)
    assert _lint(service, str(file), "--aggregation", "min") == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == (
        f"{file}, line 2 and 1 more rows, criterion quality (Is a good answer.): warning vague: say what is good"
    )
    assert last == "4 rows, 2 distinct rubrics, 3 criteria; 0 errors; 1 warning (1 vague)"
    assert len(service.bodies) == 2 and {body["aggregation"] for body in service.bodies} == {"min"}


def test_an_error_is_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _lint(Linter(), str(_rows(tmp_path / "rows.jsonl", FINE, MONITOR))) == 1
    said = capsys.readouterr().out
    assert "line 2: error nothing_counted: give it points" in said and "1 error (1 nothing_counted); 0 warnings" in said


def test_a_rubric_that_the_service_refuses_is_an_error_and_the_others_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _lint(Linter(), str(_rows(tmp_path / "rows.jsonl", FINE * 3, VAGUE))) == 1
    said = capsys.readouterr().out
    assert "line 1: error invalid_request: about invalid_request" in said and "warning vague" in said


def test_a_line_of_json_for_each_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _rows(tmp_path / "rows.jsonl", VAGUE, MONITOR)
    assert _lint(Linter(), str(file), "--json") == 1
    said = capsys.readouterr()
    assert [json.loads(line) for line in said.out.splitlines()] == [
        {
            "place": f"{file}, line 1",
            "id": "0",
            "more_rows": 0,
            "code": "vague",
            "severity": "warning",
            "criterion": "quality",
            "message": "say what is good",
            "why": "",
            "remedy": "",
            "text": "Is a good answer.",
        },
        {
            "place": f"{file}, line 2",
            "id": "1",
            "more_rows": 0,
            "code": "nothing_counted",
            "severity": "error",
            "criterion": None,
            "message": "give it points",
            "why": "",
            "remedy": "",
            "text": None,
        },
    ]
    assert "2 rows, 2 distinct rubrics" in said.err


def test_a_judge_file_is_a_rubric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "judge.toml"
    file.write_text('[[criterion]]\nname = "tea"\ndescription = "Is a good answer."\n', encoding="utf-8")
    assert _lint(Linter(), str(file)) == 0
    assert f"{file}, criterion tea (Is a good answer.): warning vague" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "p", "response": "r"}', "line 1: no `rubric`; give the row one, or leave it out"),
        ('{"prompt": "p", "rubric": [{"text": "t"}]}', "line 1: `rubric[0].points`: is missing; give a number"),
        ("", "holds no rows"),
    ],
)
def test_a_file_without_rubrics_is_misuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    (tmp_path / "rows.jsonl").write_text(content, encoding="utf-8")
    service = Linter()
    assert _lint(service, str(tmp_path / "rows.jsonl")) == 2
    assert said in capsys.readouterr().err and service.bodies == []


def test_who_is_not_let_in_learns_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUBRICD_KEY", raising=False)

    class Closed(Service):
        def respond(self, request: httpx.Request) -> httpx.Response:
            return problem("unauthorized", 401)

    assert _lint(Closed(), str(_rows(tmp_path / "rows.jsonl", FINE))) == 2
    assert "RUBRICD_KEY is not set" in capsys.readouterr().err


def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path: Path) -> None:
    file = _rows(tmp_path / "rows.jsonl", *([{"text": f"{n} is good. {'x' * 4000}", "points": 1}] for n in range(40)))
    with served(Linter()) as url:
        command = [sys.executable, "-m", "trainer_client", "lint", str(file), "--url", url, "--json"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None and child.stderr is not None
            child.stdout.readline()
            child.stdout.close()
            assert child.stderr.read() == b""
            assert child.wait() == 1
