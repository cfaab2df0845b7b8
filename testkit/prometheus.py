"""A real Prometheus of a test's own: what it scrapes, with which rules, and what it is asked.

Debian's program on a free loopback port, its data in a folder that the caller gives; it ends with its block, and with
this process however that dies. `speed` makes an hour of alerting minutes: every duration in the rules is divided by it.

Guarantees: What it said is read strictly. A rule that it will not load, or a query that it will not answer, raises
Failed with its own words.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from ruamel.yaml import YAML

from testkit.free_port import free_port
from testkit.processes import ROOT, Failed, hosted
from testkit.waiting import HUNG_S

JOB = "rubricd"
EVALUATION_S = 15.0
"""How often rules are evaluated, at speed 1; as in deploy/prometheus/prometheus.yml."""
_PROGRAMS = ROOT / ".venv" / "prometheus" / "usr" / "bin"
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_IN_QUERY = re.compile(rf"(?<=\[){_DURATION}(?=[\]:])|(?<=:){_DURATION}(?=\])|(?<=\boffset ){_DURATION}")


@dataclass(frozen=True, slots=True)
class Sample:
    """`value` may be NaN or infinite."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """`points` are times (seconds since the epoch) and values, in order."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """One that is pending or firing; an inactive one is not told. `labels` are without its name."""

    name: str
    state: Literal["pending", "firing"]
    value: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs. Everything raises Failed where it is not answered."""

    url: str

    def query(self, expr: str) -> list[Sample]:
        """An instant vector or a scalar, now."""
        data = self._ask("query", query=expr)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in data["result"]]

    def query_range(self, expr: str, start: float, end: float, step_s: float) -> list[Series]:
        """`start` and `end` are seconds since the epoch."""
        data = self._ask("query_range", query=expr, start=start, end=end, step=step_s)
        return [
            Series(one["metric"], tuple((float(at), float(value)) for at, value in one["values"]))
            for one in data["result"]
        ]

    def alerts(self) -> list[Alert]:
        return [
            Alert(
                name=one["labels"]["alertname"],
                state=one["state"],
                value=float(one["value"]),
                labels={name: value for name, value in one["labels"].items() if name != "alertname"},
                annotations=one["annotations"],
            )
            for one in self._ask("alerts")["alerts"]
        ]

    def _ask(self, what: str, **parameters: str | float) -> Any:
        try:
            answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=HUNG_S, verify=False)
            said = answer.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise Failed(f"Prometheus did not answer {what}: {error}") from error
        if said["status"] != "success":
            raise Failed(f"Prometheus refused {parameters.get('query', what)}: {said['errorType']}: {said['error']}")
        return said["data"]


@contextmanager
def prometheus(
    folder: Path,
    targets: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    rules: Sequence[Path] = (),
    scrape_s: float = 1.0,
    speed: float = 1.0,
) -> Iterator[Prometheus]:
    """One that scrapes `targets` (host:port), as job `rubricd` or by their jobs, once it has tried each (some seconds).
    It evaluates the rules every 15 s divided by `speed`. Raises Failed where it is missing or does not start."""
    jobs = targets if isinstance(targets, Mapping) else {JOB: targets}
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{place}-{file.stem}.json" for place, file in enumerate(rules)]
    for file, source in zip(files, rules, strict=True):
        file.write_text(json.dumps(faster(YAML(typ="safe", pure=True).load(source), speed)))
    for job, named in jobs.items():
        retarget(folder, job, named)
    with configured(folder, _config(jobs, files, scrape_s, speed)) as running:
        _until_tried(running, sum(map(len, jobs.values())))
        yield running


@contextmanager
def configured(folder: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """One with a configuration of its own, as prometheus.yml has it, once it is ready. Raises Failed."""
    file = folder / "prometheus.json"
    file.write_text(json.dumps(config))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with hosted(command, log=folder / "log", port=port, ready="/-/ready", env={}) as host:
        yield Prometheus(host.url)


def retarget(folder: Path, job: str, targets: Sequence[str]) -> None:
    """From now on `job` is these; a Prometheus with this folder sees it within some seconds."""
    part = folder / "targets.part"
    part.write_text(json.dumps([{"targets": list(targets)}]))
    part.replace(folder / _targets_of(job))


def _targets_of(job: str) -> str:
    """Beside the configuration, which names it so."""
    return f"targets-{job}.json"


def _until_tried(running: Prometheus, targets: int) -> None:
    """It begins to scrape some seconds after it says that it is ready."""
    deadline = time.monotonic() + HUNG_S
    while len(running.query("up")) < targets:
        if time.monotonic() > deadline:
            raise Failed(f"Prometheus tried fewer than {targets} targets; is one named twice?")
        time.sleep(0.05)


def program(name: Literal["prometheus", "promtool"]) -> str:
    """Returns where the program is: what make unpacked, else the one of this machine. Raises Failed where there is
    none."""
    found = shutil.which(name, path=os.pathsep.join((str(_PROGRAMS), os.environ.get("PATH", os.defpath))))
    if found is None:
        raise Failed(f"there is no {name}: make .venv/prometheus")
    return found


def faster(rules: Mapping[str, Any], speed: float) -> dict[str, Any]:
    """The file's groups with every duration divided by `speed`: how often, for how long, and the windows of queries.
    Numbers that a query compares with are left as they are, and so is what is told to people. Pure."""
    return {"groups": [_faster_group(group, speed) for group in rules["groups"]]}


def _faster_group(group: Mapping[str, Any], speed: float) -> dict[str, Any]:
    scaled = {key: divided(value, speed) if key == "interval" else value for key, value in group.items()}
    return {
        **scaled,
        "rules": [{key: _faster_field(key, value, speed) for key, value in rule.items()} for rule in group["rules"]],
    }


def _faster_field(key: str, value: Any, speed: float) -> Any:
    if key == "expr":
        return _IN_QUERY.sub(lambda found: divided(found[0], speed), str(value))
    return divided(value, speed) if key in ("for", "keep_firing_for") else value


def divided(duration: str, speed: float) -> str:
    """In whole milliseconds, rounded, at least one; nothing is left as nothing. Raises ValueError where it is none."""
    if not re.fullmatch(rf"{_DURATION}|0", duration):
        raise ValueError(f"{duration!r} is not a duration")
    whole_ms = sum(int(number) * _MS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))
    return f"{max(1, round(whole_ms / speed))}ms" if whole_ms else "0s"


def _config(jobs: Iterable[str], files: Sequence[Path], scrape_s: float, speed: float) -> dict[str, Any]:
    scrape = f"{max(1, round(1000 * scrape_s))}ms"
    return {
        "global": {
            "scrape_interval": scrape,
            "scrape_timeout": scrape,
            "evaluation_interval": divided(f"{round(1000 * EVALUATION_S)}ms", speed),
        },
        "rule_files": [str(file.resolve()) for file in files],
        "scrape_configs": [{"job_name": job, "file_sd_configs": [{"files": [_targets_of(job)]}]} for job in jobs],
    }
