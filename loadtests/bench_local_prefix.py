"""What sharing a prefix is worth to the local engine: verdicts a second with and without it, side by side in one run.

The shape is HealthBench's: 12 criteria of 60 own tokens on 1,200 shared ones. The weights are random, so the speed is
real and the verdicts mean nothing. The two ways take turns on the same prompts, so that what else the machine does
falls on both; the ratio is the figure to look at, not the rates. Without sharing, criteria have nothing to do with each
other, so there only 3 of the 12 are read in a turn and the rate is theirs. Each row also says how far the two ways'
P(met) are apart.

    python -m loadtests.bench_local_prefix [--seconds 20] [--dtype bfloat16]
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

from service.engine.base import LabelRead, Prompt
from service.engine.checkpoint import Dtype
from service.engine.local import LocalEngine

CRITERIA, SHARED, OWN = 12, 1_200, 60
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


def response(seed: int, vocabulary: int) -> list[Prompt]:
    """One response's criteria, with own parts of 40 to 80 tokens."""
    rng = random.Random(seed)
    shared = tuple(rng.randrange(vocabulary) for _ in range(SHARED))
    lengths = rng.sample([OWN + spread for spread in range(-20, 21, 4)] + [OWN], CRITERIA)
    return [Prompt(shared, tuple(rng.randrange(vocabulary) for _ in range(n))) for n in lengths]


async def timed(engine: LocalEngine, prompts: list[Prompt]) -> tuple[float, list[float]]:
    started = time.perf_counter()
    outcomes = await engine.read_labels(prompts, LABELS)
    took_s = time.perf_counter() - started
    reads = [outcome for outcome in outcomes if isinstance(outcome, LabelRead)]
    if len(reads) != len(prompts):
        raise SystemExit("the engine did not read every prompt")
    return took_s, [1 / (1 + math.exp(read.logprobs[1] - read.logprobs[0])) for read in reads]


async def compare(name: str, shape: dict[str, Any], dtype: Dtype, seconds_s: float) -> str:
    """Take turns while another one fits in the time, one at least; medians, so that a disturbed turn counts little."""
    with tempfile.TemporaryDirectory() as folder:
        size = make(Path(folder), shape)
        ways = [LocalEngine.load(folder, device="cpu", dtype=dtype, share_prefix=share) for share in (True, False)]
    took: tuple[list[float], list[float]] = ([], [])
    apart = 0.0
    warm_up = [Prompt(prompt.shared[:50], prompt.own) for prompt in response(0, shape["vocab_size"])]
    for way in ways:
        await timed(way, warm_up)
    started = time.perf_counter()
    turn = 0
    while turn == 0 or (time.perf_counter() - started) * (turn + 1) / turn < seconds_s:
        turn += 1
        prompts = response(turn, shape["vocab_size"])
        met: list[list[float]] = []
        for way, times, n in zip(ways, took, (CRITERIA, ALONE), strict=True):
            took_s, p = await timed(way, prompts[:n])
            times.append(took_s / n)
            met.append(p[:ALONE])
        apart = max(apart, *(abs(a - b) for a, b in zip(*met, strict=True)))
    for way in ways:
        await way.stop()
    shared, alone = (1 / statistics.median(times) for times in took)
    ratio = statistics.median(b / a for a, b in zip(*took, strict=True))
    return f"{name:>6} {size / 1e6:>8.1f}M {shared:>12.1f} {alone:>12.1f} {ratio:>8.2f}x {turn:>6} {apart:>10.1e}"


async def main(dtype: Dtype, seconds_s: float) -> None:
    quiet: Any = transformers_logging
    quiet.disable_progress_bar()
    print(
        f"{CRITERIA} criteria of about {OWN} own tokens on {SHARED} shared; "
        f"verdicts/s, {dtype} on a CPU, {torch.get_num_threads()} threads"
    )
    print(f"{'model':>6} {'size':>9} {'shared':>12} {'not shared':>12} {'ratio':>9} {'turns':>6} {'P apart':>10}")
    for name, shape in SHAPES.items():
        print(await compare(name, shape, dtype, seconds_s / len(SHAPES)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0, help="measuring time in all, without loading")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    asyncio.run(main(options.dtype, options.seconds))
