"""The judge's prompts as files: the shipped ones load, and what is wrong with a file is said in one sentence."""

import re
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.prompting.wording import prompts_for, read_prompt, shipped_prompt
from service.rubrics.rubric import Candidate, Criterion, Turn
from testkit.processes import ROOT
from testkit.tokenizer_families import FAMILIES, family

GOOD = """
description = "Mine."
instructions = "Judge."
question = "Well, <<met>> or <<unmet>>?"
"""
SHIPPED = ("question", "bare", "examples", "examples_bare", "opposite", "sentence", "true_false")
FENCED = {"qwen", "llama3", "harmony", "deepseek", "phi", "granite", "smollm"}


def _file(tmp_path: Path, text: str, name: str = "mine.toml") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def test_every_shipped_prompt_loads_and_the_chosen_one_is_first() -> None:
    assert tuple(prompts_for("question")) == SHIPPED
    assert next(iter(prompts_for("opposite"))) == "opposite"
    assert {one.name for one in prompts_for("bare").values()} == set(SHIPPED)
    assert all(one.opposite is not None for one in prompts_for("question").values())


def test_a_file_is_one_more_prompt_under_its_name(tmp_path: Path) -> None:
    found = prompts_for(str(_file(tmp_path, GOOD)))
    assert tuple(found) == ("mine", *SHIPPED)
    assert found["mine"].in_words(("Ja", "Nein")).question == "Well, Ja or Nein?"


def test_a_label_is_put_in_once_and_is_no_place_itself(tmp_path: Path) -> None:
    mine = read_prompt(_file(tmp_path, GOOD))
    assert mine.in_words(("<<unmet>>", "<<met>>")).question == "Well, <<unmet>> or <<met>>?"


def test_a_name_that_is_neither_and_a_name_of_ours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"`prompt`: qustion is no file and no prompt of ours \(question, bare"
    ):
        prompts_for("qustion")
    with pytest.raises(ConfigurationError, match="rename the file"):
        prompts_for(str(_file(tmp_path, GOOD, "bare.toml")))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace("<<unmet>>", "no"), "`question` needs <<met>> and <<unmet>>, each once"),
        (GOOD.replace("Well", "<<met>>"), "`question` needs <<met>> and <<unmet>>, each once"),
        (GOOD.replace("Judge", "<<met>> <<met>>"), "`instructions` needs <<met>> and <<unmet>>, each once"),
        (GOOD.replace("Judge", "<<criterion>>"), "`instructions` has an unknown place <<criterion>>"),
        (GOOD.replace("Judge.", "  "), "`instructions` is empty"),
        (GOOD + 'colour = "red"', "unknown field `colour`"),
        (GOOD + 'name = "other"', "`name` is that of the file"),
        (GOOD.replace('description = "Mine."', ""), "missing required field `description`"),
        (GOOD.replace("Well", "W" * 400), "length <= 400"),
        (GOOD + 'reading = "opposite"', "needs the question `opposite`"),
        (GOOD + 'reading = "double"', "Invalid enum value 'double'"),
        (GOOD + 'labels = ["Yes", "Yes"]', "two different words"),
        (GOOD + 'labels = ["Yes"]', "length 2"),
        (GOOD + "[[examples]]\nprompt = 'a'", "missing required field `response`"),
        ("no toml", "mine.toml is no prompt"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_prompt(_file(tmp_path, text))
    assert why in str(refused.value) and "mine.toml" in str(refused.value)


@pytest.mark.parametrize("name", ["mine.txt", "My prompt.toml", "none.toml"])
def test_a_file_of_another_name_or_none_is_refused(tmp_path: Path, name: str) -> None:
    if name != "none.toml":
        _file(tmp_path, GOOD, name)
    with pytest.raises(ConfigurationError, match="is no prompt"):
        read_prompt(tmp_path / name)


@pytest.mark.parametrize("name", FAMILIES)
def test_examples_look_as_the_material_does_and_stand_before_it(name: str) -> None:
    """With the labels of the judge, in turns of their own where the template has them, else behind their lengths."""
    made = build_skeleton(family(name), wording=shipped_prompt("examples"), labels=("no", "yes"))
    [[prompt]] = Renderer(Segmenter(family(name)), made).render(
        [(Candidate("a", (Turn("user", "Hi?"),), "Hello!", ()), [Criterion("0", "Is kind.", 1.0)])]
    )
    text = Segmenter(family(name)).decode(prompt.ids)
    shown, question = text.count("# Response"), "Is it true of the response? no or yes?"
    assert (shown, text.count("# Criterion"), text.count(question)) == (5, 5, 5)
    assert [text.count(f"Answer: {label}") for label in ("no", "yes")] == [2, 2]
    assert text.index("How far is the moon?") < text.index("Hi?")
    assert ("(23 tokens)" in text or "tokens):" in text) is (name not in FENCED)


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_share_the_order_and_have_a_short_tail(name: str) -> None:
    for wording in prompts_for("question").values():
        made = build_skeleton(family(name), wording=wording)
        segmenter = Segmenter(family(name))
        [[prompt, other]] = Renderer(segmenter, made).render(
            [(Candidate("a", (Turn("user", "Hi?"),), "Hello!", ()), [Criterion("0", text, 1.0) for text in ("A", "B")])]
        )
        assert prompt.shared is other.shared
        assert len(segmenter.encode_trusted(made.tail)) < 70, wording.name


def test_the_opposite_question_has_the_same_prefix_and_label_tokens() -> None:
    for wording in prompts_for("question").values():
        plain, opposite = (
            build_skeleton(family("llama3"), wording=wording, asks_opposite=asked) for asked in (False, True)
        )
        assert plain.tail != opposite.tail
        assert (plain.head, plain.criterion, plain.labels) == (opposite.head, opposite.criterion, opposite.labels)


def test_a_prompt_without_an_opposite_question_cannot_ask_it(tmp_path: Path) -> None:
    mine = read_prompt(_file(tmp_path, GOOD))
    with pytest.raises(ConfigurationError, match="prompt `mine` has no question `opposite`"):
        build_skeleton(family("qwen"), wording=mine, asks_opposite=True)


def test_the_example_in_the_guide_is_a_prompt(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guide" / "wording.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    mine = read_prompt(_file(tmp_path, example))
    assert (mine.labels, mine.reading, len(mine.examples)) == (("Yes", "No"), "single", 1)
    for name in SHIPPED:
        assert f"| `{name}` |" in guide
