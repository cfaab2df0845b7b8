"""The doctor looks at the machine, the packages, the judge and what the service connects to, and says what to do.

Guarantees: it loads no judge and changes nothing; it prints no key and no password; it calls a finding an error only
where `serve` with the same settings could not start, so that the exit status can be trusted.
"""

import asyncio
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx

from service.clock import SystemClock
from service.engine.build import MINIATURE
from service.engine.devices import Gpu, find_gpus
from service.errors import ConfigurationError
from service.http.limits import connection_limits, descriptor_limit
from service.http.listener import authority, open_listener
from service.redis_client import RedisClient
from service.server import check_host
from service.settings import EngineSettings, Settings
from service.tenancy import teams_file

Level = Literal["ok", "warning", "error"]

_PYTHON = (3, 11)
_GIB = 1024**3
_CONNECT_S = 5.0
_MODULES = ("torch", "transformers", "tokenizers", "safetensors", "llguidance")
_VLLM_MODULES = ("vllm", "psutil")
_TRACING_MODULES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` says what to do. Empty where nothing is to be done."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


def doctor(settings: Settings) -> int:
    """Prints what it finds. Exit status: 1 when the service could not start, else 0."""
    print(report(findings := list(examine(settings))))
    return 1 if any(finding.level == "error" for finding in findings) else 0


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which they are printed."""
    yield check_python(sys.version_info[:3])
    yield check_machine(settings, cores=len(os.sched_getaffinity(0)), memory=read_memory())
    yield check_gpu(settings, find_gpus())
    yield check_packages(settings)
    yield check_judge(settings)
    if settings.engine == "remote":
        yield check_remote(settings)
    yield asyncio.run(check_redis(settings))
    yield check_port(settings)
    yield check_connections(settings, descriptor_limit())
    yield check_teams(settings)


def report(findings: Sequence[Finding]) -> str:
    """Aligned plain lines, the remedy below its finding, and a last line with the conclusion."""
    width = max(len(finding.subject) for finding in findings)
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.subject:<{width}}  {finding.text}")
        if finding.remedy:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    errors = sum(finding.level == "error" for finding in findings)
    conclusion = f"The service cannot start: {errors} error(s)." if errors else "The service can start."
    return "\n".join([*lines, "", conclusion])


def check_python(found: tuple[int, ...]) -> Finding:
    text = f"{'.'.join(map(str, found))} ({sys.executable})"
    if found < _PYTHON:
        needed = ".".join(map(str, _PYTHON))
        return Finding("Python", "error", text, f"install Python {needed} or newer and make a new environment with it")
    return Finding("Python", "ok", text)


# The machine.


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
    text += f", {_gib(memory.total)} of memory, {_gib(memory.available)} of it free"
    need = _weights_bytes(settings) if _runs_on_cpu(settings) else 0
    smaller = "take a smaller judge, or a machine with more memory"
    if need > memory.total:
        return Finding("Machine", "error", f"{text}; the judge's weights need {_gib(need)}", smaller)
    if need > memory.available:
        return Finding(
            "Machine", "warning", f"{text}; the judge's weights need {_gib(need)}", f"end other programs, or {smaller}"
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
        text = ", ".join(f"{one.name} with {_gib(one.memory)}" for one in gpus)
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


# The judge.


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


def check_judge(settings: EngineSettings) -> Finding:
    """Checks whether the judge's folder has what an engine reads, or the hub's cache has it."""
    if settings.engine == "fake":
        return Finding("Judge", "warning", "engine fake: its verdicts mean nothing", "use it for dry runs only")
    if settings.judge is None:
        if settings.engine == "remote":
            return Finding("Judge", "error", "engine remote has no tokenizer", "name the model in `judge`")
        broken = _lacking(MINIATURE, weights=True)
        if broken:
            return Finding(
                "Judge", "error", f"the bundled judge in {MINIATURE} lacks {broken}", "check the files out again"
            )
        text = "the bundled miniature judge, which knows its own small world only"
        return Finding("Judge", "warning", text, "name a chat model in `judge`")
    folder = Path(settings.judge)
    if folder.is_dir():
        lacking = _lacking(folder, weights=settings.engine != "remote")
        if lacking:
            remedy = "download the whole model, with its tokenizer and its weights in safetensors"
            return Finding("Judge", "error", f"the folder {folder} lacks {lacking}", remedy)
        return Finding("Judge", "ok", str(folder))
    if folder.exists() or not _hub_name(settings.judge):
        return Finding("Judge", "error", f"there is no folder {settings.judge}", "name a model's folder in `judge`")
    return _on_the_hub(settings.judge, settings.revision)


def _lacking(folder: Path, *, weights: bool) -> str:
    """The parts of a judge that this folder lacks, in words. Empty when it has all."""
    needs = {"config.json": "config.json", "a tokenizer": "tokenizer*"}
    if weights:
        needs["weights in safetensors"] = "*.safetensors"
    return " and ".join(what for what, pattern in needs.items() if not any(folder.glob(pattern)))


def _hub_name(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None and not name.startswith(".")


def _on_the_hub(name: str, revision: str | None) -> Finding:
    from huggingface_hub import constants, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return Finding("Judge", "ok", f"{name}, from the hub's cache in {constants.HF_HUB_CACHE}")
    text = f"{name} is not in the hub's cache in {constants.HF_HUB_CACHE}"
    if constants.HF_HUB_OFFLINE:
        return Finding(
            "Judge", "error", f"{text}, and HF_HUB_OFFLINE is set", f"run `hf download {name}` with a network"
        )
    return Finding("Judge", "warning", f"{text}: it is downloaded at the start", f"run `hf download {name}` before")


def check_remote(settings: EngineSettings, transport: httpx.BaseTransport | None = None) -> Finding:
    """Checks whether the server of engine `remote` answers."""
    if settings.remote_url is None:
        return Finding("Remote", "error", "engine remote has no server", "name its base URL in `remote_url`")
    key = {} if settings.remote_key is None else {"Authorization": f"Bearer {settings.remote_key}"}
    where = f"{settings.remote_url.rstrip('/')}/models"
    try:
        with httpx.Client(transport=transport, timeout=_CONNECT_S) as client:
            status = client.get(where, headers=key).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        remedy = "start the server, or correct `remote_url`"
        return Finding("Remote", "error", f"{_host(where)} does not answer: {type(error).__name__}", remedy)
    if status != 200:
        remedy = "set `remote_key` to a key of the server" if status in (401, 403) else "correct `remote_url`"
        return Finding("Remote", "error", f"{_host(where)} answers /models with {status}", remedy)
    return Finding("Remote", "ok", f"{_host(where)} answers")


# What the service connects to.


async def check_redis(settings: Settings) -> Finding:
    """Checks whether Redis answers in time and does what it is asked. The service starts without it, so that only a
    wrong URL is an error."""
    if settings.redis_url is None:
        return Finding("Redis", "ok", "not used: this process shares nothing with others")
    clock = SystemClock()
    try:
        client = RedisClient(settings.redis_url, timeout_s=_CONNECT_S, clock=clock)
    except ConfigurationError as error:
        return Finding("Redis", "error", str(error), "correct `redis_url`")
    try:
        for _ in range(2):  # the first time it connects, too
            began_s = clock.now()
            if (fault := await client.find_refusal()) is not None:
                remedy = f"{fault.remedy}; until then each process uses its own memory"
                return Finding("Redis", "warning", f"{_host(settings.redis_url)} cannot be used: {fault.kind}", remedy)
        took_s = clock.now() - began_s
    finally:
        await client.aclose()
    text = f"{_host(settings.redis_url)} answers in {took_s * 1000:.1f} ms"
    if took_s > settings.redis_timeout_s:
        return Finding("Redis", "warning", text, "raise `redis_timeout_s`, or use a Redis that is nearer")
    return Finding("Redis", "ok", text)


def check_port(settings: Settings) -> Finding:
    """Checks whether the service may listen where the settings say."""
    metrics = ("metrics_host", settings.metrics_host or settings.host, "metrics_port", settings.metrics_port)
    listened = [("host", settings.host, "port", settings.port), metrics]
    ports = [(setting, host, name, port) for setting, host, name, port in listened if port is not None]
    where = " and ".join(authority(host, port) for _, host, _, port in ports)
    try:
        for host_setting, host, port_setting, port in ports:
            if settings.teams is None:
                check_host(host, host_setting)
            open_listener(host, port, port_setting).close()
    except ConfigurationError as error:
        return Finding("Port", "error", where, str(error))
    return Finding("Port", "ok", f"{where} {'is' if len(ports) == 1 else 'are'} free")


def check_connections(settings: Settings, descriptors: int) -> Finding:
    """Checks whether this process may open as many connections as the settings allow."""
    most = connection_limits(settings, settings, descriptors).connections
    text, fewer = f"{most} at a time, {descriptors} descriptors", most < settings.max_connections
    remedy = f"raise the hard limit of descriptors (`ulimit -Hn`), or set `max_connections` to {most}"
    return Finding("Connections", "warning" if fewer else "ok", text, remedy if fewer else "")


def check_teams(settings: Settings) -> Finding:
    """Checks whether the teams file can be used."""
    if settings.teams is None:
        return Finding("Teams", "ok", "no teams file: no key is needed, and only this machine may send requests")
    try:
        entries = teams_file.parse(teams_file.read(settings.teams), settings.teams)
    except ConfigurationError as error:
        return Finding("Teams", "error", str(error), "correct the file, or make one as deploy/teams.example.yaml is")
    text = f"{settings.teams}: {len(entries)} teams, {sum(len(entry.hashes) for entry in entries)} keys"
    if without := [entry.team.name for entry in entries if not entry.hashes]:
        remedy = f"python -m service keys new {without[0]} --teams {settings.teams}"
        return Finding("Teams", "warning", f"{text}; without a key: {', '.join(without)}", remedy)
    if warning := teams_file.warning(settings.teams):
        remedy = "chmod o-w,g-w what is named, and look at who has a key"
        return Finding("Teams", "warning", f"{text}; {warning}", remedy)
    return Finding("Teams", "ok", text)


def _host(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
