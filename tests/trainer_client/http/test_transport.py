import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from testkit.scripted_judge import ManualClock, problem
from testkit.waiting import HUNG_S
from trainer_client import errors
from trainer_client.http import validation
from trainer_client.http.concurrency import Throttle
from trainer_client.http.retry import RetryPolicy
from trainer_client.http.transport import Transport, deadline_ms


def _text(response: httpx.Response) -> str:
    if response.status_code != 200:
        raise validation.refusal(response)
    return response.text


class Script:
    """Plays its parts one after the other; the last one goes on for ever."""

    def __init__(self, *parts: httpx.Response | Exception) -> None:
        self.parts = list(parts)
        self.requests: list[httpx.Request] = []
        self.at: list[float] = []
        self.manual = ManualClock()
        self.instead: Callable[[httpx.Request], Awaitable[httpx.Response]] | None = None

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.instead is not None:
            return await self.instead(request)
        self.requests.append(request)
        self.at.append(self.manual.now)
        part = self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]
        if isinstance(part, Exception):
            raise part
        return httpx.Response(part.status_code, headers=part.headers, content=part.content)


@asynccontextmanager
async def calling(
    script: Script, *, token: str | None = None, concurrency: int = 4, timeout_s: float = 60.0, **policy: float
) -> AsyncIterator[Transport]:
    caller = Transport(
        ["http://judge:8000/base/"],
        token=token,
        concurrency=concurrency,
        timeout_s=timeout_s,
        retry=RetryPolicy(**policy),  # type: ignore[arg-type]
        transport=httpx.MockTransport(script),
        clock=script.manual.clock,
        rng=random.Random(0),
    )
    yield caller
    await caller.aclose()


async def _throttle(caller: Transport) -> Throttle:
    return (await caller._connections.here()).throttle


OK = httpx.Response(200, text="ok")


async def test_a_call_is_one_request_with_the_key() -> None:
    script = Script(OK)
    async with calling(script, token="rbd_x") as caller:
        assert await caller.call("POST", "/v1/score", _text, body=lambda left_s: f"left {left_s}") == "ok"
    (request,) = script.requests
    assert request.url == "http://judge:8000/base/v1/score"
    assert request.headers["authorization"] == "Bearer rbd_x"
    assert request.content == b"left None"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("refused"), errors.ConnectFailed),
        (httpx.ConnectTimeout("slow"), errors.ConnectFailed),
        (httpx.ReadTimeout(""), errors.AnswerTimedOut),
        (httpx.ReadError("reset"), errors.LostTwice),
        (httpx.RemoteProtocolError("cut off"), errors.LostTwice),
        (httpx.DecodingError("bad gzip"), errors.LostTwice),
    ],
)
async def test_every_way_of_getting_no_answer_has_a_name_and_is_retried(
    raised: Exception, kind: type[errors.RubricdClientError]
) -> None:
    """Once only where the judge may have had the request when the connection broke."""
    script = Script(raised)
    async with calling(script) as caller:
        with pytest.raises(kind) as caught:
            await caller.call("GET", "/", _text)
    assert len(script.requests) == caught.value.attempts == (2 if kind is errors.LostTwice else 4)
    assert "judge:8000" in str(caught.value)


async def test_a_retry_may_succeed() -> None:
    script = Script(httpx.ConnectError("refused"), problem("unavailable", 503), OK)
    async with calling(script) as caller:
        assert await caller.call("GET", "/", _text) == "ok"
    assert len(script.requests) == 3


async def test_only_success_earns_retries() -> None:
    script = Script(httpx.ConnectError("refused"))
    async with calling(script, burst=1.0, share=0.5) as caller:
        for attempts in (2, 1, 1, 1):
            with pytest.raises(errors.ConnectFailed) as caught:
                await caller.call("GET", "/", _text)
            assert caught.value.attempts == attempts
        script.parts = [OK, OK, httpx.ConnectError("refused"), OK]
        for _ in range(3):
            assert await caller.call("GET", "/", _text) == "ok"


async def test_a_refusal_that_stands_is_asked_once() -> None:
    script = Script(problem("invalid_request", 422))
    async with calling(script) as caller:
        with pytest.raises(errors.InvalidRequest) as caught:
            await caller.call("GET", "/", _text)
    assert len(script.requests) == caught.value.attempts == 1
    assert script.manual.slept == []


async def test_retry_after_is_kept_by_the_call_and_by_all_others() -> None:
    script = Script(problem("overloaded", 429, retry_after="7"), OK)
    async with calling(script, first_wait_s=0.0) as caller:
        await caller.call("GET", "/", _text)
        assert script.at == [1000.0, 1007.0]
        script.parts = [problem("overloaded", 429, retry_after="5"), OK]
        with pytest.raises(errors.Overloaded):
            await caller.call("GET", "/", _text, deadline=caller.deadline(3.0))
        await caller.call("GET", "/", _text)
        assert script.at[2:] == [1007.0, 1012.0]


async def test_a_request_that_is_still_running_is_waited_for_alone() -> None:
    script = Script(problem("still_running", 409, retry_after="7"), OK)
    async with calling(script, attempts=1) as caller:
        with pytest.raises(errors.StillRunning):
            await caller.call("GET", "/", _text)
        await caller.call("GET", "/", _text)
        assert script.at == [1000.0, 1000.0], "others do not pause"
        assert (await _throttle(caller)).limit == 4.0
    script = Script(problem("still_running", 409, retry_after="7"), OK)
    async with calling(script, first_wait_s=0.0) as caller:
        await caller.call("GET", "/", _text)
        assert script.at == [1000.0, 1007.0]


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        (problem("overloaded", 503), 2.0),
        (problem("unavailable", 503), 2.0),
        (problem("quota_exceeded", 429), 2.0),
        (httpx.ReadTimeout(""), 2.0),
        (httpx.ConnectError("refused"), 4.0),
        (problem("invalid_request", 422), 4.0),
        (problem("internal", 500), 4.0),
    ],
)
async def test_what_says_that_it_is_too_much_halves_what_is_under_way(
    answer: httpx.Response | Exception, limit: float
) -> None:
    script = Script(answer, OK)
    async with calling(script, attempts=1) as caller:
        with pytest.raises(errors.RubricdClientError):
            await caller.call("GET", "/", _text)
        assert (await _throttle(caller)).limit == limit
        await caller.call("GET", "/", _text)
        assert (await _throttle(caller)).limit == min(4.0, limit + 1 / limit)
        assert (await _throttle(caller)).under_way == 0


async def test_an_overloaded_service_sees_fewer_at_once_and_then_more_again() -> None:
    most: list[int] = []
    busy, healthy = 0, asyncio.Event()

    async def crowded(request: httpx.Request) -> httpx.Response:
        nonlocal busy
        busy += 1
        most.append(busy)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            return httpx.Response(200) if healthy.is_set() else problem("overloaded", 503, retry_after="1")
        finally:
            busy -= 1

    script = Script(OK)
    script.instead = crowded
    async with calling(script, concurrency=16) as caller:
        calls = [caller.call("GET", "/", _text) for _ in range(200)]
        await asyncio.gather(*calls, return_exceptions=True)
        assert (max(most[:16]), max(most[-20:])) == (16, 1)
        healthy.set()
        await asyncio.gather(*(caller.call("GET", "/", _text) for _ in range(200)))
        assert max(most[-20:]) == 16


async def test_a_pause_past_the_deadline_is_not_waited_for() -> None:
    script = Script(problem("overloaded", 429, retry_after="7"), OK)
    async with calling(script, attempts=1) as caller:
        with pytest.raises(errors.Overloaded):
            await caller.call("GET", "/", _text)
        with pytest.raises(errors.DeadlineExceeded, match="asks for a pause") as caught:
            await caller.call("GET", "/", _text, deadline=caller.deadline(6.0))
    assert (len(script.requests), caught.value.attempts, script.manual.now) == (1, 0, 1000.0)


async def test_nobody_waits_for_a_pause_longer_than_the_policy_allows() -> None:
    script = Script(problem("overloaded", 429, retry_after="3600"), OK)
    async with calling(script) as caller:
        with pytest.raises(errors.Overloaded):
            await caller.call("GET", "/", _text)
        assert await caller.call("GET", "/", _text) == "ok"
    assert script.manual.slept == []


@pytest.mark.parametrize("left_s", [0.0, -5.0, 0.0005])
async def test_after_the_deadline_no_call_is_made(left_s: float) -> None:
    script = Script(OK)
    async with calling(script) as caller:
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await caller.call("GET", "/", _text, deadline=caller.deadline(left_s))
    assert (script.requests, caught.value.attempts) == ([], 0)


async def test_each_attempt_is_told_what_is_left() -> None:
    script = Script(problem("overloaded", 503, retry_after="4"), OK)
    async with calling(script, first_wait_s=0.0) as caller:
        await caller.call("POST", "/", _text, body=str, deadline=caller.deadline(10.0))
    assert [float(request.content) for request in script.requests] == [10.0, 6.0]


@pytest.mark.parametrize(
    ("left_s", "told_ms"), [(None, None), (100.0, 99_750), (2.5, 2250), (1.0, 900), (0.001, 0), (0.0, 0)]
)
def test_the_service_is_told_less_than_what_is_left_by_the_way_back(left_s: float | None, told_ms: int | None) -> None:
    assert deadline_ms(left_s) == told_ms


class Silent:
    """Never answers; counts who is still waiting."""

    def __init__(self) -> None:
        self.waiting = 0
        self.asked = asyncio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.waiting += 1
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1
        raise AssertionError


@pytest.mark.parametrize(
    ("timeout_s", "deadline_s", "kind"),
    [(0.01, None, errors.AnswerTimedOut), (0.01, 60.0, errors.AnswerTimedOut), (60.0, 0.01, errors.DeadlineExceeded)],
)
async def test_silence_ends_at_the_time_limit_or_at_the_deadline(
    timeout_s: float, deadline_s: float | None, kind: type[Exception]
) -> None:
    script, silent = Script(OK), Silent()
    script.instead = silent
    async with calling(script, timeout_s=timeout_s, attempts=1) as caller, asyncio.timeout(HUNG_S):
        with pytest.raises(kind):
            await caller.call("GET", "/", _text, deadline=caller.deadline(deadline_s))
    assert silent.waiting == 0


async def test_a_cancelled_call_leaves_the_line_and_gives_its_place_back() -> None:
    script, silent = Script(OK), Silent()
    async with calling(script, concurrency=1) as caller:
        script.instead = silent
        held = asyncio.create_task(caller.call("GET", "/", _text))
        queued = asyncio.create_task(caller.call("GET", "/", _text))
        await silent.asked.wait()
        for task in (queued, held):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert silent.waiting == 0
        script.instead = None
        assert await caller.call("GET", "/", _text) == "ok"


async def test_waiting_for_a_place_ends_at_the_deadline() -> None:
    script, silent = Script(OK), Silent()
    async with calling(script, concurrency=1) as caller:
        script.instead = silent
        held = asyncio.create_task(caller.call("GET", "/", _text))
        await silent.asked.wait()
        with pytest.raises(errors.DeadlineExceeded, match="a place was free"):
            await caller.call("GET", "/", _text, deadline=caller.deadline(0.005))
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held


async def test_a_deadline_is_a_number_and_for_ever_is_none() -> None:
    async with calling(Script(OK)) as caller:
        assert caller.deadline(None) is caller.deadline(math.inf) is None
        assert caller.deadline(2.0) == 1002.0
        for wrong in (math.nan, -math.inf):
            with pytest.raises(ValueError):
                caller.deadline(wrong)


@pytest.mark.parametrize("url", ["judge:8000", "", "ftp://judge", "http://", "http://judge:port", "127.0.0.1:8000"])
async def test_an_address_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        async with _transport(url=url):
            pass


async def test_a_user_in_a_url_does_not_take_the_place_of_a_token() -> None:
    with pytest.raises(ValueError, match="takes no token") as caught:
        async with _transport("http://me:secret@judge", token="rbd_1"):
            pass
    assert "secret" not in str(caught.value)
    async with _transport("http://me:secret@judge"):
        pass


@pytest.mark.parametrize("token", ["", "rbd_x\n", "rbd x", "rbd_\u00e9"])
async def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError) as caught:
        async with _transport(token=token):
            pass
    assert "rbd" not in str(caught.value)


@asynccontextmanager
async def _transport(url: str = "http://judge", token: str | None = None) -> AsyncIterator[None]:
    async with calling(Script(OK)) as sound:
        clock, retry = sound._clock, RetryPolicy()
        rng = random.Random(0)
        bad = Transport(
            [url], token=token, concurrency=1, timeout_s=1, retry=retry, transport=None, clock=clock, rng=rng
        )
        await bad.aclose()
        yield
