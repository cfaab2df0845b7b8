"""The judge's prompt as a skeleton of trusted text with holes, rendered once through the model's chat template.

Always true: the order is instructions, conversation, reference, response, criterion; the criterion comes last, and only
the template's own closing follows it.
"""

from dataclasses import dataclass
from pathlib import Path

import jinja2

from service.errors import ConfigurationError
from service.scoring.segments import ChatTokenizer

_TEMPLATES = Path(__file__).parent / "templates"
_HOLE = "RUBRICD-HOLE-9f2c"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """`head` stands before the conversation, `tail` after the criterion, as text with control tokens."""

    name: str
    head: str
    tail: str
    conversation: str = "# Conversation\n"
    turn: str = "{role}: "
    between_turns: str = "\n"
    reference: str = "\n\n# Reference answer\n"
    response: str = "\n\n# Response\n"
    criterion: str = "\n\n# Criterion\n"

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
            self.tail,
        )


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


def skeleton(tokenizer: ChatTokenizer, name: str = "rubricd") -> Skeleton:
    """The layout `name` in the model's chat template. Raises ConfigurationError where the template cannot carry it."""
    instructions = (_TEMPLATES / f"{name}.txt").read_text(encoding="utf-8").strip()
    try:
        rendered = _with_instructions(tokenizer, instructions)
    except (jinja2.TemplateError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"the judge's chat template cannot be rendered: {error}") from error
    head, hole, tail = rendered.partition(_HOLE)
    if not hole or _HOLE in tail or instructions not in head:
        raise ConfigurationError("the judge's chat template loses or repeats the message; name a chat model as judge")
    return Skeleton(name=name, head=head, tail=tail)
