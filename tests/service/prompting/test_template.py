"""The skeleton of the prompt in the chat templates of several families, and in one that cannot carry it."""

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
