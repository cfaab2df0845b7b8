"""Builds the judge's prompt as a skeleton of trusted text with holes, rendered once through the model's chat template.

Guarantees: the order is instructions, conversation, reference, response, criterion; after the criterion come one short
question, the template's own closing, and the words that open the answer. In layout `rubricd` a prompt can be read in
one way only: two requests of different texts have different token ids. Each text stands in a turn of its own, behind
control tokens that no text can produce; where a chat template refuses or merges such turns, its header says how many
tokens it has. Layout `healthbench` is the published grader's, with most of its instructions after the criterion, and
is ambiguous as it is: a response that contains `user: ` reads like a turn.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.errors import ConfigurationError
from service.prompting.chat_frame import NO_ARGUMENTS, ChatFrame, frame_chat, frame_message
from service.prompting.tokenization import ChatTokenizer

Mode = str
YES_NO = ("Yes", "No")
RATING_DIGITS = tuple("0123456789")

_TEMPLATES = Path(__file__).parent / "templates"
_PLACES = re.compile(r"<<conversation>>(?P<between>.*)<<rubric_item>>", re.DOTALL)
# What may end the tail, and begin the label. Most tokenizers have a word with the space before it as one token, and a
# digit without it; where neither is so, the label begins a line.
_BEFORE_WORD = (("", " "), (" ", ""), ("\n", ""))
_BEFORE_DIGIT = ((" ", ""), ("\n", ""))


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The trusted text around what a caller sends, with control tokens.

    `head` stands before the conversation, `tail` after the last text. The others are headers, each directly before its
    text; `{length}` in one is the text's number of tokens. `trajectory` stands before the header of a response's first
    turn, where it has turns. `item` opens each criterion where several are listed, with its weight for `{weight}`.
    `labels`: the words that the question asks for, each one token behind one of `label_gaps` (what ends the tail, what
    begins the label). `reasoning_end`: the token that ends the reasoning block in which the tail ends. `referable`:
    there is a place for a reference answer.
    """

    name: str
    head: str
    tail: str
    conversation: str = "# Conversation\n"
    turn: str = "{role}:\n"
    between_turns: str = ""
    reference: str = "# Reference answer\n"
    response: str = "# Response\n"
    trajectory: str = "# Response, turn by turn\n"
    criterion: str = "# Criterion\n"
    item: str = ""
    labels: tuple[str, ...] = ()
    label_gaps: tuple[tuple[str, str], ...] = (("", ""),)
    reasoning_end: str | None = None
    referable: bool = True

    @property
    def fixed_text(self) -> tuple[str, ...]:
        """Returns every byte of the template, for the fingerprint."""
        return (
            self.name,
            self.head,
            self.conversation,
            self.turn,
            self.between_turns,
            self.reference,
            self.response,
            self.trajectory,
            self.criterion,
            self.item,
            self.tail,
        )


def build_skeleton(
    tokenizer: ChatTokenizer,
    layout: str = "rubricd",
    mode: Mode = "verdict",
    *,
    grader: str | None = None,
    labels: tuple[str, str] = YES_NO,
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
) -> Skeleton:
    """Builds the layout's skeleton for the mode, in the model's chat template, which gets `arguments`. `grader`
    replaces the text of layout `healthbench`, `labels` the words that mode `verdict` asks for. Raises
    ConfigurationError where the template cannot carry it, or the layout has no such mode."""
    builders: dict[tuple[str, Mode], Callable[[], Skeleton]] = {
        ("rubricd", "verdict"): lambda: _verdict(tokenizer, labels, arguments),
        ("rubricd", "reasoned"): lambda: _reasoned(tokenizer, arguments),
        ("rubricd", "implicit"): lambda: _rating(tokenizer, "implicit", arguments),
        ("rubricd", "likert"): lambda: _rating(tokenizer, "likert", arguments),
        ("healthbench", "verdict"): lambda: _healthbench(
            tokenizer, grader, arguments, before_label='{\n  "criteria_met":'
        ),
        ("healthbench", "reasoned"): lambda: _healthbench(tokenizer, grader, arguments, before_label=None),
    }
    if (layout, mode) not in builders:
        raise ConfigurationError(f"layout `{layout}` has no mode `{mode}`")
    return builders[layout, mode]()


def rubricd_texts(mode: Mode, labels: tuple[str, str] = YES_NO) -> tuple[str, str]:
    """Returns the instructions and the question of a mode in layout `rubricd`, with the labels put in."""
    text = (_TEMPLATES / f"rubricd_{mode}.txt").read_text(encoding="utf-8")
    instructions, _, question = (
        text.replace("<<met>>", labels[0]).replace("<<unmet>>", labels[1]).partition("<<material>>")
    )
    return instructions.strip(), question.strip()


def _verdict(tokenizer: ChatTokenizer, labels: tuple[str, str], arguments: Mapping[str, Any]) -> Skeleton:
    skeleton, frame = _rubricd(tokenizer, rubricd_texts("verdict", labels), arguments)
    tail = f"{skeleton.tail}{frame.tail_after_reasoning}Answer:"
    return replace(skeleton, tail=tail, labels=labels, label_gaps=_BEFORE_WORD)


def _reasoned(tokenizer: ChatTokenizer, arguments: Mapping[str, Any]) -> Skeleton:
    skeleton, frame = _rubricd(tokenizer, rubricd_texts("reasoned"), arguments)
    return replace(skeleton, tail=skeleton.tail + frame.tail, reasoning_end=frame.reasoning_end)


def _rating(tokenizer: ChatTokenizer, mode: Mode, arguments: Mapping[str, Any]) -> Skeleton:
    skeleton, frame = _rubricd(tokenizer, rubricd_texts(mode), arguments)
    return replace(
        skeleton,
        criterion="",
        item=skeleton.criterion.replace("# Criterion", "# Criterion, {weight}") if mode == "implicit" else "",
        tail=f"{skeleton.tail}{frame.tail_after_reasoning}Rating:",
        labels=RATING_DIGITS,
        label_gaps=_BEFORE_DIGIT,
    )


def _rubricd(
    tokenizer: ChatTokenizer, texts: tuple[str, str], arguments: Mapping[str, Any]
) -> tuple[Skeleton, ChatFrame]:
    """Returns the skeleton whose tail is the question alone, and the frame whose tail belongs behind it."""
    instructions, question = texts
    frame = frame_chat(tokenizer, instructions, arguments)
    gap, length = ("\n\n", " ({length} tokens)") if frame.fence is None else (frame.fence, "")
    skeleton = Skeleton(
        name="rubricd",
        head=frame.head,
        tail=f"\n\n{question}",
        turn=f"{{role}}{length}:\n",
        between_turns=gap,
        reference=f"{gap}# Reference answer{length}\n",
        response=f"{gap}# Response{length}\n",
        trajectory=f"{gap}# Response, turn by turn. What a tool says is not said by the assistant.\n",
        criterion=f"{gap}# Criterion{length}\n",
    )
    return skeleton, frame


def _healthbench(
    tokenizer: ChatTokenizer, grader: str | None, arguments: Mapping[str, Any], before_label: str | None
) -> Skeleton:
    """Makes a skeleton of the grader's text with its two places: one user turn, the response as the last in it."""
    text = (_TEMPLATES / "healthbench.txt").read_text(encoding="utf-8") if grader is None else grader
    found = _PLACES.search(text)
    if found is None or text.count("<<conversation>>") != 1 or text.count("<<rubric_item>>") != 1:
        raise ConfigurationError("the grader's text needs <<conversation>> and, after it, <<rubric_item>>, each once")
    frame = frame_message(tokenizer, text[: found.start()], text[found.end() :].rstrip(), arguments)
    return Skeleton(
        name="healthbench",
        head=frame.head,
        tail=frame.tail if before_label is None else frame.tail_after_reasoning + before_label,
        conversation="",
        turn="{role}: ",
        between_turns="\n\n",
        response="\n\nassistant: ",
        trajectory="\n\n",
        criterion=found.group("between"),
        reasoning_end=frame.reasoning_end if before_label is None else None,
        referable=False,
    )
