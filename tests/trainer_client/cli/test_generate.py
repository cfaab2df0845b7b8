"""`rubricd generate` writes rows with rubrics, goes on after a kill without paying twice, and says what went wrong."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from testkit.chat_server import Answer, Asked, ChatServer, Raw, chat_server
from testkit.free_port import free_port
from testkit.scripted_judge import Json, Service, answered, scores, served
from testkit.waiting import HUNG_S, wait_until
from tests.trainer_client.generation.drafts import categories, points
from trainer_client.cli.main import main
from trainer_client.data.rows import read_rows
from trainer_client.endpoint import AnswerLog

ROWS = 30


def _written(asked: Asked) -> str:
    if "Write the best next answer" in asked.last:
        return "Rest it."
    if "Write the whole rubric again" in asked.last:
        return points()
    return points({"criterion": "Is helpful."} if "question 3?" in asked.messages[1]["content"] else {})


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps({'prompt': f'question {n}?'})}\n" for n in range(ROWS)))
    return path


def _arguments(rows: Path, server: ChatServer, *more: str, template: str = "ruscarl") -> list[str]:
    out = str(rows.with_name("out.jsonl"))
    model = ["--model-url", server.url, "--model", "writer"]
    return ["generate", str(rows), "--out", out, "--template", template, *model, *more]


def _run(rows: Path, answer: Answer, *more: str, template: str = "ruscarl") -> tuple[int, ChatServer]:
    with chat_server(answer) as server:
        return main(_arguments(rows, server, *more, template=template)), server


def test_rows_come_out_with_rubrics_in_order_and_with_a_report(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = rows.with_name("summary.json")
    prices = ("--price-in", "1", "--price-out", "2")
    code, server = _run(rows, _written, "--json", str(summary), *prices)
    assert code == 0
    found = list(read_rows(rows.with_name("out.jsonl")))
    assert [one.id for one in found] == [str(n) for n in range(ROWS)]
    assert all(one.rubric is not None and len(one.rubric.criteria) == 8 for one in found)
    told = json.loads(summary.read_text())
    assert (told["written"], told["lint_rounds"]) == (30, 1)
    assert (told["findings_first"], told["findings_left"]) == ({"generic": 1}, {})
    assert told["references"] == {"written": 30}
    spending = told["spending"]
    assert spending["requests"] == len(server.asked) == 61
    paid = spending["prompt_tokens"] * 1 + spending["completion_tokens"] * 2
    assert spending["cost"] == pytest.approx(paid / 1e6) and paid > 0
    output = capsys.readouterr()
    assert "30 rubrics of 30 rows" in output.out and "3 of 30 rows; " in output.err
    assert "ruscarl@1" in rows.with_name("out.generate.html").read_text()
    assert not list(rows.parent.glob("*.partial"))


def test_a_killed_command_goes_on_and_pays_nothing_twice(rows: Path) -> None:
    """Killed with SIGKILL in the middle: all requests together are those of one undisturbed run."""
    let_go = threading.Event()

    def answer(asked: Asked) -> str:
        if asked.number >= 25:
            let_go.wait(HUNG_S)
        return _written(asked)

    with chat_server(answer) as server:
        command = [sys.executable, "-m", "trainer_client", *_arguments(rows, server, "--model-concurrency", "4")]
        first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})
        wait_until(lambda: len(server.asked) >= 29)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        assert not rows.with_name("out.jsonl").exists()
        let_go.set()
        before = len(server.asked)
        assert before == 29
        assert main(_arguments(rows, server)) == 0
        again = len(server.asked) - before
    assert again == 61 - 25, "what was answered before the kill is not asked again"
    whole = rows.with_name("out.jsonl").read_bytes()
    assert _run_elsewhere(rows) == whole


def _run_elsewhere(rows: Path) -> bytes:
    """The output of an undisturbed run in another folder."""
    folder = rows.parent / "other"
    folder.mkdir()
    copy = folder / "rows.jsonl"
    copy.write_bytes(rows.read_bytes())
    assert _run(copy, _written)[0] == 0
    return (folder / "out.jsonl").read_bytes()


def test_rows_that_fail_are_told_and_the_exit_code_says_so(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(asked: Asked) -> str:
        return "I cannot." if "question 7?" in asked.messages[1]["content"] else points()

    code, server = _run(rows, answer, "--reference", "ignore", "--attempts", "2")
    assert code == 1
    assert [one.id for one in read_rows(rows.with_name("out.jsonl"))] == [str(n) for n in range(ROWS) if n != 7]
    assert len(server.asked) == ROWS + 1
    output = capsys.readouterr()
    assert "29 rubrics of 30 rows" in output.out and "1 failed" in output.out
    assert "1 times: no draft could be used: the answer is not one JSON object" in output.err


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (Raw(401, {"error": {"message": "bad key"}}), "the environment variable OPENAI_API_KEY is not set"),
        (Raw(404, {"error": {"message": "no model writer"}}), "check the model's name"),
        (Raw(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), "pay"),
    ],
)
def test_nobody_to_ask_is_one_sentence(
    rows: Path, raw: Raw, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, _ = _run(rows, lambda asked: raw)
    assert code == 2 and not rows.with_name("out.jsonl").exists()
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1, err
    (line,) = err.splitlines()
    assert line.startswith("rubricd: ") and said in line and "the same command goes on from here" in line


def test_a_service_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "My knee?", "chosen": "rest", "rejected": "run"}))
    url = f"http://127.0.0.1:{free_port()}"
    code, server = _run(path, _written, "--url", url, template="contrastive")
    assert code == 2 and not server.asked
    assert "start the service there" in capsys.readouterr().err


def test_a_toy_that_prefers_is_called_a_toy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "My knee?", "chosen": "rest", "rejected": "run"}))
    rules = json.dumps({"hard_rules": [], "principles": ["Mentions rest.", "Mentions ice."]})
    judge = _Reading()
    judge.toy = True
    with served(judge) as url:
        assert _run(path, lambda asked: rules, "--url", url, "--limit", "1", template="contrastive")[0] == 0
    for said in (capsys.readouterr().err, (tmp_path / "out.generate.html").read_text()):
        assert "is a toy: believe none of its preferences" in said


def test_pairs_are_kept_where_the_judge_prefers_what_people_preferred(tmp_path: Path) -> None:
    """The judge of the test finds a principle in an answer that has its words."""
    path = tmp_path / "pairs.jsonl"
    pairs = [("rest and ice", "run on"), ("run on", "rest and ice"), ("rest", "rest")]
    lines = [{"prompt": "My knee?", "chosen": one, "rejected": other} for one, other in pairs]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    def answer(asked: Asked) -> str:
        return json.dumps({"hard_rules": [], "principles": ["Mentions rest.", "Mentions ice."]})

    with served(_Reading()) as url:
        code, server = _run(path, answer, "--url", url, "--json", str(tmp_path / "s.json"), template="contrastive")
    assert code == 0
    assert [one.id for one in read_rows(tmp_path / "out.jsonl")] == ["0"]
    told = json.loads((tmp_path / "s.json").read_text())
    assert (told["written"], told["dropped"], told["failed"]) == (1, 2, 0)
    assert told["judge_usage"]["answers"] == 3
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["metadata"]["generated"]["preference"]["preferred"] == 1.0
    assert sum("rest and ice" in asked.last for asked in server.asked) == 2, "the calls come in any order"


class _Reading(Service):
    """A judge for whom a criterion is met by an answer that has its last word."""

    def __init__(self) -> None:
        super().__init__(self._judged)

    def _judged(self, body: Json) -> httpx.Response:
        whole = scores(body)
        (item,) = body["items"]
        for text, result in zip(item["responses"], whole["results"], strict=True):
            for criterion, one in zip(item["rubric"]["criteria"], result["criteria"], strict=True):
                met = criterion["text"].split()[-1].rstrip(".") in text
                one |= {"met": met, "p": float(met), "p_raw": float(met)}
            gained = sum(one["points"] for one in result["criteria"] if one["met"])
            result["score"] = gained / sum(one["points"] for one in result["criteria"])
            result["score_bounds"] = [result["score"], result["score"]]
        return answered(whole)


def test_a_guideline_is_read_from_its_file(rows: Path) -> None:
    guideline = rows.with_name("guideline.txt")
    guideline.write_text("Ask about fever first.\n")

    def answer(asked: Asked) -> str:
        quote = "Ask about fever first."
        texts = ("Asks about fever.", "Says why.", "Mentions thermometers.")
        return json.dumps({"rubrics": [{"criterion": text, "points": 2, "quote": quote} for text in texts]})

    code, server = _run(rows, answer, "--guideline", str(guideline), "--limit", "2", template="guideline")
    assert code == 0 and len(server.asked) == 2 and "Ask about fever first." in server.asked[0].last


MISUSE: list[tuple[list[str], str]] = [
    (["--template", "rar"], "no template 'rar'; the templates are contrastive, guideline"),
    (["--template", "guideline"], "needs --guideline FILE"),
    (["--guideline", "rows.jsonl"], "reads no guideline"),
    (["--template", "contrastive"], "name the service with --url"),
    (["--url", "http://127.0.0.1:1"], "asks no judge; leave out --url"),
    (["--template", "answer"], "asks for a text"),
    (["--out", "out.parquet"], "name a file that ends in .jsonl"),
    (["--out", "rows.jsonl"], "exists; name another file with --out, or overwrite it with --force"),
    (["--price-in", "1"], "--price-in and --price-out go together"),
    (["--model-url", "writer:8000"], "a url must look like"),
]


@pytest.mark.parametrize(("more", "said"), MISUSE)
def test_misuse_is_one_sentence_and_asks_nobody(
    more: list[str], said: str, rows: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rows.parent)
    code, server = _run(Path("rows.jsonl"), _written, *more)
    assert code == 2 and not server.asked
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_two_commands_do_not_write_one_file(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with AnswerLog(rows.with_name("out.answers.jsonl")):
        assert _run(rows, _written)[0] == 2
    assert "another command has it open" in capsys.readouterr().err


def test_categories_are_linted_as_they_will_be_weighed(rows: Path) -> None:
    summary = rows.with_name("summary.json")
    draft = categories({"category": "optional", "weight": 5})
    more = ("--limit", "1", "--json", str(summary))
    assert _run(rows, lambda asked: draft, *more, template="rar-science")[0] == 0
    assert json.loads(summary.read_text())["findings_left"] == {"category_order": 1}
