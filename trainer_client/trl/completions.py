"""Reads TRL's completions: the text that is judged, without the policy's reasoning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_client import wire
from trainer_client.policy_answers import PolicyAnswers

Completion = str | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Response:
    """What is judged of a completion."""

    split: wire.Split

    @property
    def sent(self) -> Any:
        """What the service gets as the response."""
        return self.split.answer


def read_all(completions: Sequence[Completion], ids: Sequence[Sequence[int]], answers: PolicyAnswers) -> list[Response]:
    """Reads token ids where the policy is known and wrote a single text, since TRL's own texts lack special tokens."""
    single = all(isinstance(one, str) or len(one) == 1 for one in completions)
    if answers.knows_tokens and single:
        return [Response(answers.split(answers.decode(one))) for one in ids]
    return [_read(one, answers) for one in completions]


def _read(completion: Completion, answers: PolicyAnswers) -> Response:
    if isinstance(completion, str):
        return Response(answers.split(completion))
    return Response(answers.split(completion[-1]["content"], whole=False))
