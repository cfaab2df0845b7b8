"""A judge's server that is at fault, or hostile, takes no memory, hears no key, and nothing of it is repeated.

Each hostile answer is sent by the servers of all engines that ask one, after a start that went well.
"""

import gzip
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from service.engine.base import Decision, Engine
from service.engine.decisions.protocol import ProtocolName
from service.engine.upstream.client import open_client
from service.errors import EngineFailed, JudgementError
from testkit import chat_judge, decisions_server
from tests.service.engine.decisions.test_engine import prompts

KEY = "secret-key-4711"
SECRET = "the patient's name is Smith"
MIB = 1 << 20


class Endless(httpx.AsyncByteStream):
    """A gibibyte, a mebibyte at a time; counts what was taken."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.taken < 1024:
            self.taken += 1
            yield b" " * MIB


def _bomb() -> httpx.Response:
    packed = gzip.compress(b" " * (64 * MIB))
    return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(packed))


def _moved(status: int) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(status, headers={"location": "http://evil.example/v1/systemone"})


HOSTILE: dict[str, Callable[[], httpx.Response]] = {
    "a redirect to another host": _moved(302),
    "a redirect that keeps the method": _moved(307),
    "a packed bomb": _bomb,
    "events instead of JSON": lambda: httpx.Response(200, text='data: {"model": "m"}\n\ndata: [DONE]\n\n'),
    "an error with status 200": lambda: httpx.Response(200, json={"error": {"message": SECRET + KEY}}),
    "an error that repeats what was asked": lambda: httpx.Response(500, text=SECRET + KEY),
    "a refusal that repeats what was asked": lambda: httpx.Response(400, text=SECRET + KEY),
    "brackets without end": lambda: httpx.Response(200, text="[" * 200_000),
    "a number without end": lambda: httpx.Response(200, text="1" * 20_000),
    "a list": lambda: httpx.Response(200, json=[]),
    "nothing": lambda: httpx.Response(200, content=b""),
    "no UTF-8": lambda: httpx.Response(200, content=b'{"model": "\xff\xfe"}'),
}


class Hostile(httpx.AsyncBaseTransport):
    """A server that begins well and then answers `fault`."""

    def __init__(self, server: httpx.AsyncBaseTransport) -> None:
        self.server = server
        self.fault: Callable[[], httpx.Response] | None = None
        self.hosts: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.hosts.append(request.url.host)
        return await self.server.handle_async_request(request) if self.fault is None else self.fault()


@asynccontextmanager
async def asked(kind: str) -> AsyncIterator[tuple[Engine, Hostile]]:
    engine: Engine
    if kind == "chat":
        server = Hostile(chat_judge.ChatJudge())
        engine = await chat_judge.connect(server, api_key=KEY)
    else:
        server = Hostile(decisions_server.DecisionsServer())
        protocol: ProtocolName = "openai" if kind == "openai" else "system_one"
        engine = await decisions_server.connect(server, api_key=KEY, protocol=protocol)
    try:
        yield engine, server
    finally:
        await engine.stop()


@pytest.mark.parametrize("kind", ["chat", "system_one", "openai"])
async def test_of_12_hostile_answers_none_is_a_verdict_and_no_key_leaves(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    failed = 0
    with caplog.at_level(logging.DEBUG, logger="service"):
        for name, fault in HOSTILE.items():
            async with asked(kind) as (engine, server):
                server.fault = fault
                try:
                    outcomes = await engine.read_labels(prompts(2), ())
                except JudgementError as error:
                    outcomes = [error]
                for one in outcomes:
                    assert isinstance(one, JudgementError) and not isinstance(one, Decision), name
                    assert SECRET not in str(one) and KEY not in str(one), name
                    failed += 1
                assert set(server.hosts) == {"127.0.0.1"}, name
    assert failed >= len(HOSTILE) and KEY not in caplog.text and SECRET not in caplog.text


async def test_of_a_gibibyte_no_more_is_read_than_an_answer_may_have() -> None:
    endless = Endless()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=endless))
    client = open_client("http://judge", KEY, timeout_s=5, connections=1, transport=transport, largest=8 * MIB)
    with pytest.raises(EngineFailed, match="larger than any may be"):
        await client.get("/")
    assert endless.taken == 9


async def test_nothing_packed_is_asked_for_and_none_is_unpacked() -> None:
    seen: list[httpx.Headers] = []

    def packed(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return _bomb()

    client = open_client("http://judge", None, timeout_s=5, connections=1, transport=httpx.MockTransport(packed))
    with pytest.raises(EngineFailed, match="packs its answers"):
        await client.get("/")
    assert seen[0]["accept-encoding"] == "identity" and "authorization" not in seen[0]
