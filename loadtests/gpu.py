"""Measures how near the judge engines come to a GPU's peak: verdicts a second on the shapes of two real judges.

The models are Qwen2.5-7B and Qwen3-32B in bfloat16 with random weights, made on the GPU and never downloaded: the speed
is real, the verdicts mean nothing. The work is 12 criteria of 40 own tokens on 500 instruction tokens, which all
prompts have in common, and 1,200 of a response of its own; several responses at a time, nothing cached beforehand.

The limit beside a rate is what the GPU's peak allows for one response without anybody to share the instructions with
(2,180 tokens, their products and their attention). An engine that shares the instructions between responses computes
fewer tokens; `efficiency` counts the arithmetic of those that it computed, against the peak. Every engine and shape
runs in a process of its own, so that one that fails takes nothing from the others.

    python -m loadtests.gpu [--seconds 25] [--engines local,vllm] [--shapes 7B,32B] [--tiny]
"""

import argparse
import asyncio
import importlib.util
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from service.engine.base import EngineIdentity, LabelLogprobs, Prompt

INSTRUCTIONS, SHARED, OWN, CRITERIA = 500, 1_200, 40, 12
LABELS = (100, 200)
# Dense bfloat16 products, 10^12 operations a second, by what the device calls itself; the first that fits counts.
PEAKS = {
    "B200": 2_250.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.0,
}
# One process, loading included: four of them stay below eight minutes.
LONGEST_RUN_S = 115


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder with grouped queries and a gated feed-forward part. `kind` is transformers' name of it."""

    kind: str
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    responses: int

    @property
    def weights(self) -> int:
        """Those of the products that every token goes through: all but embedding and head."""
        attention = self.hidden * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    def config(self) -> dict[str, Any]:
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_size,
            "max_position_embeddings": 4_096,
            "tie_word_embeddings": False,
        }


SHAPES = {
    "7B": Shape("qwen2", 152_064, 3_584, 18_944, 28, 28, 4, 128, responses=16),
    "32B": Shape("qwen3", 151_936, 5_120, 25_600, 64, 64, 8, 128, responses=8),
    "tiny": Shape("qwen2", 512, 64, 128, 2, 4, 2, 16, responses=2),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """`tokens` are those of one round that were computed; the clock is the median while it ran, None if unknown."""

    verdicts_per_s: float
    rounds: int
    tokens: int
    memory_GB: float
    clock_MHz: float | None


def operations(shape: Shape, tokens: int, pairs: int) -> float:
    """Floating-point operations of `tokens` through the layers and of `pairs` of query and key in each of them."""
    return 2.0 * shape.weights * tokens + 4.0 * shape.heads * shape.head_size * shape.layers * pairs


def of_response(prefix: int) -> tuple[int, int]:
    """Tokens and pairs of one response whose instructions are computed with it (`prefix` of them) or were before."""
    known = INSTRUCTIONS - prefix
    long, own = prefix + SHARED, CRITERIA * OWN
    pairs = long * known + long * long // 2 + own * (INSTRUCTIONS + SHARED) + own * OWN // 2
    return long + own, pairs


def limit(shape: Shape, peak_T: float) -> float:
    """Verdicts a second at the GPU's peak, one response by itself."""
    return CRITERIA * peak_T * 1e12 / operations(shape, *of_response(INSTRUCTIONS))


def efficiency(shape: Shape, peak_T: float, rate: float, tokens: int, responses: int) -> float:
    """The share of the peak that went into what was computed: `tokens` for a round of `responses`."""
    alone, _ = of_response(INSTRUCTIONS)
    shared, pairs = of_response(0)
    _, first = of_response(INSTRUCTIONS)
    whole = min(max((tokens - responses * shared) / (alone - shared), 0), responses)
    done = operations(shape, tokens, int(whole * first + (responses - whole) * pairs))
    return done * rate / (CRITERIA * responses) / (peak_T * 1e12)


def peak(name: str) -> float | None:
    return next((peak_T for part, peak_T in PEAKS.items() if part in name), None)


def prompts_of_round(seed: int, shape: Shape) -> list[Prompt]:
    rng = random.Random(seed)
    same = random.Random(0)
    instructions = tuple(same.randrange(shape.vocabulary) for _ in range(INSTRUCTIONS))
    shared = [
        instructions + tuple(rng.randrange(shape.vocabulary) for _ in range(SHARED)) for _ in range(shape.responses)
    ]
    return [
        Prompt(text, tuple(rng.randrange(shape.vocabulary) for _ in range(OWN)))
        for text in shared
        for _ in range(CRITERIA)
    ]


def measure(read: Callable[[list[Prompt]], int], shape: Shape, seconds_s: float) -> Measured:
    """Rounds until the time is over, two at least after a first one that is not counted. `read` returns its tokens."""
    read(prompts_of_round(1, shape))
    clocks: list[float] = []
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(clocks, over), daemon=True)
    watch.start()
    times: list[float] = []
    tokens = 0
    started = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - started < seconds_s:
        prompts = prompts_of_round(2 + len(times), shape)
        begun = time.perf_counter()
        tokens = read(prompts)
        times.append(time.perf_counter() - begun)
    over.set()
    watch.join()
    rate = shape.responses * CRITERIA / statistics.median(times)
    clock = statistics.median(clocks) if clocks else None
    return Measured(rate, len(times), tokens, _memory_GB(), clock)


def local(shape: Shape, seconds_s: float) -> Measured:
    from transformers import AutoConfig, AutoModelForCausalLM

    from service.engine.checkpoint import LoadedCheckpoint
    from service.engine.local.engine import LocalEngine

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    maker: Any = AutoModelForCausalLM
    with device:
        config: Any = AutoConfig.for_model(shape.kind, **shape.config())
        model = maker.from_config(config, dtype=torch.bfloat16).eval()
    identity = EngineIdentity(model="random-weight", revision="none", engine="local", facts={})
    checkpoint = LoadedCheckpoint(
        model, device, identity, config.max_position_embeddings, shape.vocabulary, Path("none")
    )
    engine = LocalEngine(checkpoint, max_batch_tokens=None, share_prefix=True)
    _say(f"local: attention {engine.identity.facts['attention']}")

    async def all_turns() -> Measured:
        def read(prompts: list[Prompt]) -> int:
            outcomes = asyncio.run_coroutine_threadsafe(engine.read_labels(prompts, LABELS), loop).result()
            return _computed(prompts, outcomes)

        loop = asyncio.get_running_loop()
        measured = await asyncio.to_thread(measure, read, shape, seconds_s)
        await engine.stop()
        return measured

    return asyncio.run(all_turns())


def vllm(shape: Shape, seconds_s: float) -> Measured:
    """Raw, offline: token ids in, both labels' log-probabilities out, without a service around it."""
    from transformers import AutoConfig
    from vllm import LLM, SamplingParams

    with tempfile.TemporaryDirectory() as folder:
        config: Any = AutoConfig.for_model(shape.kind, **shape.config())
        config.architectures = [{"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[shape.kind]]
        config.save_pretrained(folder)
        engine: Any = LLM(
            folder,
            load_format="dummy",
            skip_tokenizer_init=True,
            dtype="bfloat16",
            max_model_len=4_096,
            enforce_eager=True,
            enable_prefix_caching=True,
            disable_log_stats=True,
        )
    sampling: Any = SamplingParams(
        max_tokens=1, temperature=0, logprobs=len(LABELS), logprob_token_ids=list(LABELS), detokenize=False
    )

    def read(prompts: list[Prompt]) -> int:
        asked: Any = [{"prompt_token_ids": list(prompt.ids)} for prompt in prompts]
        answers = engine.generate(asked, sampling, use_tqdm=False)
        return sum(len(answer.prompt_token_ids) - (answer.num_cached_tokens or 0) for answer in answers)

    return measure(read, shape, seconds_s)


ENGINES: dict[str, Callable[[Shape, float], Measured]] = {"local": local, "vllm": vllm}


def run(engine: str, shape: str, seconds_s: float) -> Measured | str:
    """One engine on one shape in a process of its own; or why there is no figure."""
    command = [sys.executable, "-m", "loadtests.gpu", "--one", engine, shape, "--seconds", str(seconds_s)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LONGEST_RUN_S, check=False)
    except subprocess.TimeoutExpired:
        return f"took longer than {LONGEST_RUN_S} s"
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return Measured(**json.loads(found[-1])) if done.returncode == 0 and found else f"ended with {done.returncode}"


def row(engine: str, name: str, shape: Shape, measured: Measured | str, peak_T: float | None) -> str:
    if isinstance(measured, str):
        return f"{name:>6} {engine:>7}  {measured}"
    clock = "-" if measured.clock_MHz is None else f"{measured.clock_MHz:.0f}"
    most = share = used = "-"
    if peak_T is not None:
        ceiling = limit(shape, peak_T)
        done = efficiency(shape, peak_T, measured.verdicts_per_s, measured.tokens, shape.responses)
        most, share, used = f"{ceiling:.0f}", f"{measured.verdicts_per_s / ceiling:.2f}", f"{done:.0%}"
    per_verdict = measured.tokens / (shape.responses * CRITERIA)
    return (
        f"{name:>6} {engine:>7} {measured.verdicts_per_s:>11.1f} {most:>7} {share:>9} {used:>11} {per_verdict:>14.0f} "
        f"{measured.memory_GB:>10.1f} {clock:>7} {measured.rounds:>6}"
    )


def main(engines: Sequence[str], shapes: Sequence[str], seconds_s: float) -> None:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    peak_T = peak(name)
    known = "its peak is unknown: no limit is given" if peak_T is None else f"peak {peak_T:.0f} TFLOP/s in bfloat16"
    _say(f"{name}, {known}; random weights; torch {torch.__version__}")
    rows = []
    for shape in shapes:
        for engine in engines:
            _say(f"{shape} on {engine} ...")
            rows.append(row(engine, shape, SHAPES[shape], run(engine, shape, seconds_s), peak_T))
            _say(rows[-1])
    print(f"\n{CRITERIA} criteria of {OWN} tokens on {INSTRUCTIONS} + {SHARED}; {name}; random weights")
    print(
        f"{'shape':>6} {'engine':>7} {'verdicts/s':>11} {'limit':>7} {'of limit':>9} {'efficiency':>11} "
        f"{'tokens/verdict':>14} {'memory GB':>10} {'SM MHz':>7} {'rounds':>6}"
    )
    print("\n".join(rows))
    if not any(line.rstrip()[-1].isdigit() and "ended" not in line and "longer" not in line for line in rows):
        raise SystemExit(1)


def _computed(prompts: list[Prompt], outcomes: Sequence[Any]) -> int:
    reads = [outcome for outcome in outcomes if isinstance(outcome, LabelLogprobs)]
    if len(reads) != len(prompts):
        raise SystemExit(f"the engine did not read every prompt: {outcomes}")
    return sum(len(prompt) - read.cached_tokens for prompt, read in zip(prompts, reads, strict=True))


def _memory_GB() -> float:
    """Of the whole GPU, whoever has taken it; without one, nothing."""
    if not torch.cuda.is_available():
        return 0.0
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 1e9


def _watch(clocks: list[float], over: threading.Event) -> None:
    """Note the GPU's clock twice a second, where nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits"]
    while not over.wait(0.5):
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
            clocks.append(float(answer.split()[0]))
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            return


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=25.0, help="measuring time for each engine and shape")
    parser.add_argument("--engines", default=None, help="default: local, and vllm where it is installed")
    parser.add_argument("--shapes", default="7B,32B")
    parser.add_argument("--tiny", action="store_true", help="the same code on a CPU with a tiny model; no figure")
    parser.add_argument("--one", nargs=2, metavar=("ENGINE", "SHAPE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        found = ENGINES[options.one[0]](SHAPES[options.one[1]], options.seconds)
        print(json.dumps({name: getattr(found, name) for name in Measured.__dataclass_fields__}), flush=True)
        sys.exit(0)
    if not options.tiny and not torch.cuda.is_available():
        sys.exit("bench-gpu needs a machine with a GPU that torch can use: there is none here")
    installed = ["local"] + (["vllm"] if importlib.util.find_spec("vllm") and not options.tiny else [])
    asked = installed if options.engines is None else options.engines.split(",")
    main(asked, ["tiny"] if options.tiny else options.shapes.split(","), options.seconds)
