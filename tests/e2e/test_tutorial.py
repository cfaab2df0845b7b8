"""The tutorial's commands, each run as a newcomer would, in a fresh checkout, against the bundled judge."""

import json
import re
from pathlib import Path

import pytest

from testkit.tutorial import ROOT, SKIPPED, Ran, reader, steps

PAGES = ROOT / "docs" / "tutorial"
POLICY = ROOT / "miniature" / "checkpoints" / "policy"


def _follow(page: str, folder: Path, instead: dict[str, str] | None = None) -> list[Ran]:
    with reader(folder, instead) as somebody:
        somebody.follow((PAGES / page).read_text(encoding="utf-8"))
        return somebody.ran


def _failed(ran: list[Ran], *findings: str) -> list[Ran]:
    """What did not end with 0, but for commands that begin with one of `findings` and end with 1."""
    return [one for one in ran if one.code and not (one.code == 1 and one.command.startswith(findings))]


def test_the_first_score(tmp_path: Path) -> None:
    ran = _follow("first-score.md", tmp_path)
    assert _failed(ran, "rubricd doctor") == []
    answer = next(one.said for one in ran if one.command.startswith("curl"))
    assert json.loads(answer)["results"][0]["score"] == pytest.approx(2 / 9, abs=0.01)
    rows = (tmp_path / "rows.results.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 4 and all(json.loads(row)["score"] is not None for row in rows)
    rewards = [float(line.split()[0]) for line in ran[-1].said.splitlines()]
    assert rewards[0] == rewards[1] > rewards[2]


def test_the_first_training(tmp_path: Path) -> None:
    ran = _follow("first-training.md", tmp_path)
    assert _failed(ran, "rubricd watch") == []
    assert (tmp_path / "runs" / "first" / "report.html").exists()
    logged = (tmp_path / "runs" / "first" / "metrics.jsonl").read_text(encoding="utf-8")
    assert max(json.loads(line).get("step", 0) for line in logged.splitlines()) == 6, "an ended run is not trained on"


def test_the_first_deployment(tmp_path: Path) -> None:
    ran = _follow("first-deployment.md", tmp_path)
    assert _failed(ran, "RUBRICD_KEY=$(cat medicine.key) rubricd doctor") == []
    assert [one.said for one in ran if "-w" in one.command] == ["401\n"]
    usage = next(one.said for one in ran if "/v1/usage" in one.command)
    assert json.loads(usage)["team"] == "writing"


def test_the_real_small_models_commands_on_the_miniature(tmp_path: Path) -> None:
    """The same commands with another judge and policy, which take minutes less."""
    instead = {
        " JUDGE=smollm2": "",
        "$HOME/.cache/rubricd/models/SmolLM2-135M-Instruct": str(POLICY),
        "steps: 20": "steps: 2",
        "rubricd train run.yaml": "rubricd train run.yaml --toy-judge --set steps=2",
        "--max-tokens 64": "--max-tokens 8 --layout rubricd",  # the miniature has no layout simple_evals
    }
    ran = _follow("small-model.md", tmp_path, instead)
    assert _failed(ran, "cd runs/small && rubricd watch") == []
    rows = [json.loads(line) for line in (tmp_path / "runs/small/rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 12 and all(len(row["rubric"]) == 5 for row in rows)
    assert (tmp_path / "runs/small/run/report.html").exists() and (
        tmp_path / "runs/small/evaluated/results.json"
    ).exists()


TASKS = re.findall(
    r"^## (\d+)\. ([^\n]+)\n(.*?)(?=^## |\Z)", (PAGES / "ten-tasks.md").read_text(encoding="utf-8"), re.S | re.M
)


def test_ten_tasks_take_five_commands_or_clicks_at_most() -> None:
    assert [number for number, _, _ in TASKS] == [str(number) for number in range(1, 11)]
    for number, _, text in TASKS:
        taken = len(list(steps(text))) + len(re.findall(r"^\d+\. ", text, re.M))
        assert 1 <= taken <= 5, number


def test_the_commands_of_the_ten_tasks(tmp_path: Path) -> None:
    ran = _follow("ten-tasks.md", tmp_path)
    assert _failed(ran, "rubricd lint", "rubricd doctor", "rubricd watch") == []


def test_what_a_reader_does_is_read_from_the_page() -> None:
    page = 'So:\n\n```json title="a.json"\n{}\n```\n\n```console\n$ one \\\n    two\nits output\n$ three\n```\n'
    assert list(steps(page)) == [("file a.json", "{}\n"), ("run", "one \\\n    two\nits output"), ("run", "three")]
    assert all(not one.startswith(("rubricd", "python", "curl", "make")) for one in SKIPPED)
