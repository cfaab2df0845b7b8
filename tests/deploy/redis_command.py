"""The command that starts Redis in a deployment, run for real."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import redis

from testkit.free_port import free_port
from testkit.waiting import HUNG_S

_PASSWORD = "correcthorse"


def answers(command: Sequence[str], folder: Path) -> None:
    """It wants the password, drops what has an end and is not used, saves nothing, and shows no password among
    processes."""
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
            expected = {"maxmemory": str(1 << 30), "maxmemory-policy": "volatile-lru", "save": "", "appendonly": "no"}
            assert {name: client.config_get(name)[name] for name in expected} == expected
            _keeps_rubrics_when_it_is_full(client)
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


def _keeps_rubrics_when_it_is_full(client: redis.Redis) -> None:
    client.hset("rubricd:r:contents", "knee@1", "stored without an end")
    client.config_set("maxmemory", "4mb")
    for i in range(100):
        client.set(f"rubricd:v:{i}", b"a verdict" * 10_000, ex=604_800)
    assert client.hget("rubricd:r:contents", "knee@1") is not None
    assert client.info("stats")["evicted_keys"] > 50


def _until_it_answers(client: redis.Redis) -> None:
    until = time.monotonic() + HUNG_S
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.02)
