"""Translates queries into vLLM's sampling parameters, and reads its outputs strictly.

Guarantees: an output that lacks anything is a failure and not a default. A label's log-probability is the raw one, over
the whole vocabulary, whatever the label's rank.
"""

import math
from collections.abc import Sequence
from typing import Any

from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Sampling
from service.errors import Cancelled, EngineFailed, JudgementError


def label_params(label_ids: tuple[int, ...]) -> Any:
    """Parameters of a label query. Requests may share them: vLLM changes a shallow copy of its own."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        max_tokens=1,
        temperature=0,
        logprobs=len(label_ids),
        logprob_token_ids=list(label_ids),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )


def generation_params(sampling: Sampling) -> Any:
    """Parameters of one generation, for one request: vLLM stores the compiled grammar in them."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    grammar = None if sampling.json_schema is None else StructuredOutputsParams(json=sampling.json_schema)
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        # vLLM takes -1 for no seed at all.
        seed=sampling.seed % 2**63 if sampling.temperature > 0 else None,
        stop_token_ids=list(sampling.stop_ids),
        structured_outputs=grammar,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )


def read_labels(output: Any, label_ids: Sequence[int]) -> Outcome:
    if (failure := _failure(output)) is not None:
        return failure
    positions = output.outputs[0].logprobs
    if not positions or len(positions) != 1:
        return EngineFailed("the judge's answer is not one token with log-probabilities")
    reported = [positions[0].get(label) for label in label_ids]
    logprobs = tuple(float(entry.logprob) for entry in reported if entry is not None)
    if len(logprobs) != len(reported):
        return EngineFailed("the judge's answer lacks a label's probability")
    if not all(map(math.isfinite, logprobs)):
        return EngineFailed("the judge's label probabilities are not finite numbers")
    return LabelLogprobs(logprobs=logprobs, cached_tokens=output.num_cached_tokens or 0)


def read_generation(output: Any) -> GenerationOutcome:
    if (failure := _failure(output)) is not None:
        return failure
    generated = output.outputs[0]
    return Generation(
        text=generated.text,
        finished=generated.finish_reason == "stop",
        tokens=len(generated.token_ids),
        cached_tokens=output.num_cached_tokens or 0,
    )


def _failure(output: Any) -> JudgementError | None:
    if not output.finished or len(output.outputs) != 1:
        return EngineFailed("the judge gave no whole answer")
    reason = output.outputs[0].finish_reason
    if reason == "abort":
        return Cancelled("nobody waits for this judgement any more")
    if reason not in ("stop", "length"):
        return EngineFailed(f"the judge's answer ended with {reason!r}")
    return None
