"""The shipped policy and the recipe that made it: what it cannot do, and what a scaffold makes it do."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from miniature.__main__ import main
from miniature.judge.tokenizer import train_tokenizer
from miniature.policy.make import Recipe, build, encode, load, loss_of, make, train
from miniature.policy.policy_evaluation import answers
from miniature.world.clinic import key_items
from miniature.world.oracle import named, steps
from miniature.world.tasks import rows, topic_of, truth
from tests.miniature.policy.examples import EXAMPLES
from trainer_client import wire
from trainer_client.scaffold import Scaffold

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "policy"
Loaded = tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]


@pytest.fixture(scope="module")
def shipped() -> Loaded:
    return load(SHIPPED)


def answered(shipped: Loaded, share: float, seed: int) -> list[tuple[str, str, bool]]:
    """(row's id, answer, whether it ended) with so much of each rubric shown."""
    torch.manual_seed(seed)
    scaffold, random = Scaffold(), Random(seed)
    asked = [*rows("held-out"), *rows("trained")[::2]]
    prompts = []
    for row in asked:
        criteria = wire.Rubric.model_validate(row["rubric"]).criteria
        shown = sorted(random.sample(range(len(criteria)), round(share * len(criteria))))
        turns = scaffold.messages(row["prompt"], criteria, shown)
        prompts.append([{"role": turn["role"], "content": turn["content"]} for turn in turns])
    texts, ended = answers(*shipped, prompts)
    return [(row["id"], text, end) for row, text, end in zip(asked, texts, ended, strict=True)]


def rewards(made: list[tuple[str, str, bool]]) -> float:
    return sum(truth(topic_of(id), text) for id, text, _ in made) / len(made)


def test_the_shipped_folder_is_small_and_standard(shipped: Loaded) -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 2_500_000
    config = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert sum(parameter.numel() for parameter in shipped[0].parameters()) < 700_000
    assert shipped[1].eos_token == "<|im_end|>"


@pytest.mark.parametrize("seed", [0, 1])
def test_alone_it_answers_in_the_clinics_style_and_finds_next_to_nothing(shipped: Loaded, seed: int) -> None:
    made = answered(shipped, 0.0, seed)
    own = [step.item in key_items(topic_of(id)) for id, text, _ in made for step in steps(text)]
    assert sum(own) / len(own) < 0.02
    assert sum(ended for _, _, ended in made) >= 0.95 * len(made)
    assert sum(topic_of(id) in named(text) for id, text, _ in made) >= 0.7 * len(made)
    assert 3 <= len(own) / len(made) <= 6
    assert -0.05 < rewards(made) < 0.15


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shown_everything_it_does_what_it_is_shown(shipped: Loaded, seed: int) -> None:
    assert rewards(answered(shipped, 1.0, seed)) >= 0.6


def test_the_more_it_is_shown_the_better_it_does(shipped: Loaded) -> None:
    none, half, all = (rewards(answered(shipped, share, 4)) for share in (0.0, 0.5, 1.0))
    assert none + 0.15 < half < all - 0.15


def test_the_loss_is_of_the_answer_and_its_end_only() -> None:
    tokenizer = train_tokenizer(vocabulary=600, corpus=[one.answer for one in EXAMPLES[:200]])
    some = EXAMPLES[:6]
    batch = encode(tokenizer, some)
    for row, one in zip(range(6), some, strict=True):
        asked = batch.labels[row] >= 0
        assert tokenizer.decode(batch.labels[row][asked]) == f"{one.answer}<|im_end|>"
        first = int(asked.nonzero()[0])
        assert str(tokenizer.decode(batch.ids[row][: first + 1])).endswith("<|im_start|>assistant\n")
        assert batch.ids[row][first + 1 :].tolist()[: int(asked.sum()) - 1] == batch.labels[row][asked].tolist()[:-1]
    assert loss_of(build(tokenizer, seed=0), batch)[1] == int((batch.labels >= 0).sum())


def test_what_stands_behind_a_row_changes_nothing() -> None:
    tokenizer = train_tokenizer(vocabulary=600, corpus=[one.answer for one in EXAMPLES[:200]])
    model = build(tokenizer, seed=0).eval()
    some = EXAMPLES[:6]
    with torch.inference_mode():
        together = float(loss_of(model, encode(tokenizer, some))[0])
        apart = sum(float(loss_of(model, encode(tokenizer, [one]))[0]) for one in some)
    assert together == pytest.approx(apart, rel=1e-4)


def test_a_few_steps_make_the_loss_fall() -> None:
    tokenizer = train_tokenizer(vocabulary=600, corpus=[one.answer for one in EXAMPLES[:200]])
    seen = train(build(tokenizer, seed=0), tokenizer, Recipe(steps=12, batch=8, warmup=2))
    assert len(seen) == 12
    assert sum(seen[-3:]) < sum(seen[:3]) - 1.0


def test_the_recipe_writes_a_folder_that_loads_and_answers(tmp_path: Path) -> None:
    make(tmp_path / "policy", Recipe(steps=3, batch=4), threads=1)
    model, tokenizer = load(tmp_path / "policy")
    texts, ended = answers(model, tokenizer, [[{"role": "user", "content": "Hello."}]], longest=5)
    assert (len(texts), len(ended)) == (1, 1)
    saved = {file.name for file in (tmp_path / "policy").iterdir()}
    assert saved >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    assert not (tmp_path / "policy.fresh").exists()


def test_the_command_asks_for_what_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[Path, Recipe, int]] = []
    monkeypatch.setattr("miniature.policy.make.make", lambda out, recipe, threads: asked.append((out, recipe, threads)))
    assert main(["policy", "--out", str(tmp_path), "--seed", "3", "--steps", "7", "--threads", "1"]) == 0
    assert main(["policy", "--out", str(tmp_path), "--threads", "2"]) == 0
    assert asked == [(tmp_path, Recipe(seed=3, steps=7), 1), (tmp_path, Recipe(), 2)]
