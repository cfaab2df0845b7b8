"""`rubricd agree` reads labels, asks judges and says how well they agree, by its exit code too."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Service, answered, items, judge_info, problem, scores, served
from testkit.waiting import wait_until
from trainer_client.cli.main import main

Json = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    rows = [{"item": item, "met": {"0": n % 2 == 0, "1": n % 3 == 0}} for n, item in enumerate(items(60))]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _right(body: Json) -> httpx.Response:
    """Verdicts that are the labels: `answer 4` has number 4."""
    whole = scores(body)
    for item, result in zip(body["items"], whole["results"], strict=True):
        number = int(item["response"].split()[-1])
        for one, met in zip(result["criteria"], (number % 2 == 0, number % 3 == 0), strict=True):
            one.update(met=met, p=0.9 if met else 0.1, p_raw=0.9 if met else 0.1)
    return answered(whole)


def _agree(file: Path, *options: str, service: Service | None = None) -> int:
    with served(service or Service(_right)) as url:
        return main(["agree", str(file), "--url", url, *options])


def test_figures_are_printed_and_written(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = file.with_name("found.json")
    assert _agree(file, "--json", str(found), "--quiet") == 0
    said = capsys.readouterr()
    assert f"verdict: judge fake {FINGERPRINT}; 120 ok" in said.out and said.err == ""
    assert "accuracy                                                  1.000" in said.out
    report = file.with_name("labels.agreement.html")
    assert f"rubricd: report {report}" in said.out and "Agreement of a judge" in report.read_text()
    written = json.loads(found.read_text())
    assert written["judges"][0]["figures"]["auroc"]["value"] == 1
    assert written["judges"][0]["rewards"]["pairwise"]["value"] == 1


def test_a_second_run_asks_nothing_and_progress_is_lines_where_there_is_no_terminal(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _agree(file) == 0
    assert "rubricd: 120 of 120 criteria" in capsys.readouterr().err
    silent = Service(_right)
    assert _agree(file, service=silent) == 0
    assert silent.bodies == []


def test_an_interrupted_run_keeps_its_verdicts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = file.with_name("labels.verdicts.jsonl")
    asked = threading.Lock()

    def ends(body: Json) -> httpx.Response:
        if asked.acquire(blocking=False):
            return _right(body)
        wait_until(lambda: store.exists() and len(store.read_text().splitlines()) == 5)
        return problem("unauthorized", 401)

    assert _agree(file, service=Service(ends, max_items=5)) == 2
    assert "about unauthorized" in capsys.readouterr().err
    rest = Service(_right, max_items=5)
    assert _agree(file, service=rest) == 0
    assert sum(len(body["items"]) for body in rest.bodies) == 55


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--at-least", "accuracy=0.9", "--at-most", "ece=0.2"), 0, ""),
        (
            ("--at-least", "accuracy=0.9", "--at-most", "ece=0.05"),
            1,
            "verdict: ece is 0.1000, and at most 0.05 is asked",
        ),
        (("--at-least", "acuracy=0.9"), 2, "--at-least acuracy=0.9: no such metric; write one of accuracy, "),
        (("--at-least", "accuracy=high"), 2, "--at-least accuracy=high: write METRIC=VALUE with a number"),
    ],
)
def test_a_limit_is_the_exit_code(
    file: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, said: str
) -> None:
    assert _agree(file, "--quiet", *options) == code
    assert said in capsys.readouterr().err


def test_what_the_verdicts_took_is_set_beside_them(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def priced(body: Json) -> httpx.Response:
        whole = json.loads(_right(body).content)
        judged = 2 * len(body["items"])
        whole["usage"] |= {"judgements": judged, "prompt_tokens": 100 * judged, "completion_tokens": judged}
        return answered(whole)

    found = file.with_name("found.json")
    costs = ["--json", str(found), "--quiet", "--price-in", "1", "--price-out", "10"]
    assert _agree(file, *costs, service=Service(priced)) == 0
    spent = json.loads(found.read_text())["judges"][0]["spent"]
    assert (spent["criteria"], spent["prompt_tokens"]) == (120, 12_000)
    assert spent["figures"]["money"] == pytest.approx((12_000 + 1_200) / 1e6)
    assert re.search(r"tokens read, for each verdict that was computed +100$", capsys.readouterr().out, re.MULTILINE)
    assert "What it took" in file.with_name("labels.agreement.html").read_text()
    assert _agree(file, *costs, service=Service(priced)) == 0
    again = json.loads(found.read_text())["judges"][0]["spent"]
    assert (again["criteria"], again["figures"]["seconds_per_1000"]) == (0, None), "nothing was asked"
    assert _agree(file, *costs, "--price-in", "2", "--price-in", "3") == 2
    assert "one for each of the 1 judges" in capsys.readouterr().err


def test_two_judges_are_measured_side_by_side(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = file.with_name("found.json")
    with served(Service(_right)) as good, served(Service()) as poor:
        separate = str(file.with_name("v.jsonl"))
        options = ["--url", good, "--url", poor, "--json", str(found), "--store", separate, "--quiet"]
        # The scripted services have one fingerprint; verdicts of the first would answer for the second.
        assert main(["agree", str(file), *options]) == 0
    written = json.loads(found.read_text())
    assert [one["name"] for one in written["judges"]] == [good.split("//")[1], poor.split("//")[1]]
    assert len(written["comparisons"]) == 1
    assert "the same verdict" in capsys.readouterr().out


def test_a_mode_that_the_judge_lacks_is_told_and_the_others_are_measured(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _agree(file, "--mode", "verdict", "--mode", "reasoned", "--quiet") == 0
    said = capsys.readouterr()
    assert (
        "rubricd: reasoned: this judge does not offer mode reasoned in layout rubricd" in said.err
        and "accuracy" in said.out
    )
    assert _agree(file, "--mode", "reasoned", "--quiet") == 2


def test_a_judge_to_doubt_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(_right)
    service.info = {"judges": [{**judge_info()["judges"][0], "trust": "unproven"}]}
    assert _agree(file, "--quiet", service=service) == 0
    assert f"judge fake {FINGERPRINT} (unproven); 120 ok" in capsys.readouterr().out
    assert "fake (unproven)" in file.with_name("labels.agreement.html").read_text()


def test_a_slip_is_one_sentence(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('{"prompt": "p", "response": "r"}\n')
    assert _agree(file) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"rubricd: {file}, line 1: no labels") and said.count("\n") == 1
    assert main(["agree", "-"]) == 2
    assert "standard input has no name" in capsys.readouterr().err
    assert main(["agree", str(file.with_name("none.jsonl"))]) == 2
    assert "No such file" in capsys.readouterr().err


def test_what_the_judge_cannot_read_is_not_asked_again(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def too_long(body: Json) -> httpx.Response:
        whole = json.loads(_right(body).content)
        lacking = {"status": "too_long", "met": None, "p": None, "p_raw": None, "label_mass": None}
        for result in whole["results"]:
            if result["criteria"][0]["met"]:
                continue
            result["criteria"][1] |= lacking
            result |= {"status": "failed", "score": None, "coverage": 0.5, "score_bounds": [0.0, 1.0]}
        return answered(whole)

    assert _agree(file, "--quiet", service=Service(too_long)) == 0
    said = capsys.readouterr()
    assert "90 ok, 30 too_long" in said.out and said.err == ""
    again = Service(too_long)
    assert _agree(file, "--quiet", service=again) == 0 and again.bodies == []


def test_one_by_one_and_all_in_one_document_are_measured_side_by_side(file: Path) -> None:
    def named(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["judge"]["fingerprint"] = body.get("batch") or "one"
        return answered(whole)

    first = judge_info()["judges"][0]
    written = {**first, "mode": "reasoned"}
    lists: Json = {name: [] for name in ("layouts", "unserved", "exams", "calibrations")}
    service = Service(named)
    service.info = {
        "judges": [first, {**written, "fingerprint": "one"}],
        "more": {**lists, "judges": [{**written, "fingerprint": "all", "batch": "all"}]},
    }
    report = file.with_name("x.json")
    wanted = ("--mode", "reasoned", "--batch", "one", "--batch", "all", "--json", str(report))
    assert _agree(file, *wanted, service=service) == 0
    assert {body.get("batch") for body in service.bodies} == {None, "all"}
    assert [one["name"] for one in json.loads(report.read_text())["judges"]] == ["reasoned", "in one document"]
    assert _agree(file, "--batch", "all") == 2


def test_prompts_are_measured_side_by_side(file: Path) -> None:
    def named(body: Json) -> httpx.Response:
        whole = json.loads(_right(body).content)
        whole["judge"].update(prompt=body["judge_prompt"], fingerprint=body["judge_prompt"])
        return answered(whole)

    service = Service(named)
    names = ["question", "bare"]
    judges = [{**judge_info()["judges"][0], "prompt": name, "fingerprint": name} for name in names]
    about = {"description": "", "labels": ["Yes", "No"], "reading": "single", "examples": 0, "served": True}
    service.info = {"judges": judges, "prompts": [{"name": name, **about} for name in names]}
    found = file.with_name("found.json")
    asked = [option for name in reversed(names) for option in ("--judge-prompt", name)]
    assert _agree(file, *asked, "--json", str(found), "--quiet", service=service) == 0
    assert [one["name"] for one in json.loads(found.read_text())["judges"]] == ["bare", "question"]
    assert {body["judge_prompt"] for body in service.bodies} == set(names)
