"""`rubricd tune` asks a judge in every prompt that it serves, and prints the setting to use."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, answered, items, judge_info, scores, served
from trainer_client.cli.main import main

Json = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    rows = [
        {"item": {**item, "prompt": f"Hello {n // 3}?"}, "met": {"0": n % 2 == 0, "1": n % 3 == 0}}
        for n, item in enumerate(items(60))
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _service(*good: str, names: tuple[str, ...] = ("question", "bare", "examples"), labels: str = "Yes") -> Service:
    """A judge that knows the labels in the prompts `good`, and guesses in the others."""

    def answer(body: Json) -> httpx.Response:
        whole, prompt = scores(body), body["judge_prompt"]
        for item, result in zip(body["items"], whole["results"], strict=True):
            number = int(item["response"].split()[-1])
            for one, met in zip(result["criteria"], (number % 2 == 0, number % 3 == 0), strict=True):
                p = (0.8 if met else 0.3) if prompt in good else one["p"]
                one.update(met=p >= 0.5, p=p, p_raw=p)
        whole["judge"].update(prompt=prompt, fingerprint=f"{labels}-{prompt}")
        return answered(whole)

    service = Service(answer)
    about = {"description": "", "labels": [labels, "No"], "reading": "single", "examples": 0}
    service.info = {
        "judges": [{**judge_info()["judges"][0], "prompt": name, "fingerprint": f"{labels}-{name}"} for name in names],
        "prompts": [
            *({"name": name, **about, "served": True} for name in names),
            {"name": "sentence", **about, "served": False, "reason": "two tokens"},
        ],
        "labels": {labels: 1, "No": 2},
    }
    return service


def test_the_better_prompt_is_the_setting_that_is_printed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = file.with_name("tuned.json")
    with served(_service("examples")) as url:
        assert main(["tune", str(file), "--url", url, "--json", str(written), "--quiet"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "120 labelled criteria of 20 conversations"
    assert [line.split()[0] for line in said[2:5]] == ["question", "bare", "examples"]
    assert said[4].endswith("5 of 5") and "1.000 (no spread seen) " in said[4]
    assert said[-1] == "rubricd: set --prompt examples"
    found = json.loads(written.read_text())
    assert (found["winner"], found["setting"]) == ("examples", "--prompt examples")
    assert found["worth"]["auroc"]["value"] > 0.95


def test_where_none_is_better_the_prompt_of_now_is_kept(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(_service("question", "bare")) as url:
        assert main(["tune", str(file), "--url", url, "--judge-prompt", "bare", "--judge-prompt", "question"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("rubricd: keep --prompt question")
    assert "examples" not in said.out
    assert "rubricd: 240 of 240 criteria" in said.err


def test_a_second_run_asks_nothing(file: Path) -> None:
    service = _service("bare")
    with served(service) as url:
        assert main(["tune", str(file), "--url", url, "--quiet"]) == 0
        asked = len(service.bodies)
        assert main(["tune", str(file), "--url", url, "--quiet"]) == 0
    assert (len(service.bodies), asked > 0) == (asked, True)


def test_label_pairs_of_several_services_are_compared(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        served(_service(names=("question",))) as yes,
        served(_service("question", names=("question",), labels="Ja")) as ja,
    ):
        assert main(["tune", str(file), "--url", yes, "--url", ja, "--quiet"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in said[2:4]] == [f"question at {url}" for url in (yes, ja)]
    assert said[-1] == """rubricd: set --prompt question --labels '["Ja", "No"]'"""


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--judge-prompt", "sentence"), "does not serve the prompt sentence; it serves question, bare, examples"),
        (("--judge-prompt", "nobodys"), "does not serve the prompt nobodys"),
        (("--url", "http://127.0.0.1:9"), "rubricd: "),
    ],
)
def test_misuse_is_one_sentence(
    file: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], why: str
) -> None:
    with served(_service()) as url:
        own = () if "--url" in options else ("--url", url)
        assert main(["tune", str(file), "--quiet", *own, *options]) == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1


def test_labels_that_say_nothing_are_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(f"{json.dumps({**row, 'met': {'0': True}})}\n" for row in rows))
    with served(_service()) as url:
        assert main(["tune", str(file), "--url", url, "--quiet"]) == 2
    assert "labels of four conversations, met and not met" in capsys.readouterr().err
    assert main(["tune", "-"]) == 2
    assert "standard input has no name" in capsys.readouterr().err
