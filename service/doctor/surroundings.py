"""Looks at what the service connects to and listens on, and at who may send requests.

Guarantees: a port that was tried is free again.
"""

import os
import shutil
from pathlib import Path

from service.clock import SystemClock
from service.doctor.findings import Finding, gib, host_of
from service.errors import ConfigurationError
from service.http.limits import connection_limits
from service.http.listener import authority, open_listener
from service.redis_client import RedisClient
from service.server import check_host
from service.settings import PrometheusSettings, Settings
from service.tenancy import teams_file

_CONNECT_S = 5.0
_RUBRIC_BYTES = 1_048_576
"""The largest rubric that is stored."""


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
                return Finding(
                    "Redis", "warning", f"{host_of(settings.redis_url)} cannot be used: {fault.kind}", remedy
                )
        took_s = clock.now() - began_s
    finally:
        await client.aclose()
    text = f"{host_of(settings.redis_url)} answers in {took_s * 1000:.1f} ms"
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


def check_folders(settings: Settings) -> Finding:
    """Checks whether the service may write where the settings say, and has room for what it begins with there."""
    begins = {"ledger": (settings.ledger, settings.ledger_file_bytes), "rubrics": (settings.rubrics, _RUBRIC_BYTES)}
    named = {name: (folder, size) for name, (folder, size) in begins.items() if folder is not None}
    wrong = [f"`{name}` is {folder}, {why}" for name, (folder, _) in named.items() if (why := _unusable(folder))]
    metrics = PrometheusSettings().prometheus_multiproc_dir
    if metrics is not None and (why := _unusable(metrics) if metrics.exists() else "which is not there"):
        wrong.append(f"PROMETHEUS_MULTIPROC_DIR is {metrics}, {why}")
    if wrong:
        return Finding("Folders", "error", "; ".join(wrong), "choose another folder, or give this user the right to it")
    free = {name: (shutil.disk_usage(_nearest(folder)).free, size) for name, (folder, size) in named.items()}
    said = "; ".join(f"{name} {named[name][0]}, {gib(room)} free" for name, (room, _) in free.items())
    if any(room < size for room, size in free.values()):
        return Finding("Folders", "warning", said, "make room there: what does not fit is lost, or refused with 503")
    return Finding("Folders", "ok", said or "none is written to")


def _unusable(folder: Path) -> str | None:
    """Why nothing can be written there; None where it can. A folder that is missing is made at the start."""
    there = _nearest(folder)
    if not there.is_dir():
        return "which is no folder" if there == folder.absolute() else f"and {there} is no folder"
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return "which cannot be written to"
    return None


def _nearest(folder: Path) -> Path:
    """The folder, or the first one above it that there is."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(one))


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
