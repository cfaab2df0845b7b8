"""`rubricd cascade plan` asks judges about labelled rows, and writes a plan file where it can promise something."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, answered, items, judge_info, scores, served
from trainer_client import wire
from trainer_client.cli.main import main

Json = dict[str, Any]
PROMPTS = 90
WANTED = ("--lose", "0.1", "--quiet")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return labelled(tmp_path / "labels.jsonl")


def labelled(path: Path) -> Path:
    """Rows of which both criteria have a label."""
    rows = [
        {"item": {**item, "prompt": f"Hello {n}?"}, "met": {"0": n % 2 == 0, "1": n % 3 == 0}}
        for n, item in enumerate(items(PROMPTS))
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def judge_called(name: str, *, unsure: bool) -> Service:
    """A judge that knows the labels; of every fifth response it says the contrary, unsurely, where it is `unsure`."""

    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        for item, result in zip(body["items"], whole["results"], strict=True):
            number = int(item["response"].split()[-1])
            for one, met in zip(result["criteria"], (number % 2 == 0, number % 3 == 0), strict=True):
                p = 0.95 if met else 0.05
                if unsure and number % 5 == 0:
                    p = 0.4 if met else 0.6
                one.update(met=p >= 0.5, p=p, p_raw=p, status="ok")
        whole["judge"].update(fingerprint=name, model=f"models/{name}")
        computed = sum(len(result["criteria"]) for result in whole["results"])
        whole["usage"].update(judgements=computed, cache_hits=0, prompt_tokens=90 * computed, completion_tokens=0)
        return answered(whole)

    service = Service(answer)
    service.info = {"judges": [{**judge_info()["judges"][0], "fingerprint": name, "model": f"models/{name}"}]}
    return service


def test_a_plan_says_when_the_small_judges_verdict_stands(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = judge_called("small", unsure=True), judge_called("large", unsure=False)
    figures = file.with_name("figures.json")
    with served(small) as one, served(large) as other:
        command = ["cascade", "plan", str(file), "--url", one, "--url", other, *WANTED, "--json", str(figures)]
        assert main(command) == 0
        asked = len(small.bodies), len(large.bodies)
        first = file.with_name("labels.cascade.json").read_bytes()
        assert main(command) == 0
    assert (len(small.bodies), len(large.bodies)) == asked  # the second run asked nothing, and knows what it took
    assert file.with_name("labels.cascade.json").read_bytes() == first
    plan = wire.read_cascade_plan(first)
    assert [(one.name, one.fingerprint) for one in plan.judges] == [("small", "small"), ("large", "large")]
    band = plan.judges[0].band
    assert band is not None and 0.05 < band.low <= 0.4 and 0.6 <= band.high < 0.95
    assert (plan.promise.kind, plan.promise.level, plan.promise.delta) == ("loss", 0.1, 0.05)
    assert plan.agreement.value == 1.0 and plan.saves.last_judge.value == pytest.approx(0.8, abs=0.1)
    assert plan.saves.tokens is not None and plan.saves.money is None
    said = capsys.readouterr().out
    assert "small (small): agrees alone 0.767" in said
    assert "With probability 0.95 the cascade agrees with the labels at most 0.1 less than large alone" in said
    found = json.loads(figures.read_text())
    assert found["plan"] == json.loads(first) and found["tested"][0]["p_value"] <= 0.05
    page = file.with_name("labels.cascade.html").read_text()
    assert "A cascade of judges" in page and "Hello" not in page


def test_one_deployment_can_be_both_judges_in_two_modes(file: Path) -> None:
    service = judge_called("both", unsure=False)
    service.info["judges"].append({**service.info["judges"][0], "mode": "reasoned", "fingerprint": "written"})
    plain = service.answer

    def answer(body: Json) -> httpx.Response:
        whole = json.loads(plain(body).content)
        if body.get("mode") == "reasoned":
            whole["judge"].update(mode="reasoned", fingerprint="written")
        return answered(whole)

    service.answer = answer
    with served(service) as url:
        modes = ("--mode", "verdict", "--mode", "reasoned", "--price-in", "1", "--price-out", "1")
        assert main(["cascade", "plan", str(file), "--url", url, *modes, *WANTED]) == 0
    plan = wire.read_cascade_plan(file.with_name("labels.cascade.json").read_bytes())
    assert [(one.name, one.mode) for one in plan.judges] == [("both (1)", "verdict"), ("both (2)", "reasoned")]
    assert plan.saves.money is not None and plan.saves.last_judge.value == 1.0


def test_too_few_labels_are_no_plan_and_leave_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.with_name("mine.json")
    out.write_text("mine")
    with served(judge_called("small", unsure=True)) as one, served(judge_called("large", unsure=False)) as other:
        urls = ("--url", one, "--url", other)
        assert main(["cascade", "plan", str(file), *urls, "--agreement", "0.999", "--quiet", "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "no plan: 90 labelled prompts are too few" in said and said.count("\n") == 1
    assert out.read_text() == "mine" and not file.with_name("mine.html").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "1 judge is no cascade; give --url, --judge, --mode, --judge-prompt or --verdicts once for each"),
        (
            ("--url", "a", "--url", "b", "--url", "c", "--mode", "verdict", "--mode", "reasoned"),
            "--mode is given 2 times",
        ),
        (("--url", "a") * 5, "a cascade has at most 4 judges, and 5 are given"),
        (("--url", "a", "--url", "b", "--lose", "1.5"), "--lose 1.5: write a share between 0 and 1"),
        (("--url", "a", "--url", "b", "--delta", "0"), "--delta 0: write a share between 0 and 1"),
        (("--url", "a", "--url", "b", "--price-in", "-1"), "--price-in: a price is a number from 0 on"),
    ],
)
def test_misuse_is_one_sentence(
    file: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], why: str
) -> None:
    assert main(["cascade", "plan", str(file), *options]) == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1


def test_one_judge_twice_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(judge_called("small", unsure=True)) as url:
        assert main(["cascade", "plan", str(file), "--url", url, "--url", url, "--quiet"]) == 2
    assert "judge small is given twice; a cascade needs different judges" in capsys.readouterr().err


def test_standard_input_needs_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cascade", "plan", "-", "--url", "a", "--url", "b"]) == 2
    assert "name them with --out and --store" in capsys.readouterr().err
