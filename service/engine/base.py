"""What the service asks of a judge engine. An engine turns token ids into label probabilities and knows nothing else.

Always true: an answer has exactly one outcome for each prompt, in order; an outcome is a read or a typed failure,
never a default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.errors import JudgementError


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of one question. `shared` is the prefix that a response's criteria have in common; `own` follows it."""

    shared: tuple[int, ...]
    own: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.shared) + len(self.own)

    @property
    def ids(self) -> tuple[int, ...]:
        return self.shared + self.own


@dataclass(frozen=True, slots=True)
class LabelRead:
    """Natural-log probabilities of the labels as next token, over the whole vocabulary, in the labels' order."""

    logprobs: tuple[float, ...]
    cached_tokens: int = 0


Outcome = LabelRead | JudgementError


@dataclass(frozen=True, slots=True)
class Identity:
    """What names the judge behind an engine: every fact that can change a verdict."""

    model: str
    revision: str
    engine: str
    facts: Mapping[str, str]


class Engine(Protocol):
    """A judge. `max_model_len` is in tokens, prompt and answer together."""

    identity: Identity
    max_model_len: int

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        """One outcome a prompt, same order. Raises EngineFailed if the whole batch failed."""
        ...

    async def stop(self) -> None:
        """Free what the engine holds; later reads fail with EngineFailed."""
        ...
