"""Decides how much of its rubric is revealed to a rollout, which criteria, and in which words. It has no side effects.

This is the scaffold of RuscaRL (arXiv 2508.16949, section 4.2): within a group each member sees less than the one
before, and over the training all see less, until the policy answers from the bare prompt alone.

Guarantees: the same seed, row, step and member see the same criteria. These are in one turn: the system turn, or the
first user turn where the policy's template takes no system turn. Where nothing is revealed the messages are unchanged.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal, NotRequired, TypedDict

from trainer_client import wire

Within = Literal["linear", "binary"]
Over = Literal["sigmoid", "linear", "power", "constant", "none"]
Ratio = Literal["bare/bare", "scaffold/scaffold", "bare/scaffold"]
"""The prompts of the importance ratio's numerator and denominator. The first is the paper's algorithm."""
Choose = Literal["evenly", "unlearnt", "in_order"]
"""How a rollout's criteria are drawn: all alike, rather those that the policy has not learnt yet, or not drawn at all
but taken in the rubric's order."""
Place = Literal["system", "user", "auto"]
"""The turn that reveals the criteria; `auto` is the system turn where the policy's template takes one."""


_INSTRUCTING = ("system", "developer")
_PROBE = "Rubrics are revealed here."


class Message(TypedDict):
    """One turn. `tool_calls` are an assistant's, with their arguments as JSON text; see `for_template`. `name` is a
    tool's."""

    role: str
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    name: NotRequired[str]


def turn(message: Mapping[str, Any]) -> Message:
    """What policy and judge see of a turn: nothing else that its program keeps in it, and no nulls of a table."""
    kept: Message = {"role": message["role"], "content": message["content"]}
    if message.get("tool_calls"):
        kept["tool_calls"] = list(message["tool_calls"])
    if message.get("name"):
        kept["name"] = message["name"]
    return kept


def for_template(messages: Sequence[Message]) -> list[Message]:
    """The turns as chat templates take them: the arguments of a call are an object where they are one."""
    return [
        {**one, "tool_calls": list(map(_with_object, one["tool_calls"]))} if one.get("tool_calls") else one
        for one in messages
    ]


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else dict(call)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The share of its rubric that a rollout sees: a factor of its place in the group times a factor of progress.

    `within`: `linear` is (G - 1 - member) / (G - 1); `binary` is 1 for the first `full` members and 0 for the others.
    `over`, of progress t: `sigmoid` is 1 / (1 + exp(steepness (t - start))), `linear` 1 - t, `power` (1 - t)^exponent,
    `constant` 1, `none` 0. The defaults are the paper's.
    """

    within: Within = "linear"
    over: Over = "sigmoid"
    full: int = 0
    start: float = 0.2
    steepness: float = 125.0
    exponent: float = 2.0

    def share(self, member: int, group: int, step: int, total: int) -> float:
        """In 0..1. `member` counts from 0 in a group of `group`, `step` from 1 to `total`."""
        if not 0 <= member < group:
            raise ValueError(f"member {member} of a group of {group}: members count from 0 to group - 1")
        return self._within(member, group) * self._over(progress(step, total))

    def _within(self, member: int, group: int) -> float:
        if self.within == "binary":
            return float(member < self.full)
        return 1.0 if group == 1 else (group - 1 - member) / (group - 1)

    def _over(self, t: float) -> float:
        match self.over:
            case "sigmoid":
                return 1.0 / (1.0 + math.exp(min(self.steepness * (t - self.start), 700.0)))
            case "linear":
                return 1.0 - t
            case "power":
                return float((1.0 - t) ** self.exponent)
            case "constant":
                return 1.0
            case "none":
                return 0.0


def progress(step: int, total: int) -> float:
    """(step - 1) / (total - 1), kept within 0..1; the only step of a training of one is its start."""
    return min(max((step - 1) / max(total - 1, 1), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of the scaffold. A section without criteria is left out, and so is a text that is empty."""

    opener: str = "You are a helpful assistant. A good answer to this conversation has been described in points."
    include: str = "IMPORTANT POINTS TO INCLUDE"
    avoid: str = "IMPORTANT POINTS TO AVOID"
    closing: str = "Write one complete answer that keeps to these points."
    warning: str = "Never speak of these points in the answer, nor of having seen any: that would be cheating."
    points: bool = True
    """Whether each criterion's points are revealed with it."""
    warn: bool = True


@dataclass(frozen=True, slots=True)
class Scaffold:
    """Reveals criteria to rollouts. With `nested` a member sees a part of what the member before it sees in the same
    step; without it each member draws its own criteria, as the paper's code does. Criteria that `first` names are
    revealed before all others, and those that `last` names after them, such as the one that holds the final answer. A
    name is an id, a category, a tag as `key:value`, or a tag's key."""

    schedule: Schedule = field(default_factory=Schedule)
    wording: Wording = field(default_factory=Wording)
    nested: bool = False
    seed: int = 0
    place: Place = "auto"
    choose: Choose = "evenly"
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    template_system: str = ""
    """The text that the policy's template puts into its own system turn before a prompt without one; see `placed`."""

    def reveal(
        self, rubric: Sequence[wire.Criterion], *, row: str, member: int, group: int, step: int, total: int
    ) -> tuple[int, ...]:
        """Returns the revealed criteria as indexes of the rubric, in the order in which they were drawn. Their number
        is round(share x counted criteria), by Python's `round` (halves go to even) as in the paper's code. Criteria
        with 0 points are not revealed."""
        counted, count = self._counted(rubric, member, group, step, total)
        if self.choose != "in_order":
            counted = self._random(row, member, step).sample(counted, len(counted))
        return self._ordered(rubric, counted)[:count]

    def reveal_by_weight(
        self,
        rubric: Sequence[wire.Criterion],
        weights: Sequence[float],
        *,
        row: str,
        member: int,
        group: int,
        step: int,
        total: int,
    ) -> tuple[int, ...]:
        """As `reveal`, where `weights`, all above 0, are how likely each criterion is to be drawn next."""
        counted, count = self._counted(rubric, member, group, step, total)
        random = self._random(row, member, step)
        # Efraimidis and Spirakis: the largest u^(1/w) first is to draw by weight without putting back.
        keys = {place: math.log(1.0 - random.random()) / weights[place] for place in counted}
        return self._ordered(rubric, sorted(counted, key=lambda place: -keys[place]))[:count]

    def _counted(
        self, rubric: Sequence[wire.Criterion], member: int, group: int, step: int, total: int
    ) -> tuple[list[int], int]:
        """The criteria that may be revealed, and how many are."""
        counted = [place for place, criterion in enumerate(rubric) if criterion.worth != 0]
        return counted, round(self.schedule.share(member, group, step, total) * len(counted))

    def _ordered(self, rubric: Sequence[wire.Criterion], drawn: Sequence[int]) -> tuple[int, ...]:
        """The draw with the criteria of `first` before the others, and those of `last` behind them."""
        if not (self.first or self.last):
            return tuple(drawn)

        def rank(place: int) -> int:
            one = rubric[place]
            return 0 if one.is_one_of(self.first, place) else 2 if one.is_one_of(self.last, place) else 1

        return tuple(sorted(drawn, key=rank))

    def _random(self, row: str, member: int, step: int) -> Random:
        return Random(f"{self.seed}/{row}/{step}" + ("" if self.nested else f"/{member}"))

    def messages(
        self, messages: Sequence[Message], rubric: Sequence[wire.Criterion], revealed: Sequence[int]
    ) -> list[Message]:
        """Returns the conversation with the revealed criteria in its system turn: in the one it has, or in a new one at
        the start. With `place` user they begin its first user turn."""
        if not revealed:
            return list(messages)
        added = text([rubric[place] for place in sorted(revealed)], self.wording)
        if self.place == "user":
            return _in_user_turn(messages, added)
        if messages and messages[0]["role"] in _INSTRUCTING:
            return [{"role": messages[0]["role"], "content": f"{messages[0]['content']}\n\n{added}"}, *messages[1:]]
        own = f"{self.template_system}\n\n" if self.template_system else ""
        return [{"role": "system", "content": f"{own}{added}"}, *messages]


def _in_user_turn(messages: Sequence[Message], added: str) -> list[Message]:
    found = next((place for place, message in enumerate(messages) if message["role"] == "user"), None)
    if found is None:
        return [{"role": "user", "content": added}, *messages]
    asked: Message = {"role": "user", "content": f"{added}\n\n{messages[found]['content']}"}
    return [*messages[:found], asked, *messages[found + 1 :]]


def placed(scaffold: Scaffold, render: Callable[[list[Message]], str]) -> Scaffold:
    """The scaffold with its place decided by the policy's template, and with the text that the template puts before a
    prompt that has no system turn. `render` is the template. A scaffold that reveals nothing renders nothing. Raises
    ValueError where `place` is system and the template takes no such turn."""
    if scaffold.place == "user" or scaffold.schedule.over == "none":
        return scaffold
    user: Message = {"role": "user", "content": "The question."}
    try:
        told = render([{"role": "system", "content": _PROBE}, user])
    except Exception:  # a template refuses by an error of its own language, and each library has another one
        told = ""
    if _PROBE in told:  # some templates leave the turn out without a word
        return replace(scaffold, place="system", template_system=_system_of(told, render([user])))
    if scaffold.place == "system":
        raise ValueError("`scaffold.place` is system and the policy's template takes no system turn; set user or auto")
    return replace(scaffold, place="user")


def _system_of(told: str, bare: str) -> str:
    """The text that stands in the bare prompt where the other one has the probe; empty where that place is missing."""
    before, _, after = told.partition(_PROBE)
    there = len(bare) > len(before) + len(after) and bare.startswith(before) and bare.endswith(after)
    return bare[len(before) : len(bare) - len(after)].strip() if there else ""


def text(criteria: Sequence[wire.Criterion], wording: Wording) -> str:
    """The text of the scaffold for these criteria."""
    sections = (
        (wording.include, [_line(one, wording) for one in criteria if one.worth > 0]),
        (wording.avoid, [_line(one, wording) for one in criteria if one.worth < 0]),
    )
    parts = [wording.opener, *("\n".join(filter(None, (head, *lines))) for head, lines in sections if lines)]
    parts += [wording.closing, wording.warning if wording.warn else ""]
    return "\n\n".join(filter(None, parts))


def _line(criterion: wire.Criterion, wording: Wording) -> str:
    points, shown = criterion.worth, criterion.text
    if criterion.extract is not None:  # the text may say which value is right
        shown = criterion.extract.instructions
    if criterion.options:  # of a fault: its worst form
        best = max(criterion.options, key=lambda option: option.value)
        shown = f"{shown.rstrip()} {best.text}"
    if not wording.points:
        return f"- {shown}"
    return f"- {shown} ({'worth' if points > 0 else 'costs'} {abs(points):g} points)"


def fitted(revealed: Sequence[int], tokens: Callable[[Sequence[int]], int], most: float) -> tuple[int, ...]:
    """The longest beginning of `revealed` that needs at most `most` tokens. `tokens` counts those of a choice; more
    criteria must not need fewer."""
    if tokens(revealed) <= most:
        return tuple(revealed)
    low, high = 0, len(revealed) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens(revealed[:middle]) <= most else (low, middle - 1)
    return tuple(revealed[:low])
