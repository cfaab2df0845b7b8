"""An engine computes label probabilities and generates texts: it gets token ids, and knows nothing of rubrics.

An engine whose server reads texts gets them as `text_prompt.py` carries them, and answers with decisions.

Guarantees: a call returns exactly one outcome for each prompt, in order. An outcome is what the judge computed or a
typed failure, and no default stands for either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.errors import JudgementError, Spent


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of one question. `shared` is the prefix that a response's criteria have in common; `own` follows it.

    Prompts of different `salt` share no computation, which keeps teams apart. `priority` is for engines that have a
    queue of their own; the lower one is computed first.
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
    """Returns how many tokens at the beginning of their shared parts the prompts may compute together."""
    if a.salt != b.salt:
        return 0
    low, high = 0, min(len(a.shared), len(b.shared))
    if a.shared is b.shared or a.shared[:high] == b.shared[:high]:
        return high
    # Bisection compares slices, which is faster than a loop over the tokens.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if a.shared[low:middle] == b.shared[low:middle] else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class LabelLogprobs:
    """Natural-log probabilities of the labels as the next token, over the whole vocabulary, in the labels' order.

    `cached_tokens` of the prompt were not computed again.
    """

    logprobs: tuple[float, ...]
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """P(met) as a server says it that reads texts. `label_mass` is None where the server does not tell it, and a
    decision that was written has an explanation. What a call took stands at one of its outcomes; the others took
    nothing, and have no price where the call has none."""

    p_met: float
    label_mass: float | None = None
    explanation: str | None = None
    spent: Spent = field(default_factory=Spent)


Outcome = LabelLogprobs | Decision | JudgementError


@dataclass(frozen=True, slots=True)
class Sampling:
    """The settings of generation. Temperature 0 is greedy, and then `seed` has no effect.

    `json_schema` is a schema as JSON text: the generated text is one document of it, with its keys in the schema's
    order, or it is unfinished. `stop_ids` end the text besides the model's own end token; none of them is part of the
    text.
    """

    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    json_schema: str | None = None
    stop_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """A generated text. `finished` is False if it ran out of tokens; `tokens` counts those that were decoded, and
    `cached_tokens` those of the prompt that were not computed again."""

    text: str
    finished: bool
    tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A text that a server wrote which reads texts. `finished` is False if it ran out of tokens."""

    text: str
    finished: bool
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, slots=True)
class Documents:
    """Independent answers of such a server to one query, each a vote; a vote that is missing says why. `spent` is what
    all of them took."""

    votes: tuple[Document | JudgementError, ...]
    spent: Spent = field(default_factory=Spent)


GenerationOutcome = Generation | Decision | Documents | JudgementError


@dataclass(frozen=True, slots=True)
class LabelQuery:
    """Asks for the probabilities of these labels after the prompt."""

    prompt: Prompt
    label_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GenerationQuery:
    """Asks for a text after the prompt."""

    prompt: Prompt
    sampling: Sampling


EngineQuery = LabelQuery | GenerationQuery
EngineResult = LabelLogprobs | Decision | Generation | Documents


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """The judge behind an engine: every fact of it that can change a verdict. A `toy` is not to be believed."""

    model: str
    revision: str
    engine: str
    facts: Mapping[str, str]
    toy: bool = False


@dataclass(frozen=True, slots=True)
class ReadsTexts:
    """What a judge can do whose server reads texts. `referable`: there is a place for a reference answer. `refused` has
    the reason of each mode that it cannot answer, besides those that no such judge can. `documents` is how it is asked
    for one document about several criteria, for the fingerprint; None where it is asked one criterion at a time."""

    referable: bool
    refused: Mapping[str, str] = field(default_factory=dict)
    documents: str | None = None


class Engine(Protocol):
    """A judge that runs. `max_model_len` is in tokens, prompt and generated text together.

    `down` says why the engine answers no queries now, None when it does: while it is set, every query fails at once
    with EngineFailed. `streams`: prompts are answered as they come, so that small calls cost nothing; if it is False,
    the prompts of one call are computed together, and large calls are faster. `restarts` counts how often the engine
    came back by itself. `pause_s`: seconds for which it takes no new work, because what it depends on is overloaded; 0
    where it takes work, or is down.
    """

    identity: EngineIdentity
    max_model_len: int
    streams: bool
    restarts: int

    @property
    def down(self) -> str | None: ...

    @property
    def pause_s(self) -> float: ...

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        """Returns one outcome a prompt, in order. Raises EngineFailed if the whole batch failed."""
        ...

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        """Returns one outcome a prompt, in order. Raises EngineFailed if the whole batch failed."""
        ...

    def cancel(self, prompt: Prompt) -> None:
        """Nobody waits for this prompt object any more: its outcome may come early, as a failure."""
        ...

    async def stop(self) -> None:
        """Frees what the engine holds; later queries fail with EngineFailed."""
        ...
