"""`rubricd evaluate` with many samples of a prompt, and with questions of multiple choice."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
import pytest

from testkit.chat_server import Asked
from testkit.scripted_judge import answered, expected_score, scores, served
from tests.trainer_client.cli.evaluating import asked, evaluated, results, service_of, spoken, written

Json = dict[str, Any]


def test_best_of_n_of_an_endpoint_by_two_judges(rows: Path) -> None:
    def other(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["judge"]["fingerprint"] = "judge-2"
        for item, result in zip(body["items"], whole["results"], strict=True):
            result["score"] = float(item["response"].endswith("3"))
        return answered(whole)

    truth = service_of(answer=other)
    truth.info["judges"] = [{**one, "fingerprint": "judge-2"} for one in truth.info["judges"]]
    with served(truth) as url:
        code, requests = asked("best-of-n", rows, spoken, "--samples", "20", "--truth-url", url)
    assert code == 0 and sorted(one.n for one in requests) == [4] * 6 + [16] * 6
    measures = results(rows, "best-of-n")["measures"]
    own = [
        [expected_score(f"Question {n}? {first} {k}") for first, some in ((0, 16), (16, 4)) for k in range(some)]
        for n in range(6)
    ]
    assert measures["judged_best_of_1"]["mean"] == pytest.approx(fmean(map(fmean, own)))
    assert measures["oracle_best_of_16"]["mean"] > measures["true_best_of_16"]["mean"]
    # Of 20 samples 3 end in 3 ("3" and "13" of the first 16, "3" of the rest).
    assert measures["true_best_of_1"]["mean"] == pytest.approx(3 / 20)
    assert measures["oracle_best_of_16"]["mean"] == pytest.approx(1 - _none(20, 3, 16))
    assert "<svg" in (rows.with_name("rows.best-of-n") / "report.html").read_text()


def _none(samples: int, right: int, drawn: int) -> float:
    """The chance that none of the right ones is drawn."""
    chance = 1.0
    for n in range(drawn):
        chance *= max(samples - right - n, 0) / (samples - n)
    return chance


def test_an_aggregation_with_options_reaches_the_judge(rows: Path) -> None:
    """Such as the weights of version 1 of Rubrics as Rewards."""
    service = service_of()
    chosen = {"name": "rar_explicit", "category_weights": {"pitfall": 0.8}}
    options = ("--samples", "2", "--aggregation", json.dumps(chosen), "--soft", "--pitfalls", "met_is_bad")
    code, _ = asked("best-of-n", rows, spoken, *options, service=service)
    weights = {"essential": 1.0, "important": 0.7, "optional": 0.3, "pitfall": 0.8}
    sent = [(body["aggregation"], body["soft"], body["priority"]) for body in service.bodies]
    assert code == 0 and sent[0] == ({"name": "rar_explicit", "category_weights": weights}, True, "eval")


def test_best_of_n_of_rows_with_truth_in_a_column_or_in_labels(tmp_path: Path) -> None:
    rubric = [{"text": "Is kind.", "points": 5}, {"text": "Lies.", "points": -3}]
    row = {"prompt": "?", "rubric": rubric, "responses": ["a", "b", "c"]}
    column = written(tmp_path / "column.jsonl", {**row, "right": [1, 0, True]})
    assert evaluated("best-of-n", column, "--truth", "right", "--samples", "3") == 0
    measures = results(column, "best-of-n")["measures"]
    assert measures["true_best_of_1"]["mean"] == pytest.approx(2 / 3) and measures["oracle_best_of_2"]["mean"] == 1.0
    met = [{"0": True, "1": False}, {"0": False, "1": True}, {"0": True, "1": True}]
    labels = written(tmp_path / "labels.jsonl", {"item": row, "met": met})
    assert evaluated("best-of-n", labels, "--truth", "labels") == 0
    measures = results(labels, "best-of-n")["measures"]
    assert measures["oracle_best_of_1"]["mean"] == pytest.approx(fmean([1.0, -0.6, 0.4]))
    assert measures["oracle_best_of_2"]["mean"] == pytest.approx(fmean([1.0, 1.0, 0.4]))
    levels = [{"text": "none", "value": 0}, {"text": "some", "value": 0.5}, {"text": "all", "value": 1}]
    graded = {**row, "rubric": [{"text": "How kind?", "points": 5, "levels": levels}, rubric[1]]}
    words = [{"1": False}, {"1": False}, {"1": True}]
    labels = written(tmp_path / "levels.jsonl", {"item": graded, "met": words, "level": [{"0": 1}, {"0": 2}, {"0": 2}]})
    assert evaluated("best-of-n", labels, "--truth", "labels") == 0
    measures = results(labels, "best-of-n")["measures"]
    assert measures["oracle_best_of_1"]["mean"] == pytest.approx(fmean([0.5, 1.0, 0.4]))
    broken = written(tmp_path / "broken.jsonl", {**row, "right": [1, 0]})
    assert evaluated("best-of-n", broken, "--truth", "right", "--samples", "3") == 2


def test_diversity_of_an_endpoint(rows: Path) -> None:
    code, _ = asked("diversity", rows, lambda asked: ["the cat sat on the mat"] * asked.n, "--samples", "3")
    measures = results(rows, "diversity")["measures"]
    assert code == 0 and measures["one_minus_self_bleu"]["mean"] == pytest.approx(0.0)
    assert measures["repeated"]["mean"] == pytest.approx(2 / 3)
    assert measures["one_minus_self_bleu"]["prompts"] == 6 and len(measures["words"]["seeds"]) == 3


QUESTIONS = [
    {
        "Question": f"What is {n} and {n}?",
        "Correct Answer": f"right {n}",
        "Incorrect Answer 1": "wrong a",
        "Incorrect Answer 2": "wrong b",
        "Incorrect Answer 3": "wrong c",
        "Subdomain": f"s{n % 2}",
    }
    for n in range(8)
]


def right(asked: Asked) -> str:
    """The right option's letter in a box; of question 0 its text in words, and of 1 nothing."""
    line = next(line for line in asked.last.splitlines() if ") right " in line)
    if line.endswith("right 0"):
        return "So it is\nright 0"
    return "Who knows?" if line.endswith("right 1") else f"\\boxed{{{line[0]}}}"


def test_choices_are_permuted_by_seed_and_read(tmp_path: Path) -> None:
    file = written(tmp_path / "q.jsonl", *QUESTIONS)
    code, requests = asked("choice", file, right)
    assert code == 0 and len(requests) == 24 and len({one.last for one in requests}) == 24
    found = results(file, "choice")
    assert found["measures"]["accuracy"]["seeds"] == [7 / 8] * 3 and found["measures"]["unread"]["mean"] == 1 / 8
    assert found["details"]["read"] == {"stated": 3, "none": 3, "boxed": 18} and found["judge"] is None
    assert found["details"]["seeds"][0]["interval_95"] == pytest.approx([0.5291, 0.9776], abs=1e-4)
    assert "Guessing is right in 25.0% of the cases." in found["notes"]
    service = service_of(answer=lambda body: answered(_all_met(body)))
    code, _ = asked("choice", file, right, "--fallback", "judge", service=service)
    found = results(file, "choice")
    assert found["measures"]["accuracy"]["seeds"] == [1.0] * 3 and found["details"]["read"]["judge"] == 3
    assert "right 1" in service.bodies[0]["items"][0]["rubric"]["criteria"][0]["text"]
    judged = tmp_path / "q.choice" / "responses.jsonl.gz"
    assert judged.exists()
    asked("choice", file, right)
    assert not judged.exists(), "this evaluation asked no judge"


def _all_met(body: Json) -> Json:
    whole = scores(body)
    for result in whole["results"]:
        result["score"] = 1.0
        result["criteria"][0].update(met=True, p=0.9)
    return whole


def test_prompts_are_answered_elsewhere_and_read_again(tmp_path: Path) -> None:
    file, prompts = written(tmp_path / "q.jsonl", *QUESTIONS), tmp_path / "prompts.jsonl"
    assert evaluated("choice", file, "--write-prompts", str(prompts), "--seeds", "2") == 0
    lines = [json.loads(line) for line in prompts.read_text().splitlines()]
    assert len(lines) == 16
    answers = written(
        tmp_path / "answers.jsonl",
        *(
            {"id": line["id"], "seed": line["seed"], "response": right(Asked({"messages": line["messages"]}, {}, 0))}
            for line in lines
        ),
    )
    assert evaluated("choice", file, "--answers", str(answers), "--seeds", "2") == 0
    assert results(file, "choice")["measures"]["accuracy"]["seeds"] == [7 / 8] * 2
