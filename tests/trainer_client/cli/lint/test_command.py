"""`rubricd lint` looks at each rubric once, tells findings with their places, and fixes what is mechanical."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, answered, items, problem, scores, served
from trainer_client import wire
from trainer_client.cli.main import main
from trainer_client.rubric_folder import RubricFolder

Json = dict[str, Any]

FINE = [{"text": "Names the tea.", "points": 1}, {"text": "Recommends surgery.", "points": -1}]
GENERIC = [{"text": "Names the tea.", "points": 1}, {"text": "Is a good answer.", "points": 2, "id": "quality"}]
MONITOR = [{"text": "Names the tea.", "points": 0}, {"text": "Names the dose.", "points": 0}]
UNTIDY = [
    {"criterion": "Esential Criteria: Names the  tea.", "points": 5, "tags": ["axis:a"]},
    {"criterion": "Important Criteria: Names the dose.", "points": 3, "tags": []},
    {"criterion": "Important Criteria: Names the dose.", "points": 3, "tags": []},
]


def _rows(path: Path, *rubrics: Any) -> Path:
    rows = [{**items(1)[0], "rubric": rubric, "note": n} for n, rubric in enumerate(rubrics)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_each_finding_names_file_row_criterion_rule_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _rows(tmp_path / "rows.jsonl", FINE, GENERIC, FINE, GENERIC)
    assert main(["lint", str(file)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == (
        f"{file}, line 2 and 1 more rows, criterion quality (Is a good answer.): warning generic: it could stand under "
        "any prompt, and judges differ on it more than on facts; say what is clear, complete or kind in an answer to "
        "this prompt, or leave it out"
    )
    assert last == "4 rows, 2 distinct rubrics, 4 criteria; 0 errors; 1 warning (1 generic)"


def test_the_exit_code_follows_what_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = str(_rows(tmp_path / "wrong.jsonl", FINE, MONITOR))
    assert main(["lint", wrong]) == 1
    said = capsys.readouterr().out
    assert "line 2: error nothing_counted" in said and "1 error (1 nothing_counted); 0 warnings" in said
    odd = str(_rows(tmp_path / "odd.jsonl", GENERIC))
    for name, codes in (("error", (1, 0)), ("warning", (1, 1)), ("never", (0, 0))):
        assert (main(["lint", wrong, "--fail-on", name]), main(["lint", odd, "--fail-on", name])) == codes
    assert main(["lint", str(_rows(tmp_path / "fine.jsonl", FINE)), "--fail-on", "warning"]) == 0


def test_the_aggregation_and_the_reference_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(f"word{n}" for n in range(20))
    row = {"question": "q", "reference_answer": words, "rubric": [{"text": f"Says {words}.", "points": 1}, FINE[0]]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    assert main(["lint", str(tmp_path / "rows.jsonl"), "--aggregation", '{"name": "veto", "tag": "a"}']) == 0
    said = capsys.readouterr().out
    assert "warning copied_reference" in said and "warning no_tagged: `veto` looks" in said


def test_a_line_of_json_for_each_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _rows(tmp_path / "rows.jsonl", GENERIC, MONITOR)
    assert main(["lint", str(file), "--json"]) == 1
    said = capsys.readouterr()
    first, second = [json.loads(line) for line in said.out.splitlines()]
    assert first == {
        "place": f"{file}, line 1",
        "id": "0",
        "more_rows": 0,
        "code": "generic",
        "severity": "warning",
        "criterion": "quality",
        "message": f"{first['why']}; {first['remedy']}",
        "why": first["why"],
        "remedy": first["remedy"],
        "text": "Is a good answer.",
    }
    assert (second["id"], second["code"], second["criterion"], second["text"]) == ("1", "nothing_counted", None, None)
    assert "2 rows, 2 distinct rubrics" in said.err


def test_rubrics_alone_and_a_judge_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "judge.toml").write_text(
        '[[criterion]]\nname = "tea"\ndescription = "Is a good answer."\n\n[[criterion]]\ndescription = "Names it."\n'
    )
    (tmp_path / "rubrics.jsonl").write_text(f"{json.dumps(GENERIC)}\n{json.dumps({'criteria': FINE})}\n")
    assert main(["lint", str(tmp_path / "judge.toml"), str(tmp_path / "rubrics.jsonl")]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'judge.toml'}, criterion tea (Is a good answer.): warning generic" in said
    assert f"{tmp_path / 'rubrics.jsonl'}, line 1, criterion quality" in said and "3 rows, 3 distinct" in said


def test_a_stored_rubric_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref = RubricFolder(tmp_path / "rubrics").put("tea", wire.Rubric.model_validate(GENERIC)).ref
    file = _rows(tmp_path / "rows.jsonl", {"ref": ref})
    assert main(["lint", str(file)]) == 2
    assert "--rubric-folder" in capsys.readouterr().err
    assert main(["lint", str(file), "--rubric-folder", str(tmp_path / "rubrics")]) == 0
    assert "1 warning (1 generic)" in capsys.readouterr().out


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = io.BytesIO(f"{json.dumps(GENERIC)}\n".encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(line))
    assert main(["lint", "-"]) == 0
    assert "standard input, line 1, criterion quality" in capsys.readouterr().out


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
    assert main(["lint", str(tmp_path / "rows.jsonl")]) == 2
    assert said in capsys.readouterr().err


def test_mending_writes_a_new_file_and_looks_at_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = _rows(tmp_path / "rows.jsonl", FINE, UNTIDY), tmp_path / "fixed.jsonl"
    before = file.read_bytes()
    assert main(["lint", str(file), "--fix", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert f"{file}, line 2, criterion 0 (the first is 0): fixed category_prefix" in said.err
    assert "fixed 1 category_prefix, 1 untidy_text, 1 duplicate_text; wrote 2 rows" in said.err
    assert said.out == "2 rows, 2 distinct rubrics, 4 criteria; 0 errors; 0 warnings\n"
    first, second = [json.loads(line) for line in out.read_text().splitlines()]
    was = [json.loads(line) for line in before.decode().splitlines()]
    assert file.read_bytes() == before and first == was[0]
    fixed = [{"criterion": "Essential Criteria: Names the tea.", "points": 5, "tags": ["axis:a"]}, UNTIDY[1]]
    assert second == {**was[1], "rubric": fixed}

    assert main(["lint", str(file), "--fix", "--in-place"]) == 0
    assert file.read_bytes() == out.read_bytes()
    assert main(["lint", str(file), "--fix", "--in-place"]) == 0
    assert "fixed nothing" in capsys.readouterr().err and file.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fix"], "--fix needs --out FILE"),
        (["--fix", "--in-place", "--out", "a.jsonl"], "--fix needs --out FILE"),
        (["--out", "a.jsonl"], "give --fix, too"),
        (["--fix", "--out", "a.txt"], "whose name ends in"),
        (["more.jsonl", "--fix", "--out", "a.jsonl"], "name one"),
    ],
)
def test_arguments_that_do_not_fit_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    file = _rows(tmp_path / "rows.jsonl", UNTIDY)
    before = file.read_bytes()
    assert main(["lint", str(file), *arguments]) == 2
    assert said in capsys.readouterr().err and file.read_bytes() == before


def _says(body: Json) -> httpx.Response:
    """Criteria that speak of tea ask for the same; and it does not decide what speaks of rest."""
    answer = scores(body)
    for item, result in zip(body["items"], answer["results"], strict=True):
        for asked, one in zip(item["rubric"]["criteria"], result["criteria"], strict=True):
            text = f"{item['response']} {asked['text']}"
            met = "same thing" in text and text.count("tea") == 2
            one.update(met=met, p=float(met))
            if "rest" in text:
                one.update(status="abstained", met=None, p=None, score=None)
    return answered(answer)


def test_a_judge_is_asked_about_pairs_where_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [("Names the tea.", 1), ("Says which tea.", 1), ("Advises rest.", 1), ("Has a title.", 1)]
    file = _rows(tmp_path / "rows.jsonl", [{"text": text, "points": points} for text, points in texts])
    service = Service(_says)
    with served(service) as url:
        assert main(["lint", str(file), "--url", url]) == 0
    said = capsys.readouterr()
    assert "criterion 1 (Says which tea.): warning judged_duplicate: the judge says" in said.out
    assert "judge judge-1 was asked about 6 pairs of criteria, 3 of them not decided" in said.err
    assert said.out.count("warning") == 2  # and in the summary
    assert sum(len(body["items"]) for body in service.bodies) == 12


def test_who_is_not_let_in_learns_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUBRICD_KEY", raising=False)

    class Closed(Service):
        def respond(self, request: httpx.Request) -> httpx.Response:
            return problem("unauthorized", 401)

    with served(Closed()) as url:
        assert main(["lint", str(_rows(tmp_path / "rows.jsonl", FINE)), "--url", url]) == 2
    assert "RUBRICD_KEY is not set" in capsys.readouterr().err


def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path: Path) -> None:
    file = _rows(tmp_path / "rows.jsonl", *([{"text": f"{n} is good. {'x' * 4000}", "points": 1}] for n in range(40)))
    command = [sys.executable, "-m", "trainer_client", "lint", str(file), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 1
