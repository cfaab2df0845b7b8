"""A judge without a model: its verdict is a keyed hash of the prompt's token ids. Shipped, for tests and dry runs.

Always true: the same ids and seed give the same read, in any batch and any order, so a swap between criteria,
requests or teams, a loss, or a stale cache entry is visible as a wrong number. Each fault replays from its seed, and
only a prompt that a fault touched gets anything but the oracle's read. Nothing here imports torch.
"""

import asyncio
import hashlib
import math
import random
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from service.engine.base import Identity, LabelRead, Outcome, Prompt
from service.errors import EngineFailed, TooLong

Fault = Literal["ok", "batch", "crash", "some", "few", "many", "nan", "low_mass", "hang", "die"]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What goes wrong, call by call.

    `script` names the fault of the first calls; after it each call draws from `rates` (probabilities that sum to at
    most one; the rest is "ok"). A call takes `batch_s` + `token_s` for each prompt token.

        batch     raises EngineFailed            crash     raises RuntimeError, which nobody promised
        some      some prompts are EngineFailed  nan       some prompts' log-probabilities are NaN
        low_mass  some prompts' labels carry a millionth of the mass
        few       one answer too few             many      one answer too many
        hang      never answers; ends when cancelled        die   fails, and so does every later call
    """

    script: tuple[Fault, ...] = ()
    rates: Mapping[Fault, float] = field(default_factory=lambda: MappingProxyType({}))
    batch_s: float = 0.0
    token_s: float = 0.0

    def __post_init__(self) -> None:
        unknown = {*self.script, *self.rates} - set(get_args(Fault))
        if unknown:
            raise ValueError(f"unknown faults: {sorted(unknown)}")
        if any(rate < 0 for rate in self.rates.values()) or sum(self.rates.values()) > 1 + 1e-9:
            raise ValueError("fault rates must be probabilities that sum to at most one")

    def fault(self, call: int, rng: random.Random) -> Fault:
        """The fault of the call with this number, from 0."""
        if call < len(self.script):
            return self.script[call]
        names = list(self.rates)
        weights = [self.rates[name] for name in names]
        rest = max(0.0, 1.0 - sum(weights))
        return rng.choices([*names, "ok"], [*weights, rest])[0]


def oracle(prompt_ids: Sequence[int], seed: int = 0, labels: int = 2) -> LabelRead:
    """The read that a healthy FakeEngine gives for these ids: uniform shares, label mass in [0.9, 1). Pure."""
    key = struct.pack(">q", seed)
    packed = struct.pack(f">{len(prompt_ids)}q", *prompt_ids)
    weights = []
    for index in range(labels + 1):
        digest = hashlib.blake2b(packed, digest_size=8, key=key, person=struct.pack(">q", index)).digest()
        weights.append((int.from_bytes(digest, "big") + 0.5) / 2.0**64)
    mass = 0.9 + 0.1 * weights.pop()
    # The first weight alone decides between two labels, so that P(first) is uniform.
    shares = [weights[0], 1 - weights[0]] if labels == 2 else [weight / sum(weights) for weight in weights]
    return LabelRead(logprobs=tuple(math.log(max(share, 1e-300) * mass) for share in shares))


class FakeEngine:
    """An Engine that answers from the oracle. `sleep` is awaited for all waiting, so a manual clock can drive it.

    `calls`, `prompts`, `tokens` count what was asked and `faults` what was done; `asked` keeps the first
    `remember` prompts' ids (all of them where None), so that a test can say "exactly once". Nothing is ever cached.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        plan: FaultPlan | None = None,
        max_model_len: int = 32_768,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        remember: int | None = None,
    ) -> None:
        self.identity = Identity(model="fake", revision=f"seed-{seed}", engine="fake", facts={"seed": str(seed)})
        self.max_model_len = max_model_len
        self.calls = 0
        self.prompts = 0
        self.tokens = 0
        self.asked: list[tuple[int, ...]] = []
        self.faults: Counter[Fault] = Counter()
        self.dead = False
        self.stopped = False
        self._seed = seed
        self._plan = plan or FaultPlan()
        self._sleep = sleep
        self._remember = remember

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if self.stopped:
            raise EngineFailed("the judge was stopped")
        fault, rng = self._begin(prompts)
        tokens = sum(map(len, prompts))
        delay_s = self._plan.batch_s + self._plan.token_s * tokens
        if delay_s > 0:
            await self._sleep(delay_s)
        if fault == "hang":
            await asyncio.Event().wait()
        if fault in ("batch", "die"):
            raise EngineFailed("the fake judge was told to fail")
        if fault == "crash":
            raise RuntimeError("the fake judge was told to crash")
        outcomes = [self._outcome(prompt, len(label_ids)) for prompt in prompts]
        return _spoil(outcomes, fault, rng)

    async def stop(self) -> None:
        self.stopped = True

    def _begin(self, prompts: Sequence[Prompt]) -> tuple[Fault, random.Random]:
        """Count the call and choose its fault; a generator of its own makes it independent of the other calls."""
        rng = random.Random(f"{self._seed}:{self.calls}")
        fault: Fault = "die" if self.dead else self._plan.fault(self.calls, rng)
        self.dead = fault == "die"
        self.calls += 1
        self.prompts += len(prompts)
        self.tokens += sum(map(len, prompts))
        self.faults[fault] += 1
        room = len(prompts) if self._remember is None else max(0, self._remember - len(self.asked))
        self.asked.extend(prompt.ids for prompt in prompts[:room])
        return fault, rng

    def _outcome(self, prompt: Prompt, labels: int) -> Outcome:
        if len(prompt) >= self.max_model_len:
            return TooLong(f"{len(prompt)} prompt tokens and one answer token exceed {self.max_model_len}")
        return oracle(prompt.ids, self._seed, labels)


def _spoil(outcomes: list[Outcome], fault: Fault, rng: random.Random) -> list[Outcome]:
    """Do to the right answers what the fault says; at least one prompt is hit, and not all where there are several."""
    if fault == "few":
        return outcomes[:-1]
    if fault == "many":
        return [*outcomes, *outcomes[-1:]]
    if fault not in ("some", "nan", "low_mass") or not outcomes:
        return outcomes
    hit = set(rng.sample(range(len(outcomes)), rng.randint(1, max(1, len(outcomes) - 1))))
    return [_spoiled(outcome, fault) if index in hit else outcome for index, outcome in enumerate(outcomes)]


def _spoiled(outcome: Outcome, fault: Fault) -> Outcome:
    if fault == "some":
        return EngineFailed("the fake judge was told to fail on this prompt")
    if not isinstance(outcome, LabelRead):
        return outcome
    if fault == "nan":
        return LabelRead(logprobs=tuple(math.nan for _ in outcome.logprobs))
    return LabelRead(logprobs=tuple(logprob + math.log(1e-6) for logprob in outcome.logprobs))
