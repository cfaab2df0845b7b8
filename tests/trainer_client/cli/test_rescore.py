"""`rubricd rescore`: what it asks, keeps, prints and refuses."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Service, answered, problem, scores, served
from testkit.waiting import HUNG_S, wait_until
from tests.trainer_client.rescoring.logs import line, written
from trainer_client.cli.main import main
from trainer_client.rollouts import read

Json = dict[str, Any]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    written(path, [line(f"g{n // 4}", f"r{n}", [n % 10 / 10, (n * 7) % 10 / 10, (n * 3) % 10 / 10]) for n in range(40)])
    return path


def report(log: Path) -> Json:
    told: Json = json.loads(Path(f"{log}.rescored/report.json").read_text())
    return told


def asked(service: Service) -> int:
    """The verdicts that the service was asked for."""
    return sum(
        len(item["rubric"]["criteria"]) * len(item.get("responses", [""]))
        for body in service.bodies
        for item in body["items"]
    )


def test_without_a_judge_everything_is_computed(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rescore", str(log)]) == 0
    told = report(log)
    assert told["counts"]["logged_scores_reproduced"] == 40
    assert told["figures"]["changed"]["value"] == 0
    assert "nothing: the logged verdicts are counted again" in capsys.readouterr().out
    assert main(["rescore", str(log), "--threshold", "0.75", "--aggregation", "mean", "--soft"]) == 0
    assert report(log)["settings"] == {
        "aggregation": "mean",
        "soft": True,
        "threshold": 0.75,
        "min_coverage": 1.0,
        "unjudged": None,
    }
    assert "threshold: 0.5 → 0.75" in capsys.readouterr().out
    assert (Path(f"{log}.rescored") / "report.html").read_text().startswith("<!doctype html>")


def test_a_report_that_goes_elsewhere_leaves_no_older_one(log: Path, tmp_path: Path) -> None:
    own, elsewhere = log.with_name(f"{log.name}.rescored") / "report.json", tmp_path / "elsewhere.json"
    assert main(["rescore", str(log), "--quiet"]) == 0 and own.exists()
    assert main(["rescore", str(log), "--quiet", "--threshold", "0.9", "--json", str(elsewhere)]) == 0
    assert elsewhere.exists() and not own.exists()


def test_what_was_rescored_is_read_as_a_log(log: Path) -> None:
    assert main(["rescore", str(log), "--threshold", "0.75", "--quiet"]) == 0
    folder, logged = Path(f"{log}.rescored"), read(log)
    found = read(folder)
    assert [one.id for one in found] == [one.id for one in logged]
    for one, before in zip(found, logged, strict=True):
        assert [said.met for said in one.criteria] == [
            said.p is not None and said.p >= 0.75 for said in before.criteria
        ]
        assert one.score is not None and (one.reward, one.judge) == (None, before.judge)
        assert [(said.text, said.points) for said in one.criteria] == [("Is kind.", 5), ("Lies.", -3), ("Is short.", 2)]
    assert any(one.score != before.score for one, before in zip(found, logged, strict=True))
    assert main(["view", str(log), str(folder), "--out", str(folder / "view.html")]) == 0
    assert "80 responses, 80 with a score" in (folder / "view.html").read_text()


def test_a_judge_that_fails_leaves_no_verdict_in_what_is_read(log: Path) -> None:
    with served(Service(lambda body: problem("invalid_request", 422))) as url:
        assert main(["rescore", str(log), "--url", url, "--quiet"]) == 1
    found = read(Path(f"{log}.rescored"))
    assert {(said.met, said.p, said.status) for one in found for said in one.criteria} == {(None, None, None)}
    assert {(one.score, one.judge) for one in found} == {(None, FINGERPRINT)}


def test_another_judge_is_asked_once_for_each_verdict(log: Path) -> None:
    service = Service()
    with served(service) as url:
        assert main(["rescore", str(log), "--url", url, "--quiet"]) == 0
        assert asked(service) == 120
        first = report(log)
        assert main(["rescore", str(log), "--url", url, "--quiet", "--aggregation", "mean"]) == 0
        assert asked(service) == 120, "the second run has all answers"
    assert first["judge"]["fingerprint"] == FINGERPRINT
    assert first["verdicts_asked"] == 120
    assert report(log)["verdicts_asked"] == 0
    assert {body["expect_judge"] for body in service.bodies} == {FINGERPRINT}


def test_the_logs_own_judge_is_asked_for_what_the_log_lacks(tmp_path: Path) -> None:
    lines = [line("a", f"r{n}", [0.9, None if n % 2 else 0.1, 0.4]) for n in range(6)]
    for one in lines:
        one["judge"] = FINGERPRINT
    log, service = tmp_path / "log.jsonl", Service()
    written(log, lines)
    with served(service) as url:
        assert main(["rescore", str(log), "--url", url, "--quiet"]) == 0
    assert asked(service) == 3
    assert report(log)["counts"]["score_gained"] == 3
    assert report(log)["counts"]["verdicts_flipped"] == 0


def test_a_log_without_a_verdict_is_not_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.jsonl"
    written(log, [line("a", f"r{n}", [None, None, None]) for n in range(3)])
    assert main(["rescore", str(log), "--quiet"]) == 1
    assert "no rollout has a score, for want of verdicts: ask a judge" in capsys.readouterr().err


def test_votes_are_other_verdicts_of_the_same_judge(tmp_path: Path) -> None:
    one = {**line("a", "r", [0.9, 0.1, 0.4]), "judge": FINGERPRINT}
    log = tmp_path / "log.jsonl"
    written(log, [one, line("b", "r", [0.9, 0.1, 0.4])])
    service = Service()
    service.info = {"judges": [{**_names(), "mode": "reasoned", "layout": "rubricd"}], "modes": ["reasoned"]}
    with served(service) as url:
        assert main(["rescore", str(log), "--url", url, "--mode", "reasoned", "--votes", "3", "--quiet"]) == 0
    assert asked(service) == 6


def _names() -> Json:
    return {"model": "fake", "revision": "r", "engine": "fake", "fingerprint": FINGERPRINT}


def test_what_failed_for_the_moment_is_asked_at_the_next_run(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def busy(body: Json) -> httpx.Response:
        told = scores(body)
        for result in told["results"]:
            first = result["criteria"][0]
            first |= {"status": "timeout", "met": None, "p": None, "p_raw": None}
            result |= {"status": "partial", "score": None, "coverage": 0.5}
        return answered(told)

    service = Service(busy)
    with served(service) as url:
        assert main(["rescore", str(log), "--url", url, "--quiet"]) == 1
        assert "for want of verdicts: run it again" in capsys.readouterr().err
        assert report(log)["counts"]["score_lost"] == 40
        before = asked(service)
        service.answer = lambda body: answered(scores(body))
        assert main(["rescore", str(log), "--url", url, "--quiet"]) == 0
        assert asked(service) - before == 40
        assert report(log)["counts"]["score_lost"] == 0
        service.answer = lambda body: problem("invalid_request", 422)
        capsys.readouterr()
        other = Path(log).with_name("other.jsonl")
        written(other, [line("z", "new", [0.9, 0.1, 0.2])])
        assert main(["rescore", str(other), "--url", url, "--quiet"]) == 1
    assert "1 response(s) failed" in capsys.readouterr().err


def test_a_killed_command_goes_on_from_what_was_answered(log: Path) -> None:
    held = threading.Event()

    def one_only(body: Json) -> httpx.Response:
        if len(killed.bodies) > 1:
            held.wait(HUNG_S)
        return answered(scores(body))

    killed, service = Service(one_only), Service()  # two: what was under way at the kill may arrive after it
    answers = Path(f"{log}.rescored/answers.jsonl")
    with served(killed) as url:
        words = ["rescore", str(log), "--url", url, "--quiet", "--concurrency", "1"]
        with subprocess.Popen([sys.executable, "-m", "trainer_client", *words]) as process:
            wait_until(lambda: answers.exists() and answers.stat().st_size)
            process.send_signal(signal.SIGKILL)
        held.set()
    kept = len(answers.read_bytes().splitlines())
    assert 0 < kept < 120
    with answers.open("ab") as file:
        file.write(b'{"key": "torn')
    with served(service) as url:
        assert main(["rescore", str(log), "--url", url, "--quiet"]) == 0
    assert asked(service) == 120 - kept
    assert len(answers.read_bytes().splitlines()) == 120
    assert report(log)["counts"]["with_both_scores"] == 40


def test_other_rubrics_come_from_rows_with_the_prompts_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, rows = tmp_path / "log.jsonl", tmp_path / "rows.jsonl"
    written(log, [line("a", "a", [0.9, 0.6, 0.4])])
    rubric = [{"text": "Is kind.", "points": 1}, {"text": "Lies.", "points": -1}]
    rows.write_text(json.dumps({"id": "a", "prompt": "prompt a", "rubric": rubric}) + "\n")
    assert main(["rescore", str(log), "--rubrics", str(rows), "--quiet"]) == 0
    told = report(log)
    assert (told["figures"]["score_after"]["value"], told["counts"]["criteria_only_before"]) == (0.0, 1)
    rows.write_text(json.dumps({"id": "b", "prompt": "prompt b", "rubric": rubric}) + "\n")
    capsys.readouterr()
    assert main(["rescore", str(log), "--rubrics", str(rows), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("line 1") == 1 and "`id` is the text 'a' and fits no row" in said


def test_several_responses_to_one_row_find_its_other_rubric_by_the_prompt(tmp_path: Path) -> None:
    log, rows = tmp_path / "log.jsonl", tmp_path / "rows.jsonl"
    written(log, [line("a", "row/0", [0.9, 0.6, 0.4]), line("a", "row/1", [0.1, 0.6, 0.4])])
    other = {"id": "row", "prompt": "prompt a", "rubric": [{"text": "Is kind.", "points": 1}]}
    rows.write_text(json.dumps(other) + "\n")
    assert main(["rescore", str(log), "--rubrics", str(rows), "--quiet"]) == 0
    assert report(log)["figures"]["score_after"]["value"] == 0.5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--threshold", "1.5"], "threshold: Input should be less than or equal to 1"),
        (["--logged", '{"agregation": "mean"}'], "`agregation` is no option of a formula"),
        (["--calibration", "none.json"], "no such file"),
        (["--url", "http://127.0.0.1:9", "--calibration", "x"], "the service of --url applies its own"),
    ],
)
def test_misuse_is_told_in_a_sentence(
    log: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rescore", str(log), *words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


def test_a_log_made_by_another_formula_is_said_to_be(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rescore", str(log), "--logged", '{"aggregation": "mean"}']) == 0
    assert "the others were made otherwise" in capsys.readouterr().out
