"""The skeleton of the prompt in the chat templates of several families, and in one that cannot carry it."""

from typing import Any

import pytest

from service.errors import ConfigurationError
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn
from testkit.tokenizer_families import FAMILIES, family

TURNS = (Turn("user", "My knee hurts."), Turn("assistant", "Where?"), Turn("user", "Below the cap."))
GRADER = "Look:\n<<conversation>>\n\nItem:\n<<rubric_item>>\n\nNow say. {braces} stay\n"


def test_thinking_is_switched_off_in_the_template() -> None:
    assert build_skeleton(family("qwen")).tail.endswith("<think>\n\n</think>\n\nAnswer:")


def test_a_template_without_a_system_turn_gets_the_instructions_in_the_users() -> None:
    head = build_skeleton(family("gemma")).head
    assert head.startswith("<bos><start_of_turn>user\nYou check one criterion")


def test_a_template_that_loses_the_message_is_refused() -> None:
    class Mute:
        backend_tokenizer = None

        def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: object) -> str:
            return "hello"

    with pytest.raises(ConfigurationError, match="loses or repeats"):
        build_skeleton(Mute())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_graders_layout_is_its_text_with_two_places_filled(name: str) -> None:
    """The published grader's structure, byte for byte: turns as `role: content` with a blank line between, the response
    as the last one, the criterion in its place, the instructions after it."""
    tokenizer = family(name)
    candidate = Candidate("a", TURNS, "Rest it.", (Criterion("0", "Says to rest.", 1.0),))
    made = build_skeleton(tokenizer, "healthbench", "reasoned", grader=GRADER)
    [[prompt]] = Renderer(Segmenter(tokenizer), made).render([(candidate, candidate.criteria)])
    text = Segmenter(tokenizer).decode(prompt.ids)
    turns = "user: My knee hurts.\n\nassistant: Where?\n\nuser: Below the cap.\n\nassistant: Rest it."
    filled = GRADER.replace("<<conversation>>", turns).replace("<<rubric_item>>", "Says to rest.").rstrip()
    assert filled in text


@pytest.mark.parametrize("name", FAMILIES)
def test_simple_evals_layout_shows_the_points_behind_a_system_turn(name: str) -> None:
    """As `HealthBenchEval.grade_sample` fills it with `str(RubricItem)`, and its sampler puts a system turn before it;
    where a template has no such turn the message stands alone, and nothing of it is lost."""
    tokenizer = family(name)
    points = {7.0: "[7] ", -8.0: "[-8] ", 0.5: "[0.5] ", 0.0: "[0] "}
    criteria = tuple(Criterion(str(n), "Says to rest.", n) for n in points)
    candidate = Candidate("a", TURNS, "Rest it.", criteria)
    renderer = Renderer(Segmenter(tokenizer), build_skeleton(tokenizer, "simple_evals", "reasoned", grader=GRADER))
    [prompts] = renderer.render([(candidate, criteria)])
    turns = "user: My knee hurts.\n\nassistant: Where?\n\nuser: Below the cap.\n\nassistant: Rest it."
    for prompt, shown in zip(prompts, points.values(), strict=True):
        text = Segmenter(tokenizer).decode(prompt.ids)
        filled = GRADER.replace("<<conversation>>", turns).replace("<<rubric_item>>", f"{shown}Says to rest.").rstrip()
        assert text.count(filled) == 1
        system = "You are a helpful assistant."
        assert system in text.partition(filled)[0] or not _takes_system(tokenizer, system)


def _takes_system(tokenizer: Any, system: str) -> bool:
    try:
        return system in tokenizer.apply_chat_template(
            [{"role": "system", "content": system}, {"role": "user", "content": "?"}], tokenize=False
        )
    except Exception:
        return False


@pytest.mark.parametrize("text", ["no places", "<<rubric_item>> <<conversation>>", f"{GRADER}<<rubric_item>>"])
def test_a_graders_text_without_its_two_places_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="<<conversation>>"):
        build_skeleton(family("qwen"), "healthbench", "reasoned", grader=text)


class AlwaysReasoning:
    """A chat template that opens a reasoning block in every answer, whatever `enable_thinking` is."""

    def __init__(self) -> None:
        self.backend_tokenizer = family("qwen").backend_tokenizer

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: object) -> str:
        return "".join(f"[{m['role']}] {m['content']}\n" for m in conversation) + "[assistant] <think>\n"


def test_an_open_reasoning_block_is_closed_where_one_token_is_read() -> None:
    for mode, opening in (("verdict", "Answer:"), ("implicit", "Rating:"), ("likert", "Rating:")):
        assert build_skeleton(AlwaysReasoning(), mode=mode).tail.endswith(f"<think>\n\n</think>\n\n{opening}")
    assert build_skeleton(AlwaysReasoning(), "healthbench", "verdict").tail.endswith('</think>\n\n{\n  "criteria_met":')
    writing = build_skeleton(AlwaysReasoning(), mode="reasoned")
    assert (writing.reasoning_end, writing.tail.endswith("<think>\n")) == ("</think>", True)
    assert build_skeleton(family("qwen"), mode="reasoned").reasoning_end is None
