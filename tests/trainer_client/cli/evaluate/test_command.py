"""`rubricd evaluate` from rows to figures: each evaluation, its page, its exit code, and its mistakes."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import httpx
import pytest

from testkit.chat_server import Asked, chat_server
from testkit.scripted_judge import Service, answered, chance, expected_score, problem, scores, served
from testkit.waiting import HUNG_S
from tests.trainer_client.cli.evaluating import asked, evaluated, results, service_of, spoken, written
from trainer_client.cli.main import main
from trainer_client.rollouts import read

Json = dict[str, Any]


def test_healthbench_of_an_endpoint_with_three_seeds(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = service_of()
    code, requests = asked("healthbench", rows, spoken, "--price-in", "1", "--price-out", "2", service=service)
    assert (code, len(requests)) == (0, 18)
    assert {body["layout"] for body in service.bodies} == {"simple_evals"}
    found = results(rows, "healthbench")
    overall = found["measures"]["overall_score"]
    wanted = [[expected_score(f"Question {n}? {seed * 1_000_000} 0") for n in range(6)] for seed in range(3)]
    means = [min(max(fmean(some), 0), 1) for some in wanted]
    assert overall["values"] == {f"r{n}": [wanted[seed][n] for seed in range(3)] for n in range(6)}
    assert overall["seeds"] == pytest.approx(means)
    everything = [value for some in wanted for value in some]
    whole = min(max(fmean(everything), 0), 1)  # clipped once, after all are averaged
    assert (overall["mean"], overall["std_over_seeds"]) == pytest.approx((whole, stdev(means)))
    assert whole != pytest.approx(fmean(means))
    official = found["details"]["simple_evals"]
    assert official["overall_score"]["mean"] == pytest.approx(whole)
    assert official["overall_score"]["n_samples"] == 18 and official["theme:t0"]["n_samples"] == 9
    kind = [chance(f"Question {n}? {seed * 1_000_000} 0", "Is kind.") >= 0.5 for n in range(6) for seed in range(3)]
    assert official["axis:a"]["mean"] == pytest.approx(fmean(kind)) and "axis:b" not in official
    assert (found["policy"], found["judge"]["fingerprint"], found["missing"]) == ("pol", "judge-1", 0)
    assert found["cost"]["policy"]["requests"] == 18 and found["cost"]["policy"]["cost"] > 0
    said = capsys.readouterr().out
    assert f"HealthBench score  {overall['mean']:.3f} [" in said and "over 3 seeds, 6 prompts" in said
    page = (rows.with_name("rows.healthbench") / "report.html").read_text()
    assert "As simple-evals reports it" in page and "theme t1" in page and "cannot stand beside" not in page


def test_the_answers_are_read_with_their_verdicts(rows: Path) -> None:
    code, _ = asked("healthbench", rows, spoken, "--seeds", "2")
    folder = rows.with_name("rows.healthbench")
    found = read(folder)
    assert code == 0 and len(found) == 12 and len({one.group for one in found}) == 6
    assert [one.score for one in found] == [expected_score(one.answer) for one in found]
    first = found[0]
    assert (first.id, first.question, first.judge) == ("r0/0", "Question 0?", "judge-1")
    assert [said.met for said in first.criteria] == [said.p is not None and said.p >= 0.5 for said in first.criteria]
    log = folder / "verdicts.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        del line["kept"]["said"]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert asked("healthbench", rows, spoken, "--seeds", "2")[0] == 0
    older = read(folder)
    met = [[[said.met for said in one.criteria] for one in each] for each in (older, found)]
    assert met[0] == met[1]
    assert older[0].criteria[0].p is None, "an older log knows no more than met or not"
    assert main(["view", str(folder)]) == 0 and "12 responses, 12 with a score" in (folder / "view.html").read_text()


def test_the_second_run_asks_nobody_and_finds_the_same(rows: Path) -> None:
    service = service_of()
    with chat_server(spoken) as server, served(service) as url:
        command = ["evaluate", "healthbench", str(rows), "--model-url", server.url, "--model", "pol", "--url", url]
        assert main([*command, "--layout", "rubricd", "--quiet"]) == 0
        first, bodies = results(rows, "healthbench"), len(service.bodies)
        assert main([*command, "--layout", "rubricd", "--quiet"]) == 0
        assert (len(server.asked), len(service.bodies)) == (18, bodies)
    again = results(rows, "healthbench")
    assert again["measures"] == first["measures"] and again["cost"]["policy"]["from_log"] == 18
    assert any("cannot stand beside them" in note for note in first["notes"])


@pytest.mark.parametrize("dies_after", [4, 9])
def test_a_run_that_is_killed_goes_on_and_pays_for_nothing_twice(rows: Path, dies_after: int) -> None:
    """SIGKILL, once in the policy's answers and once in the judge's verdicts; the whole then equals one in one go."""
    process: list[subprocess.Popen[bytes]] = []

    def dies(number: int) -> None:
        if len(process) == 1 and number == dies_after:
            process[0].kill()

    def answer(asked: Asked) -> list[str]:
        dies(asked.number if dies_after < 6 else -1)
        return spoken(asked)

    judged: list[str] = []

    def judge(body: Json) -> httpx.Response:
        judged.extend(item["response"] for item in body["items"])
        dies(len(judged) if dies_after >= 6 else -1)
        return answered(scores(body))

    with chat_server(answer) as server, served(service_of(answer=judge, max_items=1)) as url:
        command = [sys.executable, "-m", "trainer_client", "evaluate", "healthbench", str(rows), "--seeds", "2"]
        command += ["--model-url", server.url, "--model", "pol", "--url", url, "--quiet"]
        command += ["--concurrency", "1", "--model-concurrency", "1"]
        process.append(subprocess.Popen(command))
        assert process[0].wait(HUNG_S) == -signal.SIGKILL
        process.append(subprocess.Popen(command))
        assert process[1].wait(HUNG_S) == 0
    assert len(server.asked) <= 12 + 1, "the one under way may be asked again"
    assert len(judged) <= 12 + 1 and len(set(judged)) == 12
    of_seeds = [fmean(expected_score(f"Question {n}? {first} 0") for n in range(6)) for first in (0, 1_000_000)]
    found = results(rows, "healthbench")["measures"]["overall_score"]
    assert found["seeds"] == pytest.approx([min(max(one, 0), 1) for one in of_seeds])


def test_two_policies_are_compared_prompt_by_prompt(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = []
    for name in ("one", "two"):
        lines = [{"id": f"r{n}", "response": f"{name} {n}"} for n in range(6)]
        folders.append(rows.with_name(name))
        answers = written(rows.with_name(f"{name}.jsonl"), *lines)
        options = ["--answers", str(answers), "--out", str(folders[-1]), "--layout", "rubricd"]
        if name == "two":
            options += ["--against", str(folders[0] / "results.json"), "--json", str(rows.with_name("two.json"))]
        assert evaluated("healthbench", rows, *options) == 0
    found = json.loads(rows.with_name("two.json").read_text())["against"]
    pair = found["measures"]["overall_score"]
    wanted = fmean(expected_score(f"two {n}") - expected_score(f"one {n}") for n in range(6))
    assert (found["policy"], pair["difference"]["value"]) == ("one", pytest.approx(wanted))
    assert pair["exact"] and 0 < pair["p"] <= 1
    assert f"{wanted:+.3f} against one, p " in capsys.readouterr().out
    assert "Against one" in (folders[1] / "report.html").read_text()


def test_prompts_without_an_answer_are_left_out_and_named(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = written(rows.with_name("answers.jsonl"), {"id": "r4", "response": "only this"})
    assert evaluated("healthbench", rows, "--answers", str(answers), "--name", "mine") == 0
    assert "5 of 6 prompts have no answer and are left out. The first is r0" in capsys.readouterr().err
    found = results(rows, "healthbench")
    assert list(found["measures"]["overall_score"]["values"]) == ["r4"] and found["policy"] == "mine"
    assert found["measures"]["overall_score"]["std_over_seeds"] is None


def test_an_answer_without_a_verdict_has_no_score_and_is_the_exit_code(rows: Path) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        for item, result in zip(body["items"], whole["results"], strict=True):
            if item["response"] == "bad":
                result.update(score=None, status="failed", coverage=0.5)
                result["criteria"][0].update(status="too_long", met=None, p=None)
        return answered(whole)

    lines = [{"id": f"r{n}", "response": "bad" if n == 2 else f"good {n}"} for n in range(6)]
    answers = written(rows.with_name("answers.jsonl"), *lines)
    service = service_of(answer=answer)
    assert evaluated("healthbench", rows, "--answers", str(answers), service=service) == 1
    found = results(rows, "healthbench")
    assert found["missing"] == 1 and found["measures"]["overall_score"]["values"]["r2"] == [None]
    assert any("1 of 6 answers have no score (1 too_long)" in note for note in found["notes"])


def test_rules_are_counted_strictly_and_loosely(tmp_path: Path) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        for item, result in zip(body["items"], whole["results"], strict=True):
            for criterion, one in zip(item["rubric"]["criteria"], result["criteria"], strict=True):
                met = criterion["verifier"]["text"] in item["response"]
                one.update(met=met, p=None, p_raw=None, label_mass=None, source="rule")
        return answered(whole)

    def rule(text: str, points: float = 1) -> Json:
        return {"text": text, "points": points, "verifier": {"rule": "contains", "text": text}}

    rubric = [rule("yes"), rule("*", -1), {"text": "Is kind.", "points": 1}]
    responses = ["yes\nok", "*yes*\nok", "no", " "]
    file = written(tmp_path / "rows.jsonl", {"id": "x", "prompt": "?", "rubric": rubric, "responses": responses})
    service = service_of(answer=answer)
    assert evaluated("rules", file, service=service) == 0
    found = results(file, "rules")
    seeds = {name: one["seeds"] for name, one in found["measures"].items()}
    assert seeds == {
        "prompt_strict": [1.0, 0.0, 0.0, 0.0],
        "prompt_loose": [1.0, 1.0, 0.0, 0.0],
        "instruction_strict": [1.0, 0.5, 0.5, 0.0],
        "instruction_loose": [1.0, 1.0, 0.5, 0.0],
    }
    assert any("asks no judge: 1." in note for note in found["notes"]) and found["judge"] is None
    assert {len(item["rubric"]["criteria"]) for body in service.bodies for item in body["items"]} == {2}


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("healthbench", ["--model-url", "http://127.0.0.1:9/v1"], "--model-url needs --model"),
        ("healthbench", [], "no `response`"),
        ("healthbench", ["--out", "ROWS"], "is a file; name a folder with --out"),
        ("healthbench", ["--against", "ROWS"], "not the results.json"),
        ("healthbench", ["--answers", "missing.jsonl"], "No such file"),
        ("rules", ["--answers", "ROWS"], "no criterion has a `verifier`"),
        ("choice", [], "`Correct Answer`"),
        ("diversity", ["--samples", "1", "--answers", "ROWS"], "2 answers to each prompt or more"),
        ("diversity", ["--embedding-url", "http://x", "--answers", "ROWS"], "go together"),
    ],
)
def test_a_mistake_is_a_sentence(
    rows: Path, kind: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(kind, rows, *(str(rows) if one == "ROWS" else one for one in options)) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_a_wrong_key_of_the_judge_says_where_it_was_looked_for(
    rows: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_of()
    monkeypatch.setattr(service, "respond", lambda request: problem("unauthorized", 401))
    answers = written(rows.with_name("answers.jsonl"), {"id": "r0", "response": "a"})
    assert evaluated("healthbench", rows, "--answers", str(answers), service=service) == 2
    assert "environment variable RUBRICD_KEY is not set" in capsys.readouterr().err


def test_another_kind_or_judge_is_no_fair_comparison(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = written(rows.with_name("answers.jsonl"), *({"id": f"r{n}", "response": f"a {n}"} for n in range(6)))
    assert evaluated("healthbench", rows, "--answers", str(answers)) == 0
    earlier = rows.with_name("rows.healthbench") / "results.json"
    kept = rows.with_name("kept.json")
    kept.write_text(earlier.read_text().replace("judge-1", "judge-0"))
    assert evaluated("healthbench", rows, "--answers", str(answers), "--against", str(kept)) == 0
    assert any("another one" in note for note in results(rows, "healthbench")["notes"])
    assert evaluated("best-of-n", rows, "--answers", str(answers), "--samples", "1", "--against", str(kept)) == 2
    assert "cannot be compared with one of best-of-n" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["healthbench", "rules", "choice"])
def test_a_mode_without_verdicts_counts_no_criteria(kind: str, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluated(kind, rows, "--mode", "likert")
    assert "invalid choice: 'likert'" in capsys.readouterr().err


def test_rubrics_come_from_another_file_too(rows: Path) -> None:
    bare = written(rows.with_name("bare.jsonl"), {"id": "r3", "prompt": "Question 3?", "response": "a"})
    assert evaluated("healthbench", bare, "--rubrics", str(rows)) == 0
    assert list(results(bare, "healthbench")["measures"]["overall_score"]["values"]) == ["r3"]
    assert evaluated("healthbench", bare) == 2


def test_a_judge_without_the_layout_says_what_it_offers(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = written(rows.with_name("answers.jsonl"), {"id": "r0", "response": "a"})
    assert evaluated("healthbench", rows, "--answers", str(answers), service=Service()) == 2
    assert "layout simple_evals" in capsys.readouterr().err
