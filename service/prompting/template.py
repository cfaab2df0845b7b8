"""Builds the judge's prompt as a skeleton of trusted text with holes, rendered once through the model's chat template.

Guarantees: the order is instructions, conversation, reference, response, criterion; only the template's own closing
follows the criterion. (In layout `healthbench`, the published grader's, that closing is long: most of its instructions
stand after the criterion.) Where a model whose template opens a reasoning block is queried for one token, the block is
closed; where it generates, `opens_reasoning` tells the mode to let it finish.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2

from service.errors import ConfigurationError
from service.prompting.tokenization import ChatTokenizer

Mode = str

_TEMPLATES = Path(__file__).parent / "templates"
_HOLE = "RUBRICD-HOLE-9f2c"
_OPEN_REASONING = re.compile(r"<think>(?!.*</think>)\s*$", re.DOTALL)
_PLACES = re.compile(r"<<conversation>>(?P<between>.*)<<rubric_item>>", re.DOTALL)
REASONING_END = "</think>"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The trusted text around what a caller sends, with control tokens.

    `head` stands before the conversation, `tail` after the criterion. `item` opens each criterion where several are
    listed, with its weight for `{weight}`. `opens_reasoning`: the tail ends in an open reasoning block. `referable`:
    there is a place for a reference answer.
    """

    name: str
    head: str
    tail: str
    conversation: str = "# Conversation\n"
    turn: str = "{role}: "
    between_turns: str = "\n"
    reference: str = "\n\n# Reference answer\n"
    response: str = "\n\n# Response\n"
    criterion: str = "\n\n# Criterion\n"
    item: str = ""
    opens_reasoning: bool = False
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
            self.criterion,
            self.item,
            self.tail,
        )


def build_skeleton(
    tokenizer: ChatTokenizer, layout: str = "rubricd", mode: Mode = "verdict", *, grader: str | None = None
) -> Skeleton:
    """Builds the layout's skeleton for the mode, in the model's chat template. `grader` replaces the text of layout
    `healthbench`. Raises ConfigurationError where the template cannot carry it, or the layout has no such mode."""
    builders: dict[tuple[str, Mode], Callable[[], Skeleton]] = {
        ("rubricd", "verdict"): lambda: _rubricd(tokenizer, mode),
        ("rubricd", "reasoned"): lambda: _rubricd(tokenizer, mode),
        ("rubricd", "implicit"): lambda: replace(
            _rubricd(tokenizer, mode), criterion="\n\n# Rubric", item="\n- [{weight}] "
        ),
        ("rubricd", "likert"): lambda: replace(_rubricd(tokenizer, mode), criterion=""),
        ("healthbench", "verdict"): lambda: _healthbench(tokenizer, grader, before_label='{\n  "criteria_met":'),
        ("healthbench", "reasoned"): lambda: _healthbench(tokenizer, grader, before_label=None),
    }
    if (layout, mode) not in builders:
        raise ConfigurationError(f"layout `{layout}` has no mode `{mode}`")
    skeleton = builders[layout, mode]()
    if mode == "reasoned":
        return replace(skeleton, opens_reasoning=bool(_OPEN_REASONING.search(skeleton.tail)))
    return skeleton


def _rubricd(tokenizer: ChatTokenizer, mode: Mode) -> Skeleton:
    instructions = (_TEMPLATES / f"rubricd_{mode}.txt").read_text(encoding="utf-8").strip()
    head, tail = _split(tokenizer, lambda: _with_instructions(tokenizer, instructions), instructions)
    return Skeleton(name="rubricd", head=head, tail=tail if mode == "reasoned" else _with_reasoning_closed(tail))


def _healthbench(tokenizer: ChatTokenizer, grader: str | None, before_label: str | None) -> Skeleton:
    """Makes a skeleton of the grader's text with its two places: one user turn, the response as the last in it."""
    text = (_TEMPLATES / "healthbench.txt").read_text(encoding="utf-8") if grader is None else grader
    found = _PLACES.search(text)
    if found is None or text.count("<<conversation>>") != 1 or text.count("<<rubric_item>>") != 1:
        raise ConfigurationError("the grader's text needs <<conversation>> and, after it, <<rubric_item>>, each once")
    before, after = text[: found.start()], text[found.end() :].rstrip()
    chat = [{"role": "user", "content": f"{before}{_HOLE}{after}"}]
    head, tail = _split(tokenizer, lambda: _render(tokenizer, chat), before.strip())
    return Skeleton(
        name="healthbench",
        head=head,
        tail=tail if before_label is None else _with_reasoning_closed(tail) + before_label,
        conversation="",
        between_turns="\n\n",
        response="\n\nassistant: ",
        criterion=found.group("between"),
        referable=False,
    )


def _split(tokenizer: ChatTokenizer, render: Callable[[], str], must_hold: str) -> tuple[str, str]:
    """Returns the text before and after the hole. Raises ConfigurationError unless the template kept the message."""
    try:
        rendered = render()
    except (jinja2.TemplateError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"the judge's chat template cannot be rendered: {error}") from error
    head, hole, tail = rendered.partition(_HOLE)
    if not hole or _HOLE in tail or must_hold not in head:
        raise ConfigurationError("the judge's chat template loses or repeats the message; name a chat model as judge")
    return head, tail


def _with_reasoning_closed(tail: str) -> str:
    return f"{tail.rstrip()}\n\n{REASONING_END}\n\n" if _OPEN_REASONING.search(tail) else tail


def _render(tokenizer: ChatTokenizer, messages: list[dict[str, str]]) -> str:
    # Templates of models that can reason or not take `enable_thinking`; others ignore it.
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    )


def _with_instructions(tokenizer: ChatTokenizer, instructions: str) -> str:
    """Renders the chat with the instructions as system turn, or before the user's text where a template has none."""
    user = {"role": "user", "content": _HOLE}
    try:
        rendered = _render(tokenizer, [{"role": "system", "content": instructions}, user])
        if instructions in rendered:
            return rendered
    except (jinja2.TemplateError, ValueError):
        pass
    return _render(tokenizer, [{"role": "user", "content": f"{instructions}\n\n{_HOLE}"}])
