"""Calculates a judge's throughput and its needs from its shape and the work. It has no side effects.

docs/operate/sizing.md gives the source of each figure. Nothing here was measured on a GPU: a measured rate replaces the
calculated one.

Guarantees: a shared prefix never costs, and a cache of whole blocks shares at most as much as an ideal one. More work
never needs less. A judge that does not fit is an error that says what to change.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from trainer_client.sizing.hardware import Dtype, Gpu, JudgeModel, SizingError

# The share of a GPU's peak that prefill reaches, and the share of its bandwidth that decoding reaches.
READING: Mapping[Dtype, float] = MappingProxyType({"bf16": 0.55, "fp8": 0.49})
WRITING = 0.75
# The engine's share of a GPU's memory (`vllm_gpu_memory_utilization`), and its bytes besides weights and KV cache.
MEMORY_SHARE = 0.9
OTHER_BYTES = 4e9
Limit = Literal["judge", "service"]
# The service's defaults: `max_in_flight`, `max_concurrent_generations`, `reasoned_tokens`, `explanation_chars`.
IN_FLIGHT, MAX_CONCURRENT_GENERATIONS, REASONED_TOKENS, EXPLANATION_CHARS = 2, 64, 512, 1200
# Measured: bytes a verdict in Redis, and a character of its explanation; the service's CPU a verdict (LOG.md).
REDIS_BYTES, REDIS_BYTES_A_CHAR, FRONT_S = 300, 1.2, 75e-6
CHARS_A_TOKEN = 4
_BATCHES = (16_384, 8_192, 4_096, 2_048)
_STEP_S = 0.25
_MOST_GPUS = 8


@dataclass(frozen=True, slots=True)
class Work:
    """The work in tokens: `criterion` includes the question and the template's end, `written` is the judge's output for
    each. `group` responses have one conversation; `cached` is the share of responses with all verdicts in the cache."""

    instructions: int
    conversation: int
    response: int
    criterion: int
    criteria: int
    group: int = 1
    written: int = 0
    cached: float = 0.0

    @property
    def common(self) -> int:
        """Tokens that a group shares."""
        return self.instructions + self.conversation

    @property
    def prefix(self) -> int:
        """Tokens that a response's criteria share."""
        return self.common + self.response

    @property
    def prompt(self) -> int:
        return self.prefix + self.criterion

    def prompt_counts(self, block: int) -> list[tuple[int, int]]:
        """Pairs of a number of prompts in a group and the tokens that each finds in the cache: the group's first
        prompt, the first of each other response, the rest. `block` 1 is an ideal cache."""
        first, others = 1, self.group - 1
        return [
            (first, 0),
            (others, self.common // block * block),
            (self.group * (self.criteria - 1), self.prefix // block * block),
        ]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Prompt tokens of one response, a group's average."""

    unshared: float
    computed: float
    ideal: float

    @property
    def shared_ratio(self) -> float:
        """As `usage.cached_tokens` of `usage.prompt_tokens`."""
        return 1 - self.computed / self.unshared


def tokens(work: Work, block: int) -> Tokens:
    def computed(size: int) -> float:
        return sum(count * (work.prompt - known) for count, known in work.prompt_counts(size)) / work.group

    return Tokens(unshared=float(work.criteria * work.prompt), computed=computed(block), ideal=computed(1))


def reading_flops(judge: JudgeModel, work: Work, block: int) -> float:
    """Operations of one response's prefill, a group's average; each prompt also reads the vocabulary once."""
    read = sum(count * judge.flops(work.prompt - known, known) for count, known in work.prompt_counts(block))
    return read / work.group + work.criteria * 2.0 * judge.hidden * judge.vocabulary


def writing_s(judge: JudgeModel, gpu: Gpu, work: Work, dtype: Dtype, at_once: int) -> float:
    """GPU seconds of one written verdict where `at_once` are decoded side by side: the longer of computing and of
    reading weights and KV cache."""
    if work.written == 0:
        return 0.0
    context = work.prompt + work.written / 2
    flops = judge.flops(1, context) + 2.0 * judge.hidden * judge.vocabulary
    computing = at_once * flops / (READING[dtype] * gpu.peak(dtype))
    moved = judge.weight_bytes(dtype) + at_once * context * judge.kv_bytes
    return work.written / at_once * max(computing, moved / (WRITING * gpu.bandwidth * 1e12))


@dataclass(frozen=True, slots=True)
class Size:
    """The result. Rates are of one GPU; `limit` names their bound, the judge or the one core of its process. `gpus` is
    `replicas` x `gpus_a_judge`; bytes and `kv_tokens` are of one judge, `redis_bytes` and `verdicts` of one step."""

    judge: str
    gpu: str
    tokens: Tokens
    flops: float
    verdicts_per_s: float
    limit: Limit
    tokens_per_s: float
    measured: bool
    verdicts: float
    gpus_a_judge: int
    replicas: int
    gpus: int
    step_s: float
    weight_bytes: int
    kv_tokens: int
    redis_bytes: float
    front_cores: float
    max_batch_tokens: int
    max_queue_s: int
    max_queued_tokens: int


def size(
    judge: JudgeModel,
    gpu: Gpu,
    work: Work,
    *,
    dtype: Dtype,
    responses: int,
    seconds: float,
    block: int = 16,
    measured: float | None = None,
) -> Size:
    """Returns the GPUs and settings that judge `responses` within `seconds`. `measured` tokens a second and GPU,
    computed and written, replace the calculated rate. Raises SizingError."""
    count, criteria = tokens(work, block), work.criteria
    gpus_a_judge = _gpus_a_judge(judge, gpu, work, dtype)
    kv_tokens = int(_kv_bytes(judge, gpu, dtype, gpus_a_judge) / judge.kv_bytes)
    flops = reading_flops(judge, work, block)
    reading_s = flops / (READING[dtype] * gpu.peak(dtype))
    at_once = max(1, min(MAX_CONCURRENT_GENERATIONS, kv_tokens // (work.prompt + work.written)))
    each_s = reading_s + criteria * writing_s(judge, gpu, work, dtype, at_once)
    spent = count.computed + criteria * work.written
    front_s = criteria * FRONT_S * gpus_a_judge
    limit: Limit = "judge" if measured is not None or each_s >= front_s else "service"
    each_s = max(each_s, front_s) if measured is None else spent / measured
    judged = responses * (1 - work.cached)
    replicas = max(1, math.ceil(judged * each_s / seconds / gpus_a_judge - 1e-9))
    gpus = replicas * gpus_a_judge
    queue_s = max(30, math.ceil(2 * seconds))
    return Size(
        judge=judge.name,
        gpu=gpu.name,
        tokens=count,
        flops=flops,
        verdicts_per_s=criteria / each_s,
        limit=limit,
        tokens_per_s=spent / each_s,
        measured=measured is not None,
        verdicts=judged * criteria,
        gpus_a_judge=gpus_a_judge,
        replicas=replicas,
        gpus=gpus,
        step_s=judged * each_s / gpus,
        weight_bytes=judge.weight_bytes(dtype),
        kv_tokens=kv_tokens,
        redis_bytes=judged * criteria * _redis_bytes(work),
        front_cores=responses * criteria / seconds * FRONT_S,
        max_batch_tokens=_batch(count.computed / (each_s if measured else reading_s) * gpus_a_judge),
        max_queue_s=queue_s,
        max_queued_tokens=_rounded_up(_queued_tokens(work, count) / each_s * gpus_a_judge * queue_s),
    )


def _kv_bytes(judge: JudgeModel, gpu: Gpu, dtype: Dtype, gpus: int) -> float:
    return gpus * (MEMORY_SHARE * gpu.gib * 2**30 - OTHER_BYTES) - judge.weight_bytes(dtype)


def _gpus_a_judge(judge: JudgeModel, gpu: Gpu, work: Work, dtype: Dtype) -> int:
    """The smallest number that holds the weights and the tokens that are at the engine at a time."""
    needed = max(IN_FLIGHT * _BATCHES[-1], work.prompt + work.written) * judge.kv_bytes
    gpus = 1
    while _kv_bytes(judge, gpu, dtype, gpus) < needed:
        gpus *= 2
        if gpus > _MOST_GPUS or judge.heads % gpus:
            weights = judge.weight_bytes(dtype) / 2**30
            raise SizingError(
                f"{judge.name} in {dtype} ({weights:.0f} GiB) does not fit on {gpus // 2} x {gpu.name} of {gpu.gib:g} "
                "GiB: take --dtype fp8, a smaller --judge or a larger --gpu"
            )
    return gpus


def _queued_tokens(work: Work, count: Tokens) -> float:
    """Tokens that a response has in the queue: the most that may be written counts in full."""
    return count.computed + (work.criteria * REASONED_TOKENS if work.written else 0)


def _redis_bytes(work: Work) -> float:
    return REDIS_BYTES + REDIS_BYTES_A_CHAR * min(EXPLANATION_CHARS, CHARS_A_TOKEN * work.written)


def _batch(tokens_per_s: float) -> int:
    """The largest batch that takes at most a quarter of a second, so that the next request waits no longer."""
    return next((batch for batch in _BATCHES if batch <= _STEP_S * tokens_per_s), _BATCHES[-1])


def _rounded_up(number: float) -> int:
    """Rounded up to two digits."""
    digits = math.floor(math.log10(max(1.0, number)))
    unit: int = 10 ** max(0, digits - 1)
    return math.ceil(number / unit) * unit
