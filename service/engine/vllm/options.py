"""Translates options into vLLM's arguments and environment, and names those that can change a verdict.

vLLM takes some settings from environment variables only, and its processes inherit them. `write_environment` and
`write_compile_environment` write them; the service's own settings are not read here.

Guarantees: code and pickles of a checkpoint are not run. vLLM reports nothing home. Every option that can change a
verdict is a fact of the judge's identity.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from service.engine.checkpoint import quantises_head
from service.engine.identity import hash_files
from service.engine.longrope import factors_facts
from service.errors import ConfigurationError
from service.observability import logging_setup
from service.settings import EngineSettings

_GIB = 1024**3
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True, slots=True)
class Options:
    """The choices by which vLLM runs the judge. None: chosen by the machine, or by vLLM itself."""

    dtype: str = "auto"
    max_model_len: int | None = None
    tensor_parallel_size: int = 1
    quantization: str | None = None
    gpu_memory_utilization: float = 0.9
    kv_cache_gb: float | None = None
    lora: str | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool | None = None
    batch_invariant: bool = False

    @classmethod
    def from_settings(cls, settings: EngineSettings) -> Self:
        """Each option is the setting `vllm_<name>`, or `<name>` where engines share it."""
        values = settings.model_dump()
        names = {field.name: f"vllm_{field.name}" for field in fields(cls)}
        return cls(**{name: values[prefixed if prefixed in values else name] for name, prefixed in names.items()})


def write_environment(options: Options, sockets: Path) -> None:
    """Writes the variables that vLLM reads when it is imported and when its processes start.

    `sockets` is a folder for this instance of vLLM alone. A log level or log configuration that the operator has set
    for vLLM stays.
    """
    os.environ |= {
        # Nothing is reported home.
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # A fork of a process with threads, which this one is, may hang.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        # Sockets in a folder of their own: a killed process leaves them behind.
        "VLLM_RPC_BASE_PATH": str(sockets),
        "VLLM_BATCH_INVARIANT": str(int(options.batch_invariant)),
    }
    level = os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    lines = logging_setup.for_processes_of("vllm", level)
    if lines is not None and not Path(os.environ.get("VLLM_LOGGING_CONFIG_PATH", "")).is_file():
        (sockets / "log.json").write_text(json.dumps(lines), encoding="utf-8")
        os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(sockets / "log.json")


def forget_sockets(sockets: Path) -> None:
    """Removes the variables that name this folder, which is gone: another program that is started later would inherit
    them, and a vLLM among them could not begin."""
    for name in ("VLLM_RPC_BASE_PATH", "VLLM_LOGGING_CONFIG_PATH"):
        if sockets in (Path(os.environ.get(name, "")), Path(os.environ.get(name, "")).parent):
            del os.environ[name]


def write_compile_environment(options: Options, *, cpu: bool) -> None:
    """Switches off torch's compiler where vLLM runs in eager mode on a CPU.

    Eager mode alone does not: vLLM still compiles helpers, of which one costs the first answer 15 s and needs a C++
    compiler. It is read when vLLM's processes start.
    """
    if cpu and _eager(options, cpu):
        os.environ["TORCHDYNAMO_DISABLE"] = "1"


def engine_arguments(folder: Path, options: Options, *, cpu: bool) -> dict[str, Any]:
    """The arguments of vLLM's AsyncEngineArgs. Raises ConfigurationError where the LoRA adapter cannot be used."""
    dtype = ("float32" if cpu else "bfloat16") if options.dtype == "auto" else options.dtype
    cache_gb = 4.0 if options.kv_cache_gb is None and cpu else options.kv_cache_gb
    arguments: dict[str, Any] = {
        "model": str(folder),
        "served_model_name": "judge",
        "dtype": dtype,
        "hf_overrides": {"head_dtype": _head_dtype(folder, options)},
        "enforce_eager": _eager(options, cpu),
        "max_model_len": options.max_model_len,
        "tensor_parallel_size": options.tensor_parallel_size,
        "quantization": options.quantization,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "kv_cache_memory_bytes": None if cache_gb is None else int(cache_gb * _GIB),
        "max_num_batched_tokens": options.max_num_batched_tokens,
        "enable_prefix_caching": True,
        "scheduling_policy": "priority",
        "trust_remote_code": False,
        "load_format": "safetensors",
        "logprobs_mode": "raw_logprobs",
        "max_logprobs": 128,
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
        "disable_log_stats": False,
        "enable_log_requests": False,
        "use_tqdm_on_load": False,
    }
    if options.lora is not None:
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _rank(Path(options.lora))}
    return arguments


def facts(config: Any, folder: Path, options: Options) -> Mapping[str, str]:
    """The facts that can change a verdict besides the checkpoint's files, from vLLM's resolved configuration `config`
    where it has them."""
    import torch
    import vllm

    generation = folder / "generation_config.json"
    return {
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "head_dtype": str(config.model_config.head_dtype).removeprefix("torch."),
        "device": "cpu" if on_cpu() else str(config.device_config.device_type),
        "vllm": str(vllm.__version__),
        "torch": str(torch.__version__),
        "quantization": str(config.model_config.quantization or "none"),
        "kv_cache_dtype": str(config.cache_config.cache_dtype),
        "attention": str(config.attention_config.backend or "auto"),
        "enforce_eager": str(config.model_config.enforce_eager).lower(),
        "tensor_parallel_size": str(config.parallel_config.tensor_parallel_size),
        "batch_invariant": str(options.batch_invariant).lower(),
        "lora_sha256": hash_files(_adapter(Path(options.lora))) if options.lora else "none",
        # Its end tokens end a written answer.
        "generation_config_sha256": hash_files([generation]) if generation.exists() else "none",
        "grammar": f"llguidance {version('llguidance')}",
        **factors_facts(config.model_config.hf_text_config, config.model_config.max_model_len),
    }


def on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _eager(options: Options, cpu: bool) -> bool:
    return cpu if options.enforce_eager is None else options.enforce_eager


def _head_dtype(folder: Path, options: Options) -> str:
    """In bfloat16 P(met) would have steps, and labels would tie. But vLLM (0.32) raises an error at its first prompt
    where a quantised head is to be float32, and on a GPU its float32 head goes past its batch-invariant kernels."""
    return "model" if options.batch_invariant or quantises_head(folder) else "float32"


def _rank(lora: Path) -> int:
    _adapter(lora)
    try:
        rank = int(json.loads((lora / "adapter_config.json").read_text(encoding="utf-8"))["r"])
        return next(allowed for allowed in _LORA_RANKS if allowed >= rank)
    except (OSError, ValueError, TypeError, KeyError, StopIteration) as error:
        raise ConfigurationError(f"{lora}/adapter_config.json holds no rank `r` up to {_LORA_RANKS[-1]}") from error


def _adapter(lora: Path) -> list[Path]:
    files = [lora / "adapter_config.json", lora / "adapter_model.safetensors"]
    if lacking := [path.name for path in files if not path.is_file()]:
        raise ConfigurationError(f"{lora} is no LoRA adapter in safetensors: it lacks {', '.join(lacking)}")
    return files
