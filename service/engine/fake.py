"""The fake engine is a judge without a model, for tests and dry runs: its verdicts are a hash of the prompt's token
ids.

Guarantees: the same ids and seed give the same result, in any batch and any order, so that a swap between criteria,
requests or teams, a loss, or a stale cache entry is visible as a wrong number. Each fault repeats from its seed, and a
prompt that no fault touched gets the oracle's result. Nothing here imports torch.
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
    """The faults of an engine, call by call.

    `script` names the faults of the first calls; after it each call draws from `rates` (probabilities that sum to at
    most one; the rest is "ok"). A call takes `batch_s` seconds, and `token_s` for each prompt token. A fault of label
    probabilities leaves texts right, and the other way round.

        batch     raises EngineFailed            crash     raises RuntimeError, which no engine promises
        some      some prompts are EngineFailed  nan       some prompts' log-probabilities are NaN
        low_mass  some prompts' labels carry a millionth of the mass
        truncated some texts end half-way        garbage   some texts are not JSON, though they are finished
        few       one outcome too few            many      one outcome too many
        hang      does not answer until it is cancelled      die   fails, and so does every later call
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
        rest = max(0.0, 1.0 - sum(self.rates.values()))
        return rng.choices([*self.rates, "ok"], [*self.rates.values(), rest])[0]


def oracle(prompt_ids: Sequence[int], seed: int = 0, labels: int = 2) -> LabelLogprobs:
    """Returns what a healthy FakeEngine computes for these ids: uniform shares, label mass in [0.9, 1). Pure."""
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
    """Returns what a healthy FakeEngine generates: with a schema, a document with its keys in order, short strings and
    uniform booleans. Pure; the sampling's seed counts at a temperature above zero."""
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
    """Returns one of the schema's documents. Raises ValueError for what the service's own schemas do not use."""
    if "anyOf" in schema:
        return _document(rng.choice(schema["anyOf"]), rng)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return {name: _document(inner, rng) for name, inner in schema.get("properties", {}).items()}
    if kind == "null":
        return None
    if kind == "array":
        return [_document(schema["items"], rng)]
    if "pattern" in schema:  # the service's own is that of dates
        return f"20{rng.randint(10, 99)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("integer", "number"):
        return rng.randint(int(schema.get("minimum", 1)), int(schema.get("maximum", 10)))
    if kind == "string":
        return _prose(rng)[: schema.get("maxLength")]
    raise ValueError(f"the fake judge cannot generate a document of {kind}")


class FakeEngine:
    """An Engine that answers from the oracle. `sleep` is awaited for all waiting, so a manual clock can drive it.

    `calls`, `prompts` and `tokens` count what the engine got, and `faults` what it did. `seen_ids` keeps the ids of the
    first `remember` prompts (of all where None), so that a test can check "exactly once"; `cancelled` keeps as many of
    the prompts that were cancelled, and they are answered all the same. Nothing is cached. A test may set `down`,
    `pause_s`, `streams`, `restarts` and `plan`.
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
        self.identity = EngineIdentity(
            model="fake", revision=f"seed-{seed}", engine="fake", facts={"seed": str(seed)}, toy=True
        )
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
        self.pause_s = 0.0
        self.restarts = 0
        self.stopped = False
        self._seed = seed
        self.plan = plan or FaultPlan()
        self._sleep = sleep
        self._remember = remember

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        fault, rng = await self._call(prompts)
        outcomes: list[Outcome] = [
            self._too_long(prompt, 1) or oracle(prompt.ids, self._seed, len(label_ids)) for prompt in prompts
        ]
        return _apply_fault(outcomes, fault, rng, _faulty_logprobs)

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        work = list(zip(prompts, samplings, strict=True))
        fault, rng = await self._call(prompts)
        outcomes: list[GenerationOutcome] = [
            self._too_long(prompt, sampling.max_tokens) or text_oracle(prompt.ids, self._seed, sampling)
            for prompt, sampling in work
        ]
        return _apply_fault(outcomes, fault, rng, _faulty_text)

    def cancel(self, prompt: Prompt) -> None:
        if self._remembers(self.cancelled):
            self.cancelled.append(prompt)

    async def stop(self) -> None:
        self.stopped = True
        self.down = "the judge was stopped"

    async def _call(self, prompts: Sequence[Prompt]) -> tuple[Fault, random.Random]:
        """Counts the call, takes its time, and fails as a whole if its fault says so. Otherwise returns the fault, and
        the generator to draw its prompts from."""
        if self.down is not None:
            raise EngineFailed(self.down)
        for prompt in prompts:
            if not prompt.own:
                raise ValueError("a prompt's own part is never empty")
            if self._remembers(self.seen_ids):
                self.seen_ids.append(prompt.ids)
        # Each call has a generator of its own, so that its fault does not depend on what other calls draw.
        rng = random.Random(f"{self._seed}:{self.calls}")
        fault: Fault = "die" if self.dead else self.plan.fault(self.calls, rng)
        self.dead = fault == "die"
        tokens = sum(map(len, prompts))
        self.calls += 1
        self.prompts += len(prompts)
        self.tokens += tokens
        self.faults[fault] += 1
        delay_s = self.plan.batch_s + self.plan.token_s * tokens
        if delay_s > 0:
            await self._sleep(delay_s)
        if fault == "hang":
            await asyncio.Event().wait()
        if fault in ("batch", "die"):
            raise EngineFailed("the fake judge failed, as its plan says")
        if fault == "crash":
            raise RuntimeError("the fake judge crashed, as its plan says")
        return fault, rng

    def _remembers(self, seen: Sequence[object]) -> bool:
        return self._remember is None or len(seen) < self._remember

    def _too_long(self, prompt: Prompt, new_tokens: int) -> TooLong | None:
        if len(prompt) + new_tokens <= self.max_model_len:
            return None
        answer = "one answer token" if new_tokens == 1 else f"{new_tokens} answer tokens"
        return TooLong(f"{len(prompt)} prompt tokens and {answer} exceed {self.max_model_len}")


def _apply_fault(outcomes: list[_T], fault: Fault, rng: random.Random, faulty: Callable[[_T, Fault], _T]) -> list[_T]:
    """Changes the right outcomes as the fault says: those of at least one prompt, and not of all if there are
    several."""
    if fault == "few":
        return outcomes[:-1]
    if fault == "many":
        return [*outcomes, *outcomes[-1:]]
    if fault == "ok" or not outcomes:
        return outcomes
    hit = set(rng.sample(range(len(outcomes)), rng.randint(1, max(1, len(outcomes) - 1))))
    return [faulty(outcome, fault) if index in hit else outcome for index, outcome in enumerate(outcomes)]


def _faulty_logprobs(outcome: Outcome, fault: Fault) -> Outcome:
    if fault == "some":
        return EngineFailed("the fake judge failed on this prompt, as its plan says")
    if not isinstance(outcome, LabelLogprobs):
        return outcome
    if fault == "nan":
        return LabelLogprobs(logprobs=tuple(math.nan for _ in outcome.logprobs))
    if fault == "low_mass":
        return LabelLogprobs(logprobs=tuple(logprob + math.log(1e-6) for logprob in outcome.logprobs))
    return outcome


def _faulty_text(outcome: GenerationOutcome, fault: Fault) -> GenerationOutcome:
    if fault == "some":
        return EngineFailed("the fake judge failed on this prompt, as its plan says")
    if not isinstance(outcome, Generation):
        return outcome
    if fault == "truncated":
        return replace(outcome, text=outcome.text[: len(outcome.text) // 2], finished=False)
    if fault == "garbage":
        return replace(outcome, text="I would rather not say.", finished=True)
    return outcome
