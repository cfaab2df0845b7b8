"""Measures what shared prefixes save engine `local`: verdicts a second in three ways, side by side in one run.

The shape is that of GRPO: groups of 8 responses to one conversation of 600 tokens, a response of about 600 tokens and
its 12 criteria of about 60. `groups`: all of a group in one call, the conversation computed once; `responses`: a call
for each response, as if nobody knew that they belong together; `not shared`: every prompt by itself. The weights are
random, so the speed is real and the verdicts mean nothing. They alternate in rounds on the same prompts, so that what
else the machine does falls on all; the ratios are the figures to look at, not the rates. Without sharing, criteria have
nothing to do with each other, so there only 3 of the 96 are read in a round and the rate is theirs. Each row also says
how far the ways' P(met) are apart.

    python -m loadtests.local_prefix [--seconds 20] [--dtype bfloat16] [--models 0.5M,40M]
"""

import argparse
import asyncio
import math
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen2Config
from transformers.utils import logging as transformers_logging

from service.engine.base import LabelLogprobs, Prompt
from service.engine.checkpoint import Dtype
from service.engine.local.engine import LocalEngine

RESPONSES, CRITERIA = 8, 12
CONVERSATION, RESPONSE, OWN = 600, 600, 60
ALONE = 3
LABELS = (100, 200)
SHAPES: dict[str, dict[str, Any]] = {
    "0.5M": {"vocab_size": 4_096, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4},
    "40M": {"vocab_size": 8_192, "hidden_size": 512, "intermediate_size": 1_792, "num_hidden_layers": 10},
}


def make(folder: Path, shape: dict[str, Any]) -> int:
    """Save a random model of this shape; returns its number of parameters."""
    heads = shape["hidden_size"] // 32
    maker: Any = AutoModelForCausalLM
    config = Qwen2Config(
        **shape,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=2_048,
        initializer_range=0.05,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = maker.from_config(config)
    model.save_pretrained(folder)
    return int(model.num_parameters())


def group(seed: int, vocabulary: int) -> list[list[Prompt]]:
    """A group's responses, each with its criteria: own parts of 40 to 80 tokens, responses of 500 to 700."""
    rng = random.Random(seed)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(n))

    conversation = ids(CONVERSATION)
    shared = [conversation + ids(RESPONSE + rng.randint(-100, 100)) for _ in range(RESPONSES)]
    return [[Prompt(text, ids(OWN + rng.randint(-20, 20))) for _ in range(CRITERIA)] for text in shared]


async def timed(engine: LocalEngine, calls: list[list[Prompt]]) -> tuple[float, list[float]]:
    """Seconds a verdict, and P(met) of each."""
    started = time.perf_counter()
    outcomes = [outcome for prompts in calls for outcome in await engine.read_labels(prompts, LABELS)]
    took_s = time.perf_counter() - started
    reads = [outcome for outcome in outcomes if isinstance(outcome, LabelLogprobs)]
    if len(reads) != sum(map(len, calls)):
        raise SystemExit("the engine did not read every prompt")
    return took_s / len(reads), [1 / (1 + math.exp(read.logprobs[1] - read.logprobs[0])) for read in reads]


async def compare(name: str, shape: dict[str, Any], dtype: Dtype, seconds_s: float) -> str:
    """Rounds while another one fits in the time, one at least; medians, so that a disturbed round counts little."""
    with tempfile.TemporaryDirectory() as folder:
        size = make(Path(folder), shape)
        sharing, alone = (
            LocalEngine.load(folder, device="cpu", dtype=dtype, share_prefix=share) for share in (True, False)
        )
    took: tuple[list[float], list[float], list[float]] = ([], [], [])
    apart = 0.0
    for engine in (sharing, alone):
        await timed(engine, [[Prompt(prompt.shared[:50], prompt.own) for prompt in group(0, shape["vocab_size"])[0]]])
    started = time.perf_counter()
    rounds = 0
    while rounds == 0 or (time.perf_counter() - started) * (rounds + 1) / rounds < seconds_s:
        rounds += 1
        responses = group(rounds, shape["vocab_size"])
        whole = [prompt for prompts in responses for prompt in prompts]
        met: list[list[float]] = []
        for engine, times, calls in zip(
            (sharing, sharing, alone), took, ([whole], responses, [whole[:ALONE]]), strict=True
        ):
            took_s, p = await timed(engine, calls)
            times.append(took_s)
            met.append(p)
        pairs = [*zip(met[0], met[1], strict=True), *zip(met[0][:ALONE], met[2], strict=True)]
        apart = max(apart, *(abs(a - b) for a, b in pairs))
    for engine in (sharing, alone):
        await engine.stop()
    rates = [1 / statistics.median(times) for times in took]
    ratios = [statistics.median(b / a for a, b in zip(took[0], times, strict=True)) for times in took[1:]]
    figures = " ".join(f"{rate:>11.1f}" for rate in rates) + "".join(f" {ratio:>11.2f}x" for ratio in ratios)
    return f"{name:>6} {size / 1e6:>8.1f}M {figures} {rounds:>6} {apart:>10.1e}"


async def main(dtype: Dtype, models: list[str], seconds_s: float) -> None:
    quiet: Any = transformers_logging
    quiet.disable_progress_bar()
    print(
        f"{RESPONSES} responses of {CRITERIA} criteria: {CONVERSATION} + about {RESPONSE} + about {OWN} tokens; "
        f"verdicts/s, {dtype} on a CPU, {torch.get_num_threads()} threads"
    )
    print(
        f"{'model':>6} {'size':>9} {'groups':>11} {'responses':>11} {'not shared':>11} {'g/responses':>12} "
        f"{'g/not':>12} {'rounds':>6} {'P apart':>10}"
    )
    for name in models:
        print(await compare(name, SHAPES[name], dtype, seconds_s / len(models)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0, help="measuring time in all, without loading")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--models", default=",".join(SHAPES))
    options = parser.parse_args()
    asyncio.run(main(options.dtype, options.models.split(","), options.seconds))
