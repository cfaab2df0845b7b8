"""Reads TRL's completions: what is judged of them, without the policy's reasoning and with tools' words as theirs.

Guarantees: a completion of several turns is a trajectory, in which each turn is the assistant's or a tool's as TRL
wrote it, and whose answer is the text of its last turn, if the assistant says it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_client import wire
from trainer_client.policy_answers import PolicyAnswers

Completion = str | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Response:
    """What is judged of a completion: the split of its final text, and all of its turns where tools took part."""

    split: wire.Split
    turns: tuple[Mapping[str, Any], ...] = ()

    @property
    def sent(self) -> Any:
        """What the service gets as the response."""
        return list(self.turns) if self.turns else self.split.answer


def read_all(completions: Sequence[Completion], ids: Sequence[Sequence[int]], answers: PolicyAnswers) -> list[Response]:
    """Reads token ids where the policy is known and wrote a single text, since TRL's own texts lack special tokens."""
    single = all(isinstance(one, str) or len(one) == 1 for one in completions)
    if answers.knows_tokens and single:
        return [Response(answers.split(answers.decode(one))) for one in ids]
    return [_read(one, answers) for one in completions]


def _read(completion: Completion, answers: PolicyAnswers) -> Response:
    if isinstance(completion, str):
        return Response(answers.split(completion))
    last = completion[-1]
    split = answers.split(_text(last) if last["role"] == "assistant" else "", whole=False)
    if len(completion) == 1:
        return Response(split)
    turns = []
    for turn in completion:
        text = _text(turn)
        if turn["role"] == "assistant":
            text = answers.split(text, whole=False).answer
        turns.append({**turn, "content": text})
    return Response(split, tuple(turns))


def _text(turn: Mapping[str, Any]) -> str:
    """The turn's text, of which parts are joined. Raises ValueError for a part that is no text."""
    return wire.Message.model_validate({"role": turn["role"], "content": turn.get("content") or ""}).content
