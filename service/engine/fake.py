"""A judge without a model: its word is a keyed hash of the prompt's token ids. Shipped, for tests and dry runs.

Always true: the same ids and seed give the same read or text, in any batch and any order, so a swap between criteria,
requests or teams, a loss, or a stale cache entry is visible as a wrong number. Each fault replays from its seed, and
only a prompt that a fault touched gets anything but the oracle's word. Nothing here imports torch.
"""

import asyncio
import hashlib
import json
import math
import random
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from service.engine.base import EngineIdentity, Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.errors import EngineFailed, TooLong

Fault = Literal["ok", "batch", "crash", "some", "few", "many", "nan", "low_mass", "truncated", "garbage", "hang", "die"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What goes wrong, call by call.

    `script` names the fault of the first calls; after it each call draws from `rates` (probabilities that sum to at
    most one; the rest is "ok"). A call takes `batch_s` + `token_s` for each prompt token. A fault that spoils reads
    leaves texts right, and the other way round.

        batch     raises EngineFailed            crash     raises RuntimeError, which nobody promised
        some      some prompts are EngineFailed  nan       some prompts' log-probabilities are NaN
        low_mass  some prompts' labels carry a millionth of the mass
        truncated some texts end half-way        garbage   some texts are no JSON, though they are finished
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


def oracle(prompt_ids: Sequence[int], seed: int = 0, labels: int = 2) -> LabelLogprobs:
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
    return LabelLogprobs(logprobs=tuple(math.log(max(share, 1e-300) * mass) for share in shares))


def text_oracle(prompt_ids: Sequence[int], seed: int, sampling: Sampling) -> Generation:
    """What a healthy FakeEngine writes: with a schema a document with its keys in order, strings short and booleans
    uniform. Pure; the sampling's seed counts at a temperature above zero."""
    drawn = sampling.seed if sampling.temperature > 0 else None
    rng = random.Random(repr((tuple(prompt_ids), seed, drawn)))
    text = _prose(rng)
    if sampling.json_schema is not None:
        text = json.dumps(_document(json.loads(sampling.json_schema), rng))
    tokens = len(text.split())
    if tokens > sampling.max_tokens:
        return Generation(" ".join(text.split()[: sampling.max_tokens]), finished=False, tokens=sampling.max_tokens)
    return Generation(text, finished=True, tokens=tokens)


def _prose(rng: random.Random) -> str:
    return f"The response {rng.choice(('states', 'omits', 'implies'))} point {rng.randrange(10**6)}."


def _document(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """One of the schema's documents. It knows what the service's schemas are made of, and says so of anything else."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return {name: _document(inner, rng) for name, inner in schema.get("properties", {}).items()}
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("integer", "number"):
        return rng.randint(int(schema.get("minimum", 1)), int(schema.get("maximum", 10)))
    if kind == "string":
        return _prose(rng)[: schema.get("maxLength")]
    raise ValueError(f"the fake judge cannot write a document of {kind}")


class FakeEngine:
    """An Engine that answers from the oracle. `sleep` is awaited for all waiting, so a manual clock can drive it.

    `calls`, `prompts`, `tokens` count what was asked and `faults` what was done; `seen_ids` keeps the first
    `remember` prompts' ids (all of them where None), so that a test can say "exactly once"; `cancelled` keeps the
    prompts that were cancelled, which are answered all the same. Nothing is ever cached. A test may set `down`,
    `streams` and `restarts`.
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
        self.identity = EngineIdentity(model="fake", revision=f"seed-{seed}", engine="fake", facts={"seed": str(seed)})
        self.max_model_len = max_model_len
        self.calls = 0
        self.prompts = 0
        self.tokens = 0
        self.seen_ids: list[tuple[int, ...]] = []
        self.faults: Counter[Fault] = Counter()
        self.cancelled: list[Prompt] = []
        self.dead = False
        self.down: str | None = None
        self.streams = False
        self.restarts = 0
        self.stopped = False
        self._seed = seed
        self.plan = plan or FaultPlan()
        self._sleep = sleep
        self._remember = remember

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        fault, rng = await self._go(prompts)
        outcomes: list[Outcome] = [
            self._too_long(prompt, 1) or oracle(prompt.ids, self._seed, len(label_ids)) for prompt in prompts
        ]
        return _spoil(outcomes, fault, rng, _spoiled)

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        asked = list(zip(prompts, samplings, strict=True))
        fault, rng = await self._go(prompts)
        outcomes: list[GenerationOutcome] = [
            self._too_long(prompt, sampling.max_tokens) or text_oracle(prompt.ids, self._seed, sampling)
            for prompt, sampling in asked
        ]
        return _spoil(outcomes, fault, rng, _spoiled_text)

    def cancel(self, prompt: Prompt) -> None:
        self.cancelled.append(prompt)

    async def stop(self) -> None:
        self.stopped = True
        self.down = "the judge was stopped"

    async def _go(self, prompts: Sequence[Prompt]) -> tuple[Fault, random.Random]:
        """Count the call, wait as long as it takes, and fail as a whole where the fault says so."""
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        if self.down is not None:
            raise EngineFailed(self.down)
        fault, rng = self._begin(prompts)
        delay_s = self.plan.batch_s + self.plan.token_s * sum(map(len, prompts))
        if delay_s > 0:
            await self._sleep(delay_s)
        if fault == "hang":
            await asyncio.Event().wait()
        if fault in ("batch", "die"):
            raise EngineFailed("the fake judge was told to fail")
        if fault == "crash":
            raise RuntimeError("the fake judge was told to crash")
        return fault, rng

    def _begin(self, prompts: Sequence[Prompt]) -> tuple[Fault, random.Random]:
        """Count the call and choose its fault; a generator of its own makes it independent of the other calls."""
        rng = random.Random(f"{self._seed}:{self.calls}")
        fault: Fault = "die" if self.dead else self.plan.fault(self.calls, rng)
        self.dead = fault == "die"
        self.calls += 1
        self.prompts += len(prompts)
        self.tokens += sum(map(len, prompts))
        self.faults[fault] += 1
        room = len(prompts) if self._remember is None else max(0, self._remember - len(self.seen_ids))
        self.seen_ids.extend(prompt.ids for prompt in prompts[:room])
        return fault, rng

    def _too_long(self, prompt: Prompt, answer_tokens: int) -> TooLong | None:
        if len(prompt) + answer_tokens <= self.max_model_len:
            return None
        answer = "one answer token" if answer_tokens == 1 else f"{answer_tokens} answer tokens"
        return TooLong(f"{len(prompt)} prompt tokens and {answer} exceed {self.max_model_len}")


def _spoil(outcomes: list[_T], fault: Fault, rng: random.Random, spoiled: Callable[[_T, Fault], _T]) -> list[_T]:
    """Do to the right answers what the fault says; at least one prompt is hit, and not all where there are several."""
    if fault == "few":
        return outcomes[:-1]
    if fault == "many":
        return [*outcomes, *outcomes[-1:]]
    if fault == "ok" or not outcomes:
        return outcomes
    hit = set(rng.sample(range(len(outcomes)), rng.randint(1, max(1, len(outcomes) - 1))))
    return [spoiled(outcome, fault) if index in hit else outcome for index, outcome in enumerate(outcomes)]


def _spoiled(outcome: Outcome, fault: Fault) -> Outcome:
    if fault == "some":
        return EngineFailed("the fake judge was told to fail on this prompt")
    if not isinstance(outcome, LabelLogprobs):
        return outcome
    if fault == "nan":
        return LabelLogprobs(logprobs=tuple(math.nan for _ in outcome.logprobs))
    if fault == "low_mass":
        return LabelLogprobs(logprobs=tuple(logprob + math.log(1e-6) for logprob in outcome.logprobs))
    return outcome


def _spoiled_text(outcome: GenerationOutcome, fault: Fault) -> GenerationOutcome:
    if fault == "some":
        return EngineFailed("the fake judge was told to fail on this prompt")
    if not isinstance(outcome, Generation):
        return outcome
    if fault == "truncated":
        return replace(outcome, text=outcome.text[: len(outcome.text) // 2], finished=False)
    if fault == "garbage":
        return replace(outcome, text="I would rather not say.", finished=True)
    return outcome
