"""What the service asks of a judge engine: token ids in, label probabilities or written text out, and nothing else.

Always true: an answer has exactly one outcome for each prompt, in order; an outcome is a read, a text or a typed
failure, never a default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.errors import JudgementError


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of one question. `shared` is the prefix that a response's criteria have in common; `own` follows it.

    `salt` says who may profit from what is computed for it: prompts of different salts share nothing. `priority` is
    for engines that have a queue of their own; the lower one is computed first.
    """

    shared: tuple[int, ...]
    own: tuple[int, ...]
    salt: str = ""
    priority: int = 0

    def __len__(self) -> int:
        return len(self.shared) + len(self.own)

    @property
    def ids(self) -> tuple[int, ...]:
        return self.shared + self.own


def common_length(a: Prompt, b: Prompt) -> int:
    """How many tokens of their shared parts the prompts may compute together."""
    if a.salt != b.salt:
        return 0
    low, high = 0, min(len(a.shared), len(b.shared))
    if a.shared is b.shared or a.shared[:high] == b.shared[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if a.shared[low:middle] == b.shared[low:middle] else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class LabelLogprobs:
    """Natural-log probabilities of the labels as next token, over the whole vocabulary, in the labels' order."""

    logprobs: tuple[float, ...]
    cached_tokens: int = 0


Outcome = LabelLogprobs | JudgementError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is written. Temperature 0 is greedy, and then `seed` means nothing.

    `json_schema` is a schema as JSON text: what is written is one document of it, its keys in the schema's order, or it
    is unfinished. `stop_ids` end the answer besides the model's own end; none of them is part of the text.
    """

    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    json_schema: str | None = None
    stop_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """A written answer. `finished` is False where it ran out of tokens; `tokens` counts those that were decoded."""

    text: str
    finished: bool
    tokens: int
    cached_tokens: int = 0


GenerationOutcome = Generation | JudgementError


@dataclass(frozen=True, slots=True)
class LabelQuery:
    """Asks for the probabilities of these labels after the prompt."""

    prompt: Prompt
    label_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GenerationQuery:
    """Asks for an answer in the judge's own words."""

    prompt: Prompt
    sampling: Sampling


EngineQuery = LabelQuery | GenerationQuery
EngineResult = LabelLogprobs | Generation


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """What names the judge behind an engine: every fact that can change a verdict."""

    model: str
    revision: str
    engine: str
    facts: Mapping[str, str]


class Engine(Protocol):
    """A judge. `max_model_len` is in tokens, prompt and answer together.

    `down` says why nothing can be asked now, None when it can: while it is set, every question fails at once with
    EngineFailed. `streams`: prompts are answered as they come, so that small batches cost nothing; where it is False
    the prompts of one call are computed together, and large calls are faster. `restarts` counts how often it came back
    by itself.
    """

    identity: EngineIdentity
    max_model_len: int
    streams: bool
    restarts: int

    @property
    def down(self) -> str | None: ...

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        """One outcome a prompt, same order. Raises EngineFailed if the whole batch failed."""
        ...

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        """One text a prompt, same order. Raises EngineFailed if the whole batch failed."""
        ...

    def cancel(self, prompt: Prompt) -> None:
        """Nobody waits for this prompt object any more: its outcome may come early, as a failure."""
        ...

    async def stop(self) -> None:
        """Free what the engine holds; later questions fail with EngineFailed."""
        ...
