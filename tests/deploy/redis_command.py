"""The command that starts Redis in a deployment, run for real."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import redis

from testkit.free_port import free_port

_PASSWORD = "correcthorse"


def answers(command: Sequence[str], folder: Path) -> None:
    """It wants the password, drops what was not used for long, saves nothing, and shows no password among processes."""
    found = shutil.which("redis-server")
    assert found is not None, "there is no redis-server: make .venv/redis"
    port = free_port()
    wrapper = folder / "redis-server"
    wrapper.write_text(f'#!/bin/sh\nexec {found} "$@" --port {port} --bind 127.0.0.1 --loglevel warning\n')
    wrapper.chmod(0o755)
    told = {"PATH": f"{folder}:{os.environ['PATH']}", "REDIS_PASSWORD": _PASSWORD}
    process = subprocess.Popen([*command], env=told, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, password=_PASSWORD) as client:
            _until_it_answers(client)
            expected = {"maxmemory": str(1 << 30), "maxmemory-policy": "allkeys-lru", "save": "", "appendonly": "no"}
            assert {name: client.config_get(name)[name] for name in expected} == expected
        with redis.Redis(port=port) as stranger:
            try:
                stranger.ping()
            except redis.AuthenticationError:
                pass
            else:
                raise AssertionError("it answers without a password")
        assert _PASSWORD not in Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        process.kill()
        process.wait()


def _until_it_answers(client: redis.Redis) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.02)
