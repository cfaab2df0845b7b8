"""Looks at Python, the machine's memory and GPUs, and the packages that the settings need.

Guarantees: no package is imported to see whether it is there, except torch, to find GPUs.
"""

import platform
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from service.doctor.findings import Finding, gib
from service.engine.build import MINIATURE
from service.engine.devices import Gpu
from service.settings import EngineSettings, Settings

_PYTHON = (3, 11)
_MODULES = ("torch", "transformers", "tokenizers", "safetensors", "llguidance")
_VLLM_MODULES = ("vllm", "psutil")
_TRACING_MODULES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def check_python(found: tuple[int, ...]) -> Finding:
    text = f"{'.'.join(map(str, found))} ({sys.executable})"
    if found < _PYTHON:
        needed = ".".join(map(str, _PYTHON))
        return Finding("Python", "error", text, f"install Python {needed} or newer and make a new environment with it")
    return Finding("Python", "ok", text)


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes. Of a container these are its limits, where they are less than the machine's."""

    total: int
    available: int


def read_memory(root: Path = Path("/")) -> Memory | None:
    """None where the operating system does not say it as Linux does."""
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii")
        kilobytes = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", lines, re.M)}
        memory = Memory(kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024)
    except (OSError, KeyError):
        return None
    with suppress(OSError, ValueError):  # "max" is no number: there is no limit
        limit = int((root / "sys/fs/cgroup/memory.max").read_text())
        used = int((root / "sys/fs/cgroup/memory.current").read_text())
        memory = Memory(min(memory.total, limit), min(memory.available, max(0, limit - used)))
    return memory


def check_machine(settings: EngineSettings, cores: int, memory: Memory | None) -> Finding:
    """Checks whether a judge that runs on the CPU has room for its weights."""
    text = f"{platform.system()} on {platform.machine()}, {cores} CPU core{'' if cores == 1 else 's'}"
    if memory is None:
        return Finding("Machine", "ok", text)
    text += f", {gib(memory.total)} of memory, {gib(memory.available)} of it free"
    need = _weights_bytes(settings) if _runs_on_cpu(settings) else 0
    smaller = "take a smaller judge, or a machine with more memory"
    if need > memory.total:
        return Finding("Machine", "error", f"{text}; the judge's weights need {gib(need)}", smaller)
    if need > memory.available:
        return Finding(
            "Machine", "warning", f"{text}; the judge's weights need {gib(need)}", f"end other programs, or {smaller}"
        )
    return Finding("Machine", "ok", text)


def _runs_on_cpu(settings: EngineSettings) -> bool:
    return settings.engine in ("auto", "local") and (settings.device or "cpu") == "cpu"


def _weights_bytes(settings: EngineSettings) -> int:
    """About what the weights take in memory: most checkpoints have 16 bits a weight. 0 where they are not on disk."""
    folder = MINIATURE if settings.judge is None else Path(settings.judge)
    on_disk = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return on_disk if settings.dtype == "bfloat16" or settings.judge is None else 2 * on_disk


def check_gpu(settings: EngineSettings, gpus: tuple[Gpu, ...] | None) -> Finding:
    """Checks whether there are the GPUs that the settings name."""
    if gpus:
        text = ", ".join(f"{one.name} with {gib(one.memory)}" for one in gpus)
    else:
        text = "torch is missing or computes on CPUs only" if gpus is None else "torch sees none"
    found, needed = len(gpus or ()), _needed_gpus(settings, has_cuda=gpus is not None)
    if found >= needed:
        return Finding("GPU", "ok", text if gpus else f"{text}; these settings need none")
    if gpus is None:
        remedy = "install a build of torch for your GPU, or set `device` to cpu"
    else:
        remedy = "look at `nvidia-smi` and CUDA_VISIBLE_DEVICES, or set `device` or `vllm_tensor_parallel_size` to fit"
    return Finding("GPU", "error", f"{text}; these settings need {needed}", remedy)


def _needed_gpus(settings: EngineSettings, *, has_cuda: bool) -> int:
    if settings.engine == "vllm":
        return settings.vllm_tensor_parallel_size if has_cuda else 0  # vLLM's build for CPUs needs none
    if settings.engine in ("auto", "local") and (settings.device or "").startswith("cuda"):
        return int((settings.device or "").partition(":")[2] or 0) + 1
    return 0


def installed_version(module: str) -> str | None:
    """The version of the package that has this module: vLLM's build for CPUs is a package of another name. None where
    the module is missing."""
    try:
        if find_spec(module) is None:
            return None
    except ModuleNotFoundError:  # the package above it is missing
        return None
    names = packages_distributions().get(module.partition(".")[0])
    return version(names[0]) if names else "unknown"


def check_packages(settings: Settings, installed: Callable[[str], str | None] = installed_version) -> Finding:
    """Checks whether the packages of the engine, and of tracing, are installed."""
    needed = _MODULES + (_VLLM_MODULES if settings.engine == "vllm" else ())
    needed += _TRACING_MODULES if settings.otlp_endpoint else ()
    versions = {module: installed(module) for module in needed}
    missing = [module for module, version in versions.items() if version is None]
    engine = "local" if settings.engine == "auto" else settings.engine
    if not missing:
        found = ", ".join(f"{module} {version}" for module, version in versions.items())
        return Finding("Packages", "ok", f"engine {engine}: {found}")
    extras = ["service"] + ["vllm"] * (settings.engine == "vllm") + ["tracing"] * (settings.otlp_endpoint is not None)
    remedy = f"pip install 'rubricd[{','.join(extras)}]'"
    return Finding("Packages", "error", f"engine {engine} needs {', '.join(missing)}", remedy)
