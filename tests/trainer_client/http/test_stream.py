"""Outcomes one by one: what comes when, who is asked, and how it ends."""

import asyncio
import json
import random
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from testkit.scripted_judge import (
    FINGERPRINT,
    Json,
    Service,
    answered,
    expected_score,
    items,
    judge_info,
    problem,
    scores,
)
from testkit.waiting import HUNG_S
from tests.trainer_client.http.streaming import Stream, all_of, codes, group, judging, lines, pieces, streamed
from trainer_client import errors
from trainer_client.client import Failed, JudgeClient, Scored, reward


async def test_outcomes_come_in_the_order_of_finishing_with_their_places() -> None:
    service = Service(lambda body: streamed(lines(scores(body), order=[2, 0, 1])))
    async with judging(service) as client:
        came = await all_of(client, items(3))
    assert list(came) == [2, 0, 1]
    assert [reward(came[n]) for n in range(3)] == [expected_score(f"answer {n}") for n in range(3)]
    assert {outcome.judge.fingerprint for outcome in came.values() if isinstance(outcome, Scored)} == {FINGERPRINT}
    (asked,) = [request for request in service.requests if request.method == "POST"]
    assert asked.headers["accept"] == "application/x-ndjson"
    assert service.bodies[0]["expect_judge"] == FINGERPRINT


async def test_an_outcome_is_there_before_the_next_line_is() -> None:
    go_on = asyncio.Event()

    class Held(Stream):
        async def __aiter__(self) -> Any:
            for part in self.parts:
                yield part
                await go_on.wait()

    service = Service(lambda body: streamed(Held(lines(scores(body)))))
    async with judging(service) as client, asyncio.timeout(HUNG_S), aclosing(client.stream(items(2))) as stream:
        assert (await anext(stream))[0] == 0
        go_on.set()
        assert (await anext(stream))[0] == 1
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_every_place_comes_once_however_the_list_is_cut_and_the_bytes_too() -> None:
    rng = random.Random(3)

    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        order = rng.sample(range(len(whole["results"])), len(whole["results"]))
        return streamed(pieces(b"".join(lines(whole, order)), rng, rng.randrange(40)))

    listed = [*items(20), group("a", "b", "c"), *items(1, id="last")]
    async with judging(Service(answer), batch_items=4) as client:
        came = await all_of(client, listed)
    assert codes(came) == [None] * 24
    assert [came[place].id for place in (20, 21, 22, 23)] == ["20/0", "20/1", "20/2", "last"]
    assert [reward(came[place]) for place in (20, 21, 22)] == [expected_score(text) for text in "abc"]


async def test_a_line_ends_at_a_newline_and_nowhere_else() -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["results"][0]["criteria"][0]["explanation"] = "one\u2028two\x85three\x0bf\u00fcnf"
        return streamed(pieces(b"".join(lines(whole)), random.Random(1), 60))

    async with judging(Service(answer)) as client:
        (outcome,) = (await all_of(client, items(1))).values()
    assert isinstance(outcome, Scored)
    assert outcome.result.criteria[0].explanation == "one\u2028two\x85three\x0bf\u00fcnf"


async def test_misuse_is_raised_at_once_and_nothing_is_asked_for_nothing() -> None:
    service = Service()
    async with judging(service) as client:
        with pytest.raises(ValidationError, match="threshold"):
            client.stream(items(1), threshold=2.0)
        with pytest.raises(TypeError, match="deadline_ms"):
            client.stream(items(1), deadline_ms=5)  # type: ignore[call-arg]
        assert await all_of(client, []) == {}
    assert service.requests == []


async def test_an_answer_that_is_not_in_lines_is_not_read() -> None:
    service = Service(lambda body: answered(scores(body)))
    async with judging(service) as client:
        assert codes(await all_of(client, items(2))) == ["contract"] * 2


async def test_a_stream_has_one_judge() -> None:
    service = Service(lambda body: streamed(lines(scores(body))))
    async with judging(service) as client:
        assert codes(await all_of(client, items(1), expect_judge="judge-2")) == ["judge_mismatch"]
        assert codes(await all_of(client, items(1), mode="reasoned")) == ["invalid_request"]
    assert service.bodies == []
    service.answer = lambda body: problem("judge_mismatch", 409)
    async with judging(service) as client:
        assert codes(await all_of(client, items(2))) == ["judge_mismatch"] * 2


async def test_a_key_that_is_refused_is_every_responses_outcome() -> None:
    class Closed(Service):
        def respond(self, request: httpx.Request) -> httpx.Response:
            return problem("unauthorized", 401)

    async with judging(Closed()) as client:
        assert codes(await all_of(client, items(3))) == ["unauthorized"] * 3


async def test_only_the_bad_items_of_a_refused_stream_fail() -> None:
    def answer(body: Json) -> httpx.Response:
        bad = [place for place, item in enumerate(body["items"]) if item["id"] in ("2", "5")]
        places = [{"loc": ["items", place, "rubric"], "msg": "no"} for place in bad]
        return problem("invalid_request", 422, errors=places) if bad else streamed(lines(scores(body)))

    listed = items(8)
    listed[6]["response"] = "half an emoji \ud83d"
    async with judging(Service(answer)) as client:
        came = await all_of(client, listed)
    assert [place for place, code in enumerate(codes(came)) if code] == [2, 5, 6]
    failed = came[5]
    assert isinstance(failed, Failed) and isinstance(failed.error, errors.Refused)
    assert failed.error.errors == ((("items", 5, "rubric"), "no"),)


async def test_a_deadline_in_the_middle_of_a_stream_fails_the_rest() -> None:
    class Stuck(Stream):
        async def __aiter__(self) -> Any:
            for part in self.parts:
                yield part
            await asyncio.Event().wait()

    service = Service(lambda body: streamed(Stuck(lines(scores(body))[:2])))
    async with JudgeClient("http://judge", transport=service.transport) as client:
        came = await all_of(client, items(4), deadline_s=0.2)
    assert codes(came) == [None, None, "deadline_exceeded", "deadline_exceeded"]


async def test_a_defect_is_raised_and_not_an_end() -> None:
    def answer(body: Json) -> httpx.Response:
        raise ZeroDivisionError

    async with judging(Service(answer)) as client:
        with pytest.raises(ZeroDivisionError):
            await all_of(client, items(4))


@pytest.mark.parametrize("how", ["break", "aclose", "cancel"])
async def test_who_leaves_early_closes_every_stream(how: str) -> None:
    opened: list[Stream] = []

    class Stuck(Stream):
        async def __aiter__(self) -> Any:
            for part in self.parts:
                yield part
            await asyncio.Event().wait()

    def answer(body: Json) -> httpx.Response:
        opened.append(Stuck(lines(scores(body))[:1]))
        return streamed(opened[-1])

    async def leave(client: JudgeClient) -> None:
        stream = client.stream(items(12))
        async for _ in stream:
            if how == "break":
                return
            if how == "aclose":
                await stream.aclose()
                return
            if len(opened) == 6:
                await asyncio.Event().wait()

    async with judging(Service(answer), batch_items=2) as client, asyncio.timeout(HUNG_S):
        leaving = asyncio.create_task(leave(client))
        while how == "cancel" and len(opened) < 6:
            await asyncio.sleep(0)
        if how == "cancel":
            leaving.cancel()
        await asyncio.wait({leaving})
        while not all(stream.closed for stream in opened):  # within the timeout: the loop closes what was dropped
            await asyncio.sleep(0)
    assert opened


async def test_over_a_real_connection_it_stays_usable_and_ends_where_the_caller_leaves() -> None:
    connections, left = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while head := await reader.readline():
            size = 0
            while (header := await reader.readline()) != b"\r\n":
                name, _, value = header.decode().partition(":")
                size = int(value) if name.lower() == "content-length" else size
            body = json.loads(await reader.readexactly(size) or b"{}")
            said = [json.dumps(judge_info()).encode()] if head.startswith(b"GET") else lines(scores(body))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
            for part in said:
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
                if len(said) > 3:  # more than two items: hang after the first line
                    await reader.read()
                    left.set()
                    writer.close()
                    return
            writer.write(b"0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(HUNG_S), server, JudgeClient(f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            assert codes(await all_of(client, items(2))) == [None] * 2
        assert connections == 1, "a stream that was read to its end leaves its connection behind"
        async for place, _ in client.stream(items(5)):
            assert place == 0
            break
        await left.wait()
