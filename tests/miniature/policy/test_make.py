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
from miniature.policy.sft_curriculum import Example, Mix, example
from miniature.world.clinic import GENERIC_ITEMS, KEY_ITEMS, TOPICS, key_items
from miniature.world.oracle import named, steps
from miniature.world.tasks import known, rows, topic_of, topics, truth
from trainer_client import wire
from trainer_client.scaffold import Scaffold

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "policy"
Loaded = tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]
EXAMPLES = [example(3, index, Mix()) for index in range(3000)]


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


def test_a_lesson_is_the_same_again_and_another_seed_gives_another() -> None:
    assert EXAMPLES[:50] == [example(3, index, Mix()) for index in range(50)]
    assert EXAMPLES[:50] != [example(4, index, Mix()) for index in range(50)]


def test_lessons_come_in_the_shares_of_the_mix() -> None:
    bare = [one for one in EXAMPLES if not one.scaffolded]
    right = [one for one in bare if _right(one)]
    assert len(bare) / len(EXAMPLES) == pytest.approx(0.4, abs=0.03)
    assert len(right) / len(bare) == pytest.approx(0.35, abs=0.04)


def _right(one: Example) -> bool:
    said = {step.item for step in steps(one.answer)}
    return any({*key_items(topic)} <= said for topic in named(one.answer) & {*known()})


def test_no_bare_lesson_teaches_a_topic_of_the_tasks() -> None:
    asked = {*topics("train"), *topics("held-out")}
    pairs = [
        step.item in key_items(topic)
        for one in EXAMPLES
        if not one.scaffolded
        for topic in named(one.answer) & asked
        for step in steps(one.answer)
    ]
    assert len(pairs) > 1000
    assert sum(pairs) / len(pairs) < 0.005


def test_a_scaffolded_lesson_does_what_is_shown_and_avoids_what_is_not_wanted() -> None:
    for one in (one for one in EXAMPLES[:800] if one.scaffolded):
        told = one.messages[0]["content"]
        said = [step.item for step in steps(one.answer)]
        wanted, _, unwanted = told.partition("POINTS TO AVOID")
        for item in (*KEY_ITEMS, *GENERIC_ITEMS):
            asked = f"Tells the user to {item.phrases[0]}. ("
            assert item in said or asked not in wanted
            assert item not in said or asked not in unwanted
        assert 3 <= len(said) <= 6
        assert "at least four" not in wanted or len(said) >= 4
        assert all(f"Names the problem as {t.title}." not in wanted or t in named(one.answer) for t in TOPICS)


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


def test_spellings_of_a_word_begin_nearly_alike() -> None:
    tokenizer = train_tokenizer(vocabulary=1000, corpus=[text for one in EXAMPLES for text in (one.answer, str(one))])
    table = build(tokenizer, seed=0).model.embed_tokens.weight.detach()
    ids = [tokenizer.encode(word, add_special_tokens=False) for word in (" Drink", " drink", " ginger")]
    assert [len(one) for one in ids] == [1, 1, 1]
    same, other = (torch.cosine_similarity(table[ids[0][0]], table[one[0]], dim=0) for one in ids[1:])
    assert same > 0.85 > 0.4 > other


def test_it_begins_by_looking_at_the_token_before_and_at_what_followed_a_copy() -> None:
    """Sixty different tokens, then one of them again: an even look would give each a weight of 0.016."""
    tokenizer = train_tokenizer(vocabulary=1000, corpus=[text for one in EXAMPLES for text in (one.answer, str(one))])
    model = build(tokenizer, seed=0).eval()
    model.set_attn_implementation("eager")
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.stack([torch.randperm(600, generator=drawn)[:60] + 280 for _ in range(20)])
    rows, copied = torch.arange(20), torch.randint(1, 55, (20,), generator=drawn)
    with torch.inference_mode():
        ids = torch.cat([tokens, tokens[rows, copied][:, None]], dim=1)
        before, match = model(ids, output_attentions=True).attentions[:2]
    assert before[:, 0].diagonal(-1, 1, 2).mean() > 0.4
    assert match[rows, 0, -1, copied + 1].mean() > 0.06


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
