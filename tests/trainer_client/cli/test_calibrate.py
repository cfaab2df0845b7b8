"""`rubricd calibrate` asks a judge about labelled rows and writes the file that the service takes."""

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from testkit.calibrations import calibration
from testkit.scripted_judge import FINGERPRINT, Service, answered, problem, scores, served
from trainer_client import wire
from trainer_client.cli.main import main

PROMPTS = 120
SHARPNESS, LEANING = 3.0, 1.0


def right(text: str) -> float:
    """The log-odds that are right for a criterion."""
    return Random(text).gauss(0.0, 1.5)


def bias(response: str) -> float:
    return Random(f"bias {response}").gauss(0.0, 2.0)


def rows(prompts: int = PROMPTS, met: bool | None = None) -> list[dict[str, Any]]:
    """Five criteria a prompt, the last a fault. Of each it is met what its log-odds say, or `met`."""
    found = []
    for n in range(prompts):
        texts = [f"Says {n} and {k}." for k in range(5)]
        rubric = [{"text": text, "points": -1 if k == 4 else 1} for k, text in enumerate(texts)]
        drawn = [Random(f"met {text}").random() < 1 / (1 + math.exp(-right(text))) for text in texts]
        labels = {str(k): one if met is None else met for k, one in enumerate(drawn)}
        found.append({"prompt": f"Prompt {n}.", "response": f"Answer {n}.", "rubric": rubric, "met": labels})
    return found


def too_sure(text: str, response: str) -> float:
    return 0.0 if text == "N/A" or not response else SHARPNESS * right(text) + LEANING


def biased(text: str, response: str) -> float:
    return bias(response) + (0.0 if text == "N/A" else right(text))


def service(judge: Any = too_sure) -> Service:
    def answer(body: dict[str, Any]) -> httpx.Response:
        whole = scores(body)
        for item, result in zip(body["items"], whole["results"], strict=True):
            for criterion, one in zip(item["rubric"]["criteria"], result["criteria"], strict=True):
                p = 1 / (1 + math.exp(-judge(criterion["text"], item["response"])))
                one.update(p=p, p_raw=p, met=p >= 0.5)
        return answered(whole)

    return Service(answer)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "labels.jsonl", rows())


def write(path: Path, found: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in found))
    return path


def calibrate(labels: Path, judge: Service, *options: str) -> int:
    out = labels.with_name("calibration.json")
    with served(judge) as url:
        return main(["calibrate", str(labels), "--url", url, "--out", str(out), "--quiet", *options])


def test_a_judge_that_is_too_sure_gets_its_line_and_certificate(
    labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = service()
    assert calibrate(labels, judge, "--json", str(labels.with_name("all.json"))) == 0
    [made] = wire.read_calibrations(labels.with_name("calibration.json").read_bytes())
    assert (made.judge, made.method, made.mode, made.layout) == (FINGERPRINT, "platt", "verdict", "rubricd")
    curve = made.curves[-1].curve
    assert isinstance(curve, wire.Line)
    assert curve.slope == pytest.approx(1 / SHARPNESS, abs=0.1)
    assert curve.offset == pytest.approx(-LEANING / SHARPNESS, abs=0.3)
    assert made.gain.log_loss.low > 0 and made.gain.ece.low > 0
    assert (made.data.criteria, made.data.groups) == (5 * PROMPTS, PROMPTS)
    said = capsys.readouterr().out
    assert "may tell nothing" not in said
    assert "600 criteria of 120 prompts" in said and " * platt" in said
    assert f"rubricd: {made.name} for judge {FINGERPRINT} is in {labels.with_name('calibration.json')}" in said
    figures = json.loads(labels.with_name("all.json").read_text())
    assert figures["calibration"]["name"] == made.name
    [chosen] = [one for one in figures["tried"] if one["chosen"]]
    assert chosen["name"].startswith("platt") and chosen["above_best"] <= chosen["standard_error"]


def test_a_judge_that_tells_nothing_is_named_so(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate(labels, service(lambda text, response: Random(f"noise {text}").gauss(0.5, 1.0))) == 0
    [made] = wire.read_calibrations(labels.with_name("calibration.json").read_bytes())
    assert made.certificate.positive.informedness is not None and made.certificate.positive.informedness.low <= 0
    assert "on positive points this judge may tell nothing" in capsys.readouterr().out


def test_content_free_queries_are_asked_and_subtracted(labels: Path) -> None:
    judge = service(biased)
    assert calibrate(labels, judge) == 0
    [made] = wire.read_calibrations(labels.with_name("calibration.json").read_bytes())
    assert made.method == "contextual"
    assert made.prior == wire.Prior(of="criterion", text="N/A")
    asked = [item for body in judge.bodies for item in body["items"]]
    about_nothing = [item for item in asked if item["rubric"]["criteria"][0]["text"] == "N/A"]
    about_empty = [item for item in asked if not item["response"]]
    assert len(about_nothing) == len(about_empty) == PROMPTS
    assert len(asked) == 3 * PROMPTS
    assert sum(len(item["rubric"]["criteria"]) for item in about_empty) == 5 * PROMPTS


def test_a_group_shares_its_content_free_queries(tmp_path: Path) -> None:
    found = [{**row, "response": f"Answer {n}."} for row in rows(40) for n in range(3)]
    judge = service()
    assert calibrate(write(tmp_path / "labels.jsonl", found), judge, "--priors", "response") == 0
    asked = [item for body in judge.bodies for item in body["items"] if not item["response"]]
    assert len(asked) == 40


def test_the_same_command_asks_nothing_twice_and_gives_the_same_file(labels: Path) -> None:
    assert calibrate(labels, service()) == 0
    first, again = labels.with_name("calibration.json").read_bytes(), service()
    assert calibrate(labels, again) == 0
    assert again.bodies == []
    assert labels.with_name("calibration.json").read_bytes() == first


def test_calibrations_of_other_judges_stay(labels: Path) -> None:
    out = labels.with_name("calibration.json")
    other = calibration("another judge")
    out.write_text(wire.write_calibrations([other, calibration(FINGERPRINT)]))
    assert calibrate(labels, service(), "--priors", "none") == 0
    kept, made = wire.read_calibrations(out.read_bytes())
    assert kept == other
    assert (made.judge, made.data.criteria) == (FINGERPRINT, 5 * PROMPTS)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (rows(9), "takes 30 of each"),
        (rows(40, met=True), "200 criteria that are met and 0 that are not"),
        ([{**row, "prompt": f"Prompt {n % 7}."} for n, row in enumerate(rows())], "takes 10 prompts"),
    ],
)
def test_too_few_labels_make_none(
    tmp_path: Path, found: list[dict[str, Any]], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write(tmp_path / "labels.jsonl", found)
    assert calibrate(labels, service()) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not labels.with_name("calibration.json").exists()


def test_what_cannot_be_written_is_refused_before_anything_is_asked(
    labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels.with_name("calibration.json").write_text("{}")
    judge = service()
    assert calibrate(labels, judge) == 2
    assert "is no calibration file" in capsys.readouterr().err
    assert judge.requests == []


def test_what_the_judge_cannot_read_is_left_out_and_counted(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge = service()
    whole = judge.answer

    def too_long(body: dict[str, Any]) -> httpx.Response:
        answer = json.loads(whole(body).content)
        for item, result in zip(body["items"], answer["results"], strict=True):
            if int(item["prompt"].split()[1][:-1]) >= 100:
                result.update(status="failed", score=None, coverage=0.0)
                for one in result["criteria"]:
                    one.update(status="too_long", met=None, p=None, p_raw=None, label_mass=None)
        return answered(answer)

    judge.answer = too_long
    assert calibrate(labels, judge, "--priors", "none") == 0
    said = capsys.readouterr()
    assert "500 criteria of 100 prompts" in said.out and "left out: 100 too_long" in said.out
    assert said.err == ""


def test_a_judge_without_verdicts_is_told(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate(labels, Service(lambda body: problem("unauthorized", 401))) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and error.count("\n") == 1
