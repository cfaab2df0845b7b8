"""`rubricd align` reads or builds pairs, asks judges, and goes on after it was killed."""

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.processes import ROOT
from testkit.scripted_judge import Json, Service, answered, judge_info, preferences, scores, served
from testkit.waiting import HUNG_S
from trainer_client.cli.main import main

RUBRIC = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"p{n}", "chosen": f"good {n}", "rejected": f"bad {n}", "rubric": RUBRIC, "id": f"r{n}"}
        for n in range(60)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def service(knows: bool = True) -> Service:
    """A judge that finds the good response better where it `knows`, as verdicts and as pairs; it rates nothing."""
    named = f"compares-{knows}"

    def scored(body: Json) -> httpx.Response:
        whole = scores(body)
        for item, result in zip(body["items"], whole["results"], strict=True):
            for place, one in enumerate(result["criteria"]):
                p = 0.9 if (item["response"].startswith("good") == knows) == (place == 0) else 0.1
                one.update(p=p, p_raw=p, met=p >= 0.5)
        return answered(whole)

    def compared(body: Json) -> httpx.Response:
        whole = preferences(body)
        whole["judge"]["fingerprint"] = named
        for result in whole["results"]:
            result.update(p=0.8 if knows else 0.2)
        return answered(whole)

    made = Service(scored)
    made.compares = compared
    made.info = {"compare": {"judge": {**judge_info()["judges"][0], "mode": "compare", "fingerprint": named}}}
    return made


def align(file: Path, url: str, *options: str) -> int:
    return main(["align", str(file), "--url", url, "--quiet", *options])


def test_it_says_how_often_the_judge_prefers_the_better_response(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = file.with_name("found.json")
    with served(service()) as url:
        assert align(file, url, "--json", str(found), "--price-in", "1") == 0
    said = capsys.readouterr().out
    assert re.search(r"^explicit-hard +1\.000 \[0\.940, 1\.000\]$", said, re.MULTILINE)
    assert re.search(r"^likert +not served$", said, re.MULTILINE)
    told = json.loads(found.read_text())
    arms = {one["name"]: one for one in told["judges"][0]["arms"]}
    assert (arms["explicit-soft"]["accuracy"]["value"], arms["compare"]["right"]) == (1.0, 60)
    assert arms["likert"]["accuracy"] == {"value": None, "low": None, "high": None, "n": 0, "why": None}
    assert told["pairs"]["pairs"] == 60
    page = file.with_name("pairs.align.html").read_text()
    assert "How often judges prefer the better response" in page
    assert "good 1" not in page, "a report holds no text of a pair"


def test_two_judges_are_compared_in_pairs(file: Path) -> None:
    found = file.with_name("found.json")
    with served(service()) as one, served(service(knows=False)) as other:
        assert align(file, one, "--url", other, "--json", str(found), "--arm", "compare") == 0
    told = json.loads(found.read_text())
    assert [judge["arms"][0]["accuracy"]["value"] for judge in told["judges"]] == [1.0, 0.0]
    [difference] = told["differences"]
    assert (difference["among"], difference["more"]["value"]) == ("compare", -1.0)


def test_pairs_are_built_from_rubrics_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rubrics = file.with_name("rubrics.jsonl")
    rows = [{"prompt": f"p{n}", "rubric": RUBRIC} for n in range(4)]
    rubrics.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = file.with_name("found.json")
    with served(service()) as url:
        kinds = ["--perturb", "empty", "--perturb", "fault", "--perturb", "off-topic"]
        assert align(rubrics, url, *kinds, "--prompts", "3", "--json", str(found)) == 0
    told = json.loads(found.read_text())["pairs"]
    assert (told["prompts"], told["kinds"], told["written"]) == (3, {"empty": 3, "fault": 3}, 3)
    assert told["left_out"] == {"nothing to do for `off-topic`": 4}
    assert "written from the rubric" in file.with_name("rubrics.align.html").read_text()


def test_killed_it_goes_on_and_asks_nothing_twice(file: Path) -> None:
    """It is killed while the fifth call's four requests wait for their answers: the first four have been answered."""
    judge, waiting, gate = service(), threading.Event(), threading.Event()
    answer: Any = judge.answer

    def counted(body: Json) -> httpx.Response:
        if len(judge.bodies) == 9:
            waiting.set()
        if len(judge.bodies) > 5:
            gate.wait(HUNG_S)
        return answer(body)  # type: ignore[no-any-return]

    judge.answer = counted
    store = file.with_name("pairs.align.jsonl")
    with served(judge) as url:
        command = [sys.executable, "-m", "trainer_client", "align", str(file), "--url", url]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert waiting.wait(HUNG_S)
        process.send_signal(signal.SIGKILL)
        process.wait()
        gate.set()
        kept = sum("answer" in json.loads(line) for line in store.read_text().splitlines())
        assert kept == 1 + 2 + 4 + 8
        judge.bodies.clear()
        assert align(file, url) == 0
        assert sum(len(body["items"]) for body in judge.bodies) == 120 + 2 * 60 - kept
        judge.bodies.clear()
        assert align(file, url) == 0
        assert judge.bodies == []


@pytest.mark.parametrize(
    ("row", "options", "told"),
    [
        ({"prompt": "p", "response": "r"}, [], "line 1: no pair of answers"),
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, ["--arm", "implicit"], "--arm implicit needs"),
        ({"prompt": "p"}, ["--perturb", "empty", "--labels"], "give one of the two"),
        ({"prompt": "p"}, ["--perturb", "empty"], "neither a response nor a rubric"),
    ],
)
def test_a_mistake_is_one_sentence_and_asks_nothing(
    tmp_path: Path, row: Json, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row) + "\n")
    judge = service()
    with served(judge) as url:
        assert align(path, url, *options) == 2
    assert told in capsys.readouterr().err
    assert judge.bodies == []


def test_without_a_judge_it_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert align(file, "http://127.0.0.1:9") == 2
    assert capsys.readouterr().err.startswith("rubricd: ")
