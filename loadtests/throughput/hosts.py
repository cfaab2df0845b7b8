"""Starts each baseline's server on a model, all with the same limits.

Guarantees: One data type, one size of the KV cache, one number of tokens a step, nothing compiled. The OpenAI server is
in its development mode for one thing: the door that empties the prefix cache.
"""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loadtests.throughput.models import LONGEST
from testkit.free_port import free_port
from testkit.processes import Host, hosted

HostName = Literal["raw", "ours_vllm", "ours_local", "server"]

STEP_TOKENS, SEQUENCES, KV_CACHE_GB = 4_096, 256, 2


@dataclass(frozen=True, slots=True)
class Setting:
    """The hosts of one model share these settings."""

    model: Path
    dtype: str
    logs: Path


@contextlib.contextmanager
def start(name: HostName, setting: Setting) -> Iterator[Host]:
    """The host, ready. Raises Failed where it does not start."""
    port = free_port()
    command, ready = _command(name, setting, port)
    env = {
        "VLLM_CPU_KVCACHE_SPACE": str(KV_CACHE_GB),
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    log = setting.logs / f"{name}.log"
    with hosted([sys.executable, "-m", *command], log=log, port=port, ready=ready, env=env) as host:
        yield host


def _command(name: HostName, setting: Setting, port: int) -> tuple[list[str], str]:
    """The module with its flags, and the path that answers 200 when it is ready."""
    model, dtype = str(setting.model), setting.dtype
    engine = ["--model", model, "--port", str(port), "--dtype", dtype]
    limits = ["--max-model-len", str(LONGEST), "--max-num-batched-tokens", str(STEP_TOKENS)]
    limits += ["--max-num-seqs", str(SEQUENCES)]
    judge = ["--judge", model, "--port", str(port), "--dtype", dtype, "--label-mass-floor", "0"]
    judge += ["--canary-every-s", "0"]
    match name:
        case "raw":
            return ["loadtests.throughput.raw", *engine, *limits], "/"
        case "server":
            quiet = ["--disable-uvicorn-access-log", "--enforce-eager", "--served-model-name", "judge"]
            return ["vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", *engine, *limits, *quiet], "/health"
        case "ours_vllm":
            ours = ["--vllm-max-num-batched-tokens", str(STEP_TOKENS), "--vllm-kv-cache-gb", str(KV_CACHE_GB)]
            ours += ["--max-model-len", str(LONGEST)]
            return ["service", "serve", "--engine", "vllm", *judge, *ours], "/readyz"
        case "ours_local":
            return ["service", "serve", "--engine", "local", *judge], "/readyz"
