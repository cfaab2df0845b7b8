"""The sections of a run config for rubrics that change: what they make, and which slips are told."""

from pathlib import Path

import pytest

from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.training.run import config as run_config
from trainer_client.training.run.config import RunConfig, RunConfigError

LEAST = "policy: Qwen/Qwen3-4B\ndata: train.jsonl\nout: runs/a\njudging: {url: 'http://judge:8000'}\n"
PROPOSER = "proposer: {url: 'http://gen:8000/v1', model: m}"


def _read(folder: Path, text: str) -> RunConfig:
    (folder / "run.yaml").write_text(LEAST + text, encoding="utf-8")
    return run_config.read(folder / "run.yaml")


def test_dropout_is_seeded_as_the_run_is(tmp_path: Path) -> None:
    run = _read(tmp_path, "seed: 9\nrubric_dropout: {share: 0.3, protect: [essential]}\n")
    assert run.dropout() == RubricDropout(0.3, 3, ("essential",), seed=9)
    assert _read(tmp_path, "").dropout() is None


def test_a_proposer_of_a_file_lies_beside_the_run_config(tmp_path: Path) -> None:
    run = _read(tmp_path, "evolving: {proposer: {call: 'own/p.py:propose'}}\n")
    assert run.evolving is not None and run.evolving.proposer.call == f"{tmp_path}/own/p.py:propose"
    (tmp_path / "again.yaml").write_text(run_config.written(run))
    assert run_config.read(tmp_path / "again.yaml") == run


def test_what_may_evolve_is_known_before(tmp_path: Path) -> None:
    run = _read(tmp_path, f"evolving: {{{PROPOSER}, propose: 2, active: 4}}\nscaffold: {{choose: unlearnt}}\n")
    assert run.most_evolved == 6 and run.scaffolding().choose == "unlearnt"
    assert _read(tmp_path, "").most_evolved == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rubric_dropout: {share: 1.0}\n", "`rubric_dropout.share`: Input should be less than 1"),
        ("rubric_dropout: {keep: 0}\n", "`rubric_dropout.keep`: Input should be greater than or equal to 1"),
        ("rubric_dropout: {shar: 0.1}\n", "`rubric_dropout.shar`: unknown field; did you mean `share`?"),
        ("preset: direct-likert\nrubric_dropout: {}\n", "`rubric_dropout` needs a mode that reads the rubric"),
        ("evolving: {}\n", "`evolving.proposer`: missing"),
        ("evolving: {proposer: {}}\n", "give `url` and `model` of a chat endpoint, or `call` of a function"),
        ("evolving: {proposer: {url: 'http://g/v1'}}\n", "give `url` and `model`"),
        ("evolving: {proposer: {url: 'http://g/v1', model: m, call: 'a:b'}}\n", "give `url` and `model`"),
        ("evolving: {proposer: {url: 'http://a:k@g/v1', model: m}}\n", "the run config is kept: put it into the vari"),
        ("evolving: {proposer: {call: 'a'}}\n", "`evolving.proposer.call`: String should match"),
        (f"evolving: {{{PROPOSER}, drift: 1.0}}\n", "`evolving.drift`: Input should be less than 1"),
        (f"evolving: {{{PROPOSER}}}\nrewards: {{by: tag}}\n", "parts of a reward are fixed: set rewards.by to total"),
        (f"evolving: {{{PROPOSER}}}\npreset: rar-implicit\n", "needs verdicts on single criteria"),
        (f"evolving: {{{PROPOSER}}}\npreset: rar-explicit\n", "without a category, which `rar_explicit` needs"),
    ],
)
def test_slips_are_told_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RunConfigError) as caught:
        _read(tmp_path, text)
    assert said in str(caught.value)
