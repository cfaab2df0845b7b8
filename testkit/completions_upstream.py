"""Serves the made-up completions API on a real socket: it dies, comes back as another model, is slow, and refuses."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from testkit.completions_server import Server
from testkit.free_port import free_port


def verdict_of(root: str, ids: tuple[int, ...]) -> float:
    """P(met) by the model of this root, whose labels hold all of the mass: 0.05 to 0.95, from a hash."""
    digest = hashlib.sha256(repr((root, ids)).encode()).digest()
    return 0.05 + 0.9 * int.from_bytes(digest[:4], "big") / 2**32


class AnyVocabulary(Server):
    """A server for any tokenizer: it reports the two labels that it is asked for."""

    def choice(self, index: int, ids: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        met = verdict_of(self.models[0]["root"], ids)
        labels = body["logprob_token_ids"]
        top = {f"token_id:{label}": math.log(p) for label, p in zip(labels, (met, 1 - met), strict=False)}
        return {"index": index, "text": "w", "finish_reason": "length", "logprobs": {"top_logprobs": [top]}}


class Upstream:
    """One address. `judge` is what answers there, and may be another one after a death."""

    def __init__(self) -> None:
        self.port = free_port()
        self.judge: Server = AnyVocabulary(model=card())
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def die(self) -> None:
        """Every connection breaks, and the port is closed."""
        if self._listener is not None:
            self._listener.close()
        for connection, serving in list(self._connections.items()):
            connection.transport.abort()
            if serving is not None:
                serving.cancel()
        while self._connections:
            await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        self._connections[writer] = asyncio.current_task()
        try:
            while True:
                request = await _read(reader)
                answer = await self.judge.handle_async_request(request)
                writer.write(_written(answer))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller closed it, or it was broken
        finally:
            del self._connections[writer]
            writer.close()


async def _read(reader: asyncio.StreamReader) -> httpx.Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    length = {name.lower(): value for name, value in headers.items()}.get("content-length", "0")
    return httpx.Request(method, f"http://upstream{path}", content=await reader.readexactly(int(length)))


def _written(answer: httpx.Response) -> bytes:
    headers = {"content-length": str(len(answer.content)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status_code} Told", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + answer.content


def card(root: str = "/m/first", **more: Any) -> dict[str, Any]:
    return {"id": "judge", "root": root, "max_model_len": 2048, **more}


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    await made.start()
    try:
        yield made
    finally:
        await made.die()
