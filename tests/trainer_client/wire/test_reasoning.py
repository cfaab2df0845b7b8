"""Reasoning and answer: every form that policies write, and what must be left as it is."""

import random
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_client.wire.reasoning import KNOWN, Ending, Tags, begins_with_reasoning, opened_in, split

ANSWER = 'Drink ginger tea. It is "good".'
THINK = Tags("<think>", "</think>")
PREFILLED = Tags("<think>", "</think>", prefilled=True)
NOT_PREFILLED = Tags("<think>", "</think>", prefilled=False)
GPT_OSS = "<|channel|>analysis<|message|>I could say: rest.<|end|><|start|>assistant"

FORMS: dict[str, tuple[str, Tags | None]] = {
    "tagged": (f"<think>\nI could say: rest.\n</think>\n\n{ANSWER}", None),
    "on one line": (f"<think>I could say: rest.</think>{ANSWER}", THINK),
    "behind white space": (f"\n <think>I could say: rest.</think> {ANSWER}\n", None),
    "prefilled": (f"I could say: rest.\n</think>\n\n{ANSWER}", None),
    "prefilled, as the caller says": (f"I could say: rest.</think>{ANSWER}", PREFILLED),
    "prefilled and opened again": (f"<think>I could say: rest.</think>{ANSWER}", PREFILLED),
    "empty block": (f"<think>\n\n</think>\n\n{ANSWER}", None),
    "nested": (f"<think>a <think>b</think> c</think>{ANSWER}", None),
    "nested, prefilled": (f"a <think>b</think> c</think>{ANSWER}", PREFILLED),
    "repeated": (f"<think>a</think>\n<think>b</think>\n{ANSWER}", None),
    "closed twice": (f"<think>a</think> b </think>{ANSWER}", None),
    "prefilled, closed twice": (f"a</think> b </think>{ANSWER}", None),
    "an opening tag is mentioned": (f"<think>I write in <think> tags.</think>{ANSWER}", None),
    "a closing tag is quoted": (f"<think>I end with `</think>`, then I answer.</think>{ANSWER}", None),
    "the end stands between quotation marks": (f'<think>He said "rest"</think>"{ANSWER}', None),
    "more at the end": (f"<think>a</think>{ANSWER}<think>b</think>", None),
    "channels": (f"{GPT_OSS}<|channel|>final<|message|>{ANSWER}<|return|>", None),
    "channels, from the start": (f"<|start|>assistant{GPT_OSS}<|channel|>final<|message|>{ANSWER}", None),
    "channels, with a header": (f"{GPT_OSS}<|channel|>final <|constrain|>json<|message|>{ANSWER}<|end|>", None),
    "channels, whatever tags are given": (f"{GPT_OSS}<|channel|>final<|message|>{ANSWER}", THINK),
    "channels, final alone": (f"<|channel|>final<|message|>{ANSWER}<|return|>", None),
    "channels, with a call": (
        f"{GPT_OSS}<|channel|>commentary to=functions.look<|message|>{{}}<|call|>{GPT_OSS}"
        f"<|channel|>final<|message|>{ANSWER}",
        None,
    ),
    "channels without special tokens": (f"analysisI could say: rest.assistantfinal{ANSWER}", None),
    "own tags": (f"<plan>rest</plan>{ANSWER}", Tags("<plan>", "</plan>")),
    **{f"{tags.open}": (f"{tags.open}I could say: rest.{tags.close}\n{ANSWER}", None) for tags in KNOWN},
    **{f"{tags.open} prefilled": (f"I could say: rest.{tags.close}\n{ANSWER}", None) for tags in KNOWN},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_answer_is_what_a_reader_is_shown(form: str) -> None:
    text, tags = FORMS[form]
    found = split(text, tags)
    if form == "the end stands between quotation marks":
        assert found.answer == f'"{ANSWER}'
    else:
        assert found.answer == ANSWER
    assert found.ended in ("finished", "none") and (found.ended == "finished" or form == "channels, final alone")


UNFINISHED: dict[str, tuple[str, Tags | None]] = {
    "tagged": ("<think>I could say: rest.", None),
    "prefilled": ("I could say: rest.", PREFILLED),
    "prefilled, nothing written": ("", PREFILLED),
    "in the second block": ("<think>a</think><think>I could say: rest.", None),
    "nested": ("<think>a <think>b</think> c <think>d", None),
    "channels": ("<|channel|>analysis<|message|>I could say: rest.", None),
    "channels, between two": (GPT_OSS, None),
    "channels, in a header": ("<|channel|>ana", None),
    "the tag alone": ("<think>", None),
    "own tags": ("<plan>rest", Tags("<plan>", "</plan>")),
}


@pytest.mark.parametrize("form", UNFINISHED)
def test_reasoning_without_an_end_leaves_an_empty_answer(form: str) -> None:
    text, tags = UNFINISHED[form]
    found = split(text, tags)
    assert (found.answer, found.ended) == ("", "unfinished")


def test_an_answer_before_a_block_without_an_end_is_an_answer_that_was_cut() -> None:
    found = split("Rest. <think>I repeat the points", THINK)
    assert (found.answer, found.ended) == ("Rest.", "unfinished")


def test_reasoning_alone_has_an_end_and_an_empty_answer() -> None:
    assert split("<think>a</think>\n") == split("a</think>\n", PREFILLED)
    assert split("<think>a</think>\n").ended == "finished" and not split("<think>a</think>\n").answer


UNTOUCHED: dict[str, tuple[str, Tags | None]] = {
    "quoted in code": ("Write `</think>` at the end.", None),
    "both quoted": ('Between "<think>" and "</think>" a model reasons. ', None),
    "quoted, typographic": ("It ends with \u201c</think>\u201d.", THINK),
    "a policy whose template opens nothing": ("It ends with </think> and goes on.", NOT_PREFILLED),
    "other tags": ("<b>bold</b> </thinker> [think] <think", None),
    "analysis of something": (" analysis of variance is a method\n", None),
    "empty": ("", None),
}


@pytest.mark.parametrize("form", UNTOUCHED)
def test_what_is_no_reasoning_is_left_as_it_is(form: str) -> None:
    text, tags = UNTOUCHED[form]
    found = split(text, tags)
    assert (found.answer, found.reasoning, found.ended) == (text, "", "none")


def test_10_000_random_texts_without_tags_are_untouched() -> None:
    rng = random.Random(0)
    pieces = [*string.printable, "think", "thinking", "</", "channel", "final", "assistant", "▷", "`\u201c"]
    wrong = 0
    for _ in range(10_000):
        text = "".join(rng.choices(pieces, k=rng.randrange(60)))
        if any(tag in text for tags in KNOWN for tag in (tags.open, tags.close)):
            continue
        wrong += any(split(text, tags).answer != text for tags in (None, THINK, NOT_PREFILLED))
        wrong += begins_with_reasoning(text)
    assert wrong == 0


_PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="<>[]◁▷|`\"'"), max_size=40)


@settings(max_examples=300)
@given(reasoning=_PLAIN, answer=_PLAIN, family=st.sampled_from(KNOWN), prefilled=st.booleans())
def test_what_was_put_together_is_taken_apart(reasoning: str, answer: str, family: Tags, prefilled: bool) -> None:
    text = f"{'' if prefilled else family.open}{reasoning}{family.close}{answer}"
    found = split(text, Tags(family.open, family.close, prefilled))
    assert (found.answer, found.ended) == (answer.strip(), "finished")
    assert found.reasoning == reasoning
    cut = text[: len(text) - len(answer) - 1]
    assert split(cut, Tags(family.open, family.close, prefilled)).answer == ""


_MARKS = st.lists(st.sampled_from(["<think>", "</think>", "a", "`", " ", "</think>`", "`<think>", "\n"]), max_size=12)


@settings(max_examples=500)
@given(marks=_MARKS, tags=st.sampled_from([None, THINK, PREFILLED, NOT_PREFILLED]))
def test_no_order_of_tags_invents_text(marks: list[str], tags: Tags | None) -> None:
    text = "".join(marks)
    found = split(text, tags)
    assert found.ended != "none" or found.answer == text
    rest = iter(text)
    assert all(character in rest for character in found.answer)  # a subsequence


BEGINS: list[tuple[str, bool]] = [
    ("<think>a</think>b", True),
    ("  \n<think>", True),
    ("a\n</think>\n\nb", True),
    ("[THINK]a[/THINK]b", True),
    ("<|channel|>analysis<|message|>a", True),
    ("analysisa.assistantfinalb", True),
    ("Rest.", False),
    ("Use `</think>` to end.", False),
    ("The tag <think> begins it.", False),
    ("analysis of it", False),
    ("", False),
]


@pytest.mark.parametrize(("text", "begins"), BEGINS)
def test_a_response_that_begins_with_reasoning_is_known(text: str, begins: bool) -> None:
    assert begins_with_reasoning(text) is begins


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [("<|assistant|><think>\n", "<think>"), ("<think>\n\n</think>\n\n", ""), ("[THINK]", "[THINK]")],
)
def test_a_prompt_that_opens_the_reasoning_is_known(prompt: str, opened: str) -> None:
    assert opened_in(prompt) == opened


def test_hostile_texts_take_time_in_proportion_to_their_length() -> None:
    channel = "<|channel|>final<|message|>"
    for piece in ("<think>", "</think>", "<think></think>", " ", "`<think>`", channel, "<", "analysis"):
        text = piece * (200_000 // len(piece))
        started = time.process_time()
        split(text)
        begins_with_reasoning(text)
        assert time.process_time() - started < 1.0, piece


def test_endings_are_the_three_that_the_type_names() -> None:
    assert set(Ending.__args__) == {"none", "finished", "unfinished"}  # type: ignore[attr-defined]
