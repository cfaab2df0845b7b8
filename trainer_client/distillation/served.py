"""Serves a new judge for a moment, and fits what its P(met) means to the held-out rows as the service reads them.

A calibration names a judge by the fingerprint that the service gives it, so only the service can be asked for it.

Guarantees: the process that serves has ended when this returns, however it returns.
"""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import httpx

from trainer_client.calibration.collection import collect
from trainer_client.calibration.made import Made, make, write_file
from trainer_client.client import JudgeClient
from trainer_client.errors import DataError
from trainer_client.labels import Labels

_READY_S = 900.0
_POLL_S = 0.2
_END_S = 20.0


def calibrate(command: Sequence[str], labels: Labels, file: Path, token: str | None) -> Made:
    """Runs `command --port PORT`, asks for verdicts on the labels and writes the calibration into the file. Raises
    DataError where nothing is served or the labels are too few, and the client's errors where the judge refuses."""
    with _serving(command) as url:
        made = asyncio.run(_made(url, labels, token))
    write_file(file, [made.calibration])
    return made


async def _made(url: str, labels: Labels, token: str | None) -> Made:
    async with JudgeClient(url, token=token) as client:
        judged, rows = await collect(client, labels, ())
    return make(judged, rows)


@contextmanager
def _serving(command: Sequence[str]) -> Iterator[str]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with TemporaryFile() as said:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=said, stderr=said, env=os.environ)
        try:
            _wait(process, url, said)
            yield url
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], url: str, said: IO[bytes]) -> None:
    until = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < until:
        if _ready(url):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
    if process.poll() is None:
        raise DataError(f"the judge was not ready after {_READY_S:.0f} s")
    said.seek(0)
    last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    raise DataError(f"the judge was not served: {''.join(last) or f'exit code {process.returncode}'}")


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5.0).is_success
    except httpx.HTTPError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
