"""The SFT curriculum: its shares, and what its examples teach and do not."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from miniature.policy.sft_curriculum import Example, Mix, example
from miniature.world.clinic import GENERIC_ITEMS, KEY_ITEMS, TOPICS, key_items
from miniature.world.oracle import named, steps
from miniature.world.tasks import known, topics
from tests.miniature.policy.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "policy"
Loaded = tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]


def test_an_example_is_the_same_again_and_another_seed_gives_another() -> None:
    assert EXAMPLES[:50] == [example(3, index, Mix()) for index in range(50)]
    assert EXAMPLES[:50] != [example(4, index, Mix()) for index in range(50)]


def test_examples_come_in_the_shares_of_the_mix() -> None:
    bare = [one for one in EXAMPLES if not one.scaffolded]
    right = [one for one in bare if _right(one)]
    assert len(bare) / len(EXAMPLES) == pytest.approx(0.4, abs=0.03)
    assert len(right) / len(bare) == pytest.approx(0.35, abs=0.04)


def _right(one: Example) -> bool:
    said = {step.item for step in steps(one.answer)}
    return any({*key_items(topic)} <= said for topic in named(one.answer) & {*known()})


def test_no_bare_example_teaches_a_topic_of_the_tasks() -> None:
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


def test_a_scaffolded_example_does_what_is_shown_and_avoids_what_is_not_wanted() -> None:
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
