"""Renders the judge's chat template once, with holes, and cuts it into the trusted text around what a caller sends.

Guarantees: the template renders the same text on every day: a template that prints the date gets a fixed one. Where a
model's answers begin with reasoning, and its chat template or its generation prompt shows how, the frame of a query for
one token closes the reasoning before the answer.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import jinja2

from service.errors import ConfigurationError
from service.prompting.tokenization import ChatTokenizer, control_ids

NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})
FROZEN_DATE = datetime(2024, 7, 26)
"""Templates that print today's date print this one. It is the date that Llama 3.1's own template falls back to."""

_HOLES = ("RUBRICD-HOLE-9f2c-1", "RUBRICD-HOLE-9f2c-2", "RUBRICD-HOLE-9f2c-3")
_ANSWER = "RUBRICD-HOLE-9f2c-answer"
# Families that can reason or not switch it off by one of these; other templates ignore them.
_WITHOUT_REASONING: Mapping[str, Any] = {"enable_thinking": False, "thinking": False, "thinking_budget": 0}
# Opening and end of the reasoning block: Qwen, DeepSeek and many more; Seed-OSS; EXAONE Deep; Kimi's first models.
_BLOCKS = (
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("<thought>", "</thought>"),
    ("◁think▷", "◁/think▷"),
)
_OPENED = {end: re.compile(rf"{re.escape(opening)}(?!.*{re.escape(end)})\s*$", re.DOTALL) for opening, end in _BLOCKS}


Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class ExampleTurns:
    """Worked examples as chat turns: `fenced` with a turn for each text, `joined` with one turn of the user for each
    example, for templates that refuse two turns of the user in a row."""

    fenced: Sequence[Message] = ()
    joined: Sequence[Message] = ()


NO_EXAMPLES = ExampleTurns()


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """`head` stands before the first part of the prompt and `tail` after the last one. `fence` is the template's own
    text between two turns of the user, with control tokens in it; None where the template refuses or merges them."""

    head: str
    tail: str
    fence: str | None

    @property
    def reasoning_end(self) -> str | None:
        """The token that ends the reasoning block in which the tail ends, None where it ends in none."""
        return _open_block(self.tail)

    @property
    def tail_after_reasoning(self) -> str:
        """The tail with an empty reasoning block where it ends in an open one."""
        end = self.reasoning_end
        return self.tail if end is None else f"{self.tail.rstrip()}\n\n{end}\n\n"


def frame_chat(
    tokenizer: ChatTokenizer,
    instructions: str,
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
    examples: ExampleTurns = NO_EXAMPLES,
) -> ChatFrame:
    """Returns the frame with the instructions as system turn, or before the user's text where a template has no such
    turn, and then the examples. Raises ConfigurationError where the template cannot carry them, or has no such
    argument."""
    _refuse_unknown(tokenizer, arguments)
    chats = (
        messages
        for turns in (3, 1)
        for messages in _chats(instructions, examples.fenced if turns > 1 else examples.joined, turns)
    )
    return _first_frame(tokenizer, chats, arguments)


def frame_message(
    tokenizer: ChatTokenizer,
    before: str,
    after: str,
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
    system: str | None = None,
) -> ChatFrame:
    """Returns the frame of one user's message that begins and ends with these texts, behind the turn `system` where it
    is given and the template has such turns. Raises ConfigurationError."""
    _refuse_unknown(tokenizer, arguments)
    message = {"role": "user", "content": f"{before}{_HOLES[0]}{after}"}
    chats = [[message]] if system is None else [[{"role": "system", "content": system}, message], [message]]
    return _first_frame(tokenizer, chats, arguments)


def _first_frame(
    tokenizer: ChatTokenizer, chats: Iterable[Sequence[Message]], arguments: Mapping[str, Any]
) -> ChatFrame:
    """Returns the frame of the first chat that the template can carry. Raises ConfigurationError where it is none."""
    failure: Exception | None = None
    for messages in chats:
        try:
            frame = _frame(tokenizer, messages, arguments)
        except (jinja2.TemplateError, ValueError, TypeError, AttributeError) as error:
            failure = error
            continue
        if frame is not None:
            return frame
    if failure is not None:
        raise ConfigurationError(f"the judge's chat template cannot be rendered: {failure}") from failure
    raise ConfigurationError("the judge's chat template loses or repeats the message; name a chat model as judge")


def _chats(instructions: str, examples: Sequence[Message], turns: int) -> Iterator[list[Message]]:
    """The instructions as a system turn, then at the beginning of the first user's."""
    users = [*examples, *({"role": "user", "content": hole} for hole in _HOLES[:turns])]
    yield [{"role": "system", "content": instructions}, *users]
    yield [{"role": "user", "content": f"{instructions}\n\n{users[0]['content']}"}, *users[1:]]


def _frame(tokenizer: ChatTokenizer, messages: Sequence[Message], arguments: Mapping[str, Any]) -> ChatFrame | None:
    """Cuts the rendered chat at its holes. Returns None where a text is lost, merged or repeated."""
    rendered = _render(tokenizer, messages, arguments)
    holes = [hole for hole in _HOLES if any(hole in message["content"] for message in messages)]
    before, _, _ = rendered.partition(_HOLES[0])
    if any(rendered.count(hole) != 1 for hole in holes) or not _in_order(_texts_before_the_hole(messages), before):
        return None
    head, *fences, tail = re.split("|".join(map(re.escape, holes)), rendered)
    if fences and not _is_fence(tokenizer, fences):
        return None
    tail = _with_answer_opened(tokenizer, messages, holes[-1], tail, arguments)
    return ChatFrame(head=head, tail=tail, fence=fences[0] if fences else None)


def _texts_before_the_hole(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        text, hole, _ = message["content"].partition(_HOLES[0])
        yield text.strip()
        if hole:
            return


def _in_order(texts: Iterable[str], rendered: str) -> bool:
    """Whether all texts stand in the rendered one, one after the other."""
    place = 0
    for text in texts:
        found = rendered.find(text, place)
        if found < 0:
            return False
        place = found + len(text)
    return True


def _is_fence(tokenizer: ChatTokenizer, fences: Sequence[str]) -> bool:
    """Returns whether the text between two turns is always the same and holds a token that no caller can write."""
    backend = tokenizer.backend_tokenizer
    if len(set(fences)) > 1:
        return False
    return not control_ids(backend).isdisjoint(backend.encode(fences[0], add_special_tokens=False).ids)


def _open_block(tail: str) -> str | None:
    return next((end for end, opened in _OPENED.items() if opened.search(tail)), None)


def _with_answer_opened(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    last_hole: str,
    tail: str,
    arguments: Mapping[str, Any],
) -> str:
    """Returns the tail up to where the template itself puts an answer that has no reasoning: behind gpt-oss' channel
    `final`, or Kimi's empty `<think></think>`, which the model would otherwise have to write first."""
    if _open_block(tail) is not None:
        return tail  # mode `reasoned` lets the model reason there
    try:
        answered = _render(
            tokenizer, [*messages, {"role": "assistant", "content": _ANSWER}], arguments, add_generation_prompt=False
        )
    except (jinja2.TemplateError, ValueError, TypeError, AttributeError):
        return tail
    lead = answered.partition(last_hole)[2].partition(_ANSWER)[0]
    backend = tokenizer.backend_tokenizer
    if not lead.startswith(tail) or lead == tail or backend is None:
        return tail
    more = backend.encode(lead[len(tail) :], add_special_tokens=False).ids
    return tail if control_ids(backend).isdisjoint(more) else lead


def _render(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    arguments: Mapping[str, Any],
    *,
    add_generation_prompt: bool = True,
) -> str:
    fixed = {**_WITHOUT_REASONING, "strftime_now": FROZEN_DATE.strftime, **arguments}
    return str(
        tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt, **fixed
        )
    )


def _refuse_unknown(tokenizer: ChatTokenizer, arguments: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for an argument that the template does not read: it would change nothing."""
    template = getattr(tokenizer, "chat_template", None)
    for name in arguments:
        if isinstance(template, str) and not re.search(rf"\b{re.escape(name)}\b", template):
            raise ConfigurationError(f"`chat_template_kwargs`: the judge's chat template reads no `{name}`")
