"""The judge's prompt as a skeleton of trusted text with holes, rendered once through the model's chat template.

Always true: the order is instructions, conversation, reference, response, criterion; the criterion comes last, and only
the template's own closing follows it. (In layout `healthbench`, the published grader's, that closing is long: most of
its instructions stand after the criterion.) A model that would think aloud before it answers is not left in the middle
of a thought: where it is asked for one token its thought is closed, and `thinks` says so where it writes.
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
    """`head` stands before the conversation, `tail` after the criterion, as text with control tokens. `item` opens each
    criterion where several are listed, with its weight for `{weight}`. `referable`: there is a place for a reference.
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
        """Every byte of the template, for the fingerprint."""
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
    """The layout's skeleton for the mode, in the model's chat template. `grader` replaces the text of layout
    `healthbench`. Raises ConfigurationError where the template cannot carry it, or the layout has no such mode."""
    makers: dict[tuple[str, Mode], Callable[[], Skeleton]] = {
        ("rubricd", "verdict"): lambda: _rubricd(tokenizer, mode),
        ("rubricd", "reasoned"): lambda: _rubricd(tokenizer, mode),
        ("rubricd", "implicit"): lambda: replace(
            _rubricd(tokenizer, mode), criterion="\n\n# Rubric", item="\n- [{weight}] "
        ),
        ("rubricd", "likert"): lambda: replace(_rubricd(tokenizer, mode), criterion=""),
        ("healthbench", "verdict"): lambda: _healthbench(tokenizer, grader, before_label='{\n  "criteria_met":'),
        ("healthbench", "reasoned"): lambda: _healthbench(tokenizer, grader, before_label=None),
    }
    if (layout, mode) not in makers:
        raise ConfigurationError(f"layout `{layout}` has no mode `{mode}`")
    made = makers[layout, mode]()
    if mode == "reasoned":
        return replace(made, opens_reasoning=bool(_OPEN_REASONING.search(made.tail)))
    return made


def _rubricd(tokenizer: ChatTokenizer, mode: Mode) -> Skeleton:
    instructions = (_TEMPLATES / f"rubricd_{mode}.txt").read_text(encoding="utf-8").strip()
    head, tail = _split(tokenizer, lambda: _with_instructions(tokenizer, instructions), instructions)
    return Skeleton(name="rubricd", head=head, tail=tail if mode == "reasoned" else _with_reasoning_closed(tail))


def _healthbench(tokenizer: ChatTokenizer, grader: str | None, before_label: str | None) -> Skeleton:
    """The grader's text with its two places as a skeleton: one user turn, the response as the conversation's last."""
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
    """What stands before and after the hole. Raises ConfigurationError unless the chat template kept the message."""
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
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    )


def _with_instructions(tokenizer: ChatTokenizer, instructions: str) -> str:
    """The rendered chat, instructions as system turn, or heading the user's where a template has none."""
    user = {"role": "user", "content": _HOLE}
    try:
        rendered = _render(tokenizer, [{"role": "system", "content": instructions}, user])
        if instructions in rendered:
            return rendered
    except (jinja2.TemplateError, ValueError):
        pass
    return _render(tokenizer, [{"role": "user", "content": f"{instructions}\n\n{_HOLE}"}])
