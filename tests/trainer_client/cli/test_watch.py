"""`rubricd watch`, whole: on a run's folder, on results of `rubricd score`, live, and after it was killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, answered, items, scores, served
from testkit.waiting import HUNG_S, wait_until
from tests.trainer_client.cli.scoring import scored_by
from tests.trainer_client.rollouts import made
from trainer_client.cli.main import main

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[3]
IDS = ["a", "a", "b", "b"]


def _run(folder: Path, *steps: int, same: bool = False) -> Path:
    for step in steps:
        answers = [f"{0 if same else n} {step}" for n in range(4)]
        made.write(folder, step, made.columns(step, IDS, answers))
    return folder


def test_a_run_without_an_alarm_is_0_and_says_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    json_file, page = tmp_path / "found.json", tmp_path / "found.html"
    assert main(["watch", str(_run(tmp_path / "run", 1, 2)), "--json", str(json_file), "--page", str(page)]) == 0
    said = capsys.readouterr().out
    assert "8 rollouts in 4 groups of 2 steps, 0 of them not judged; 3 criteria" in said
    assert "groups whose rewards are all equal" in said and '"Tells the user to drink tea."' in said
    assert "no alarm; the chance that an honest run raises any is 1.00%" in said
    assert json.loads(json_file.read_text())["well"] is True
    html = page.read_text()
    assert "<h2>Reward health" in html and "No alarm." in html and "<svg" in html
    assert "Content-Security-Policy" in html and "src=" not in html, "no script but its own"
    assert not (tmp_path / "run" / "watch").exists(), "nobody was asked"


def test_an_alarm_is_1_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "found.html"
    run = _run(tmp_path / "run", *range(1, 41), same=True)
    assert main(["watch", str(run), "--page", str(page)]) == 1
    said = capsys.readouterr().out
    assert (
        "ALARM identical (step " in said and "limit 0.500 -> sample: the answers of a group are the same text" in said
    )
    assert "no alarm" not in said and "repeated answers" in page.read_text()
    assert main(["watch", str(run), "--false-alarms", "1e-60"]) == 0


def test_results_of_score_are_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in items(20)))
    assert scored_by(path, Service(), "--quiet") == 0
    with served(Service()) as url:
        code = main(["watch", str(tmp_path / "in.results.jsonl"), "--url", url, "--shadow", url, "--quiet"])
    said = capsys.readouterr()
    assert "20 rollouts in 1 groups of 1 steps" in said.out and "points that the judge credits beyond" in said.out
    assert code == ("FINDING" in said.out) and (tmp_path / "in.watch" / "answers.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["none"], "there is no such file or folder"),
        ([".", "--held-out"], "neither a run's folder"),
        (["empty.jsonl"], "no rollouts yet"),
    ],
)
def test_mistakes_are_2_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").touch()
    assert main(["watch", *options]) == 2
    told = capsys.readouterr().err
    assert said in told and told.startswith("rubricd: ") and told.count("\n") == 1


def test_a_sign_that_the_log_does_not_say_is_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, found, page = (tmp_path / name for name in ("rows.jsonl", "found.json", "found.html"))
    said = [{"id": "rude", "met": False}, {"id": "kind", "met": True, "points": 1}]
    line = {"prompt": "p", "response": "r", "criteria": said, "score": 1.0}
    rows.write_text("".join(f"{json.dumps({**line, 'response': f'r {n}'})}\n" for n in range(4)))
    assert main(["watch", str(rows), "--json", str(found), "--page", str(page)]) == 0
    told = "1 of 2 criteria have no points in this log"
    assert told in capsys.readouterr().out and told in page.read_text() and "sign unknown" in page.read_text()
    whole = json.loads(found.read_text())
    assert whole["criteria_without_sign"] == 1 and [one["points"] for one in whole["criteria"]] == [None, 1.0]


def test_a_log_in_which_nothing_was_judged_is_not_called_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, found, page = (tmp_path / name for name in ("rows.jsonl", "found.json", "found.html"))
    rows.write_text(json.dumps({"prompt": "p", "response": "r", "rubric": [{"text": "Says r.", "points": 1}]}) + "\n")
    assert main(["watch", str(rows), "--json", str(found), "--page", str(page)]) == 1
    said = capsys.readouterr().out
    assert "nothing was judged" in said and "no alarm" not in said
    assert json.loads(found.read_text())["well"] is False
    assert "Nothing was judged" in page.read_text() and "No alarm" not in page.read_text()


def test_a_judge_that_is_not_there_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(_run(tmp_path, 1)), "--url", "http://127.0.0.1:9", "--quiet"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def _command(*options: str) -> list[str]:
    return [sys.executable, "-m", "trainer_client", "watch", *options]


def test_a_run_is_followed_until_it_has_ended(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", 1)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = _command(str(run), "--follow", "--every", "0.05")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().startswith("step 1  reward 0.")
        _run(run, 2)
        assert watch.stdout.readline().startswith("step 2  reward 0.")
        (run / "policy").mkdir()
        rest = watch.stdout.read()
        assert watch.wait(HUNG_S) == 0 and "no alarm" in rest


def test_a_watch_that_was_killed_goes_on_without_asking_again(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", *range(1, 30))
    half, held = threading.Event(), threading.Event()

    def answer(body: Json) -> httpx.Response:
        if len(service.bodies) == 3:
            half.set()
            held.wait(HUNG_S)
        return answered(scores(body))

    service = Service(answer, max_items=20)
    with served(service) as url:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        options = [str(run), "--shadow", url, "--shadow-share", "1", "--quiet"]
        with subprocess.Popen(_command(*options), env=environment, stdout=subprocess.DEVNULL) as watch:
            assert half.wait(HUNG_S)
            kept = run / "watch" / "answers.jsonl"
            wait_until(lambda: kept.exists() and kept.read_text().count("\n") >= 20)
            watch.send_signal(signal.SIGKILL)
        held.set()
        before = kept.read_text().count("\n")
        service.bodies.clear()
        service.answer = lambda body: answered(scores(body))
        done = subprocess.run(_command(*options), env=environment, capture_output=True, text=True, timeout=HUNG_S)
        assert done.returncode in (0, 1), done.stderr
    assert 20 <= before < 29 * 4
    assert sum(len(body["items"]) for body in service.bodies) == 29 * 4 - before
    assert kept.read_text().count("\n") == 29 * 4
