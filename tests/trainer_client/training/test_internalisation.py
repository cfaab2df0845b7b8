"""The self-internalisation gap of a run's checkpoints, with the miniature's policy."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer_client.training import runs
from tests.trainer_client.trl import quiet_trl  # noqa: F401  before anything that imports TRL
from trainer_client.cli.main import main
from trainer_client.errors import DataError
from trainer_client.training import internalisation, preflight
from trainer_client.training.internalisation import chosen, mean_log_probability, measured, prompts_of, until_end
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder whose one checkpoint is the policy that it began with."""
    out = tmp_path / "out"
    run_dir.start(out, run_config.read(runs.run_file(tmp_path, "http://judge:8000")), {"train": {}})
    shutil.copytree(runs.POLICY, out / "checkpoint-2")
    (out / "checkpoint-2" / run_dir.STATE).write_text("{}")
    return out


def test_an_answer_ends_with_its_end_token() -> None:
    made = torch.tensor([[5, 6, 2, 0, 0], [5, 6, 7, 8, 9], [2, 2, 2, 2, 2]])
    assert until_end(made, 2).tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]


def test_log_probabilities_are_those_of_one_token_after_the_other() -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(runs.POLICY), AutoTokenizer.from_pretrained(runs.POLICY)
    prompt = tokenizer("I have a stiff neck.")["input_ids"]
    answers = torch.tensor([[7, 8, 9, 10], [11, 12, tokenizer.eos_token_id, 0]])
    mask = until_end(answers, tokenizer.eos_token_id)
    with torch.no_grad():
        found = mean_log_probability(model, prompt, answers, mask)
        for row, value, own in zip(answers.tolist(), found, mask.tolist(), strict=True):
            tokens = row[: sum(own)]
            logs = [
                model(input_ids=torch.tensor([prompt + tokens[:n]])).logits[0, -1].log_softmax(-1)[token].item()
                for n, token in enumerate(tokens)
            ]
            assert value == pytest.approx(np.mean(logs), abs=1e-4)


def test_the_rubric_is_in_one_of_the_two_prompts(run: Path) -> None:
    config = run_config.read(run / "run.yaml")
    rows = chosen(preflight.rows_of(config, config.data), 3)
    assert rows == chosen(list(reversed(preflight.rows_of(config, config.data))), 3) and len(rows) == 3
    tokenizer = AutoTokenizer.from_pretrained(runs.POLICY)
    for bare, conditioned in prompts_of(config, tokenizer, rows):
        told = tokenizer.decode(conditioned)
        assert "ginger tea" in told and "ginger tea" not in tokenizer.decode(bare)


def test_the_same_policy_has_the_same_gap_and_what_was_measured_is_kept(run: Path) -> None:
    told: list[tuple[int, int]] = []
    start, checkpoint = measured(run, 3, 4, lambda done, of: told.append((done, of)))
    assert (start.step, checkpoint.step) == (0, 2) and told[-1] == (2, 2)
    assert start.gaps.shape == (3,) and np.array_equal(start.gaps, checkpoint.gaps)
    assert np.isfinite(start.gaps).all()
    store = run / "watch" / "internalisation.jsonl"
    lines = [json.loads(line) for line in store.read_text().splitlines()]
    assert len(lines) == 2 and "neck" not in store.read_text().replace("-neck", ""), "ids alone"
    lines[1]["gaps"] = [-1.0, -2.0, -3.0]
    store.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"key": [')
    assert list(measured(run, 3, 4)[1].gaps) == [-1.0, -2.0, -3.0], "it was not measured again"
    assert measured(run, 2, 4)[1].gaps.shape == (2,), "other prompts are measured"


def test_a_run_without_rubrics_has_no_gap() -> None:
    with pytest.raises(DataError, match="no row of the run has a rubric"):
        chosen([], 4)


def test_the_command_shows_the_gap(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.trainer_client.rollouts import made
    from trainer_client.watch.internalisation import Checkpoint

    made.write(run, 1, made.columns(1, ["a", "a"], ["one", "two"]))
    falling = [Checkpoint(0, np.full(20, -1.0)), Checkpoint(2, np.full(20, -0.2)), Checkpoint(4, np.full(20, -0.6))]
    monkeypatch.setattr(internalisation, "measured", lambda *args: falling)
    assert main(["watch", str(run), "--internalisation", "20", "--quiet"]) == 1
    said = capsys.readouterr().out
    assert "self-internalisation gap by step: 0: -1.000, 2: -0.200, 4: -0.600; greatest at step 2" in said
    assert "ALARM internalisation: it has fallen by step 4" in said and "stop at step 2" in said
    assert "Self-internalisation gap" in (run / "report.html").read_text()
    monkeypatch.setattr(internalisation, "measured", lambda *args: falling[:1])
    assert main(["watch", str(run), "--internalisation", "20", "--quiet"]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err
