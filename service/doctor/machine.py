"""Looks at Python, the machine's memory and GPUs, and the packages that the settings need.

Guarantees: no package is imported to see whether it is there, except torch, to find GPUs.
"""

import platform
import re
import sys
from collections.abc import Callable, Sequence
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


def check_machine(judges: Sequence[EngineSettings], cores: int, memory: Memory | None) -> Finding:
    """Checks whether the judges that run on the CPU have room for their weights: each is a process with its own."""
    text = f"{platform.system()} on {platform.machine()}, {cores} CPU core{'' if cores == 1 else 's'}"
    if memory is None:
        return Finding("Machine", "ok", text)
    text += f", {gib(memory.total)} of memory, {gib(memory.available)} of it free"
    on_cpu = [one for one in judges if _runs_on_cpu(one)]
    need = sum(map(_weights_bytes, on_cpu))
    smaller = "take a smaller judge, or a machine with more memory"
    whose = "the judge's weights need" if len(on_cpu) < 2 else f"the weights of {len(on_cpu)} judges need"
    if need > memory.total:
        return Finding("Machine", "error", f"{text}; {whose} {gib(need)}", smaller)
    if need > memory.available:
        return Finding("Machine", "warning", f"{text}; {whose} {gib(need)}", f"end other programs, or {smaller}")
    return Finding("Machine", "ok", text)


def _runs_on_cpu(settings: EngineSettings) -> bool:
    return settings.engine in ("auto", "local") and (settings.device or "cpu") == "cpu"


def _weights_bytes(settings: EngineSettings) -> int:
    """About what the weights take in memory: most checkpoints have 16 bits a weight. 0 where they are not on disk."""
    folder = MINIATURE if settings.judge is None else Path(settings.judge)
    on_disk = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return on_disk if settings.dtype == "bfloat16" or settings.judge is None else 2 * on_disk


def check_gpu(judges: Sequence[EngineSettings], gpus: tuple[Gpu, ...] | None) -> Finding:
    """Checks whether there are the GPUs that the judges' settings name, and whether judges of engine `vllm` can share
    the first one."""
    if gpus:
        text = ", ".join(f"{one.name} with {gib(one.memory)}" for one in gpus)
    else:
        text = "torch is missing or computes on CPUs only" if gpus is None else "torch sees none"
    found = len(gpus or ())
    needed = max((_needed_gpus(one, has_cuda=gpus is not None) for one in judges), default=0)
    share = sum(one.vllm_gpu_memory_utilization for one in judges if one.engine == "vllm" and gpus)
    if found >= needed and share > 1.0:
        text = f"{text}; judges of engine vllm take {share:g} of the first one's memory together"
        return Finding("GPU", "warning", text, "lower their `vllm_gpu_memory_utilization` to a sum of at most 1")
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


def check_packages(
    settings: Settings, judges: Sequence[EngineSettings], installed: Callable[[str], str | None] = installed_version
) -> Finding:
    """Checks whether the packages of the judges' engines, and of tracing, are installed."""
    engines = list(dict.fromkeys("local" if one.engine == "auto" else one.engine for one in judges))
    needed = _MODULES + (_VLLM_MODULES if "vllm" in engines else ())
    needed += _TRACING_MODULES if settings.otlp_endpoint else ()
    versions = {module: installed(module) for module in needed}
    missing = [module for module, version in versions.items() if version is None]
    engine = f"engine{'s' if len(engines) > 1 else ''} {', '.join(engines) or 'none'}"
    if not missing:
        found = ", ".join(f"{module} {version}" for module, version in versions.items())
        return Finding("Packages", "ok", f"{engine}: {found}")
    extras = ["service"] + ["vllm"] * ("vllm" in engines) + ["tracing"] * (settings.otlp_endpoint is not None)
    remedy = f"pip install 'rubricd[{','.join(extras)}]'"
    needs = "need" if len(engines) > 1 else "needs"
    return Finding("Packages", "error", f"{engine} {needs} {', '.join(missing)}", remedy)
