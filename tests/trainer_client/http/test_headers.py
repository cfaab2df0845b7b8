"""A call's headers keep calls about one prompt together without revealing it, and name the caller's span."""

import asyncio
import subprocess
import sys
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from testkit.scripted_judge import Service, answered, items, scores
from testkit.waiting import HUNG_S
from tests.trainer_client.http.streaming import all_of, judging, lines, streamed
from trainer_client import wire
from trainer_client.client import JudgeClient
from trainer_client.http.headers import HEADER, affinity, traced
from trainer_client.http.retry import RetryPolicy

JUDGE = wire.Judge(model="m", revision="r", engine="e", mode="verdict", layout="rubricd", fingerprint="f")
INFO = wire.JudgeInfo(
    model="m",
    revision="r",
    engine="e",
    fingerprint="f",
    modes=["verdict"],
    layouts=["rubricd"],
    judges=[JUDGE],
    labels={},
    label_mass_floor=0.5,
    limits=wire.Limits(max_items=9, max_criteria=9, max_body_bytes=9, max_model_len=9, max_queued_tokens=9),
)
TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
PARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"
RUBRIC = [{"text": "Says to rest.", "points": 1}]


def item(prompt: object = "My knee hurts.", **changes: object) -> wire.Item:
    return wire.Item.model_validate({"prompt": prompt, "response": "Rest.", "rubric": RUBRIC, **changes})


def test_calls_about_one_prompt_are_known_by_the_same() -> None:
    one = affinity([item()], None)
    assert one is not None
    assert one == affinity([item(response="Run."), item(reference="No.", rubric=[{"text": "b", "points": 2}])], None)
    assert one == affinity([item([{"role": "user", "content": "My knee hurts."}])], None)


def test_calls_about_several_prompts_are_known_by_nothing() -> None:
    assert affinity([item(), item("My neck hurts.")], None) is None


def test_it_is_the_same_in_every_process_that_holds_the_token() -> None:
    code = (
        "from trainer_client import wire; from trainer_client.http.headers import affinity;"
        "print(affinity([wire.Item(prompt='My knee hurts.', response='')], 'rbd_a'))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HUNG_S, check=True)
    assert printed.stdout.strip() == affinity([item()], "rbd_a")


def test_tokens_share_nothing() -> None:
    prompts = [item(f"Prompt {n}.") for n in range(200)]
    same = sum(affinity([one], "rbd_a") == affinity([one], "rbd_b") for one in prompts)
    assert same <= 3  # of 4,096 values


@given(st.text(max_size=2000), st.none() | st.text(max_size=50))
def test_it_is_three_digits_whatever_the_prompt(prompt: str, token: str | None) -> None:
    known_by = affinity([item(prompt)], token)
    assert known_by is not None
    assert len(known_by) == 3
    assert set(known_by) <= set("0123456789abcdef")


def test_prompts_spread_evenly() -> None:
    found = [int(affinity([item(f"Prompt {n}.")], None) or "", 16) % 8 for n in range(4000)]
    assert all(400 < found.count(place) < 600 for place in range(8))


@pytest.mark.parametrize("streams", [False, True])
def test_the_client_sends_it_with_calls_about_one_prompt_only(streams: bool) -> None:
    sent: list[tuple[str, str | None]] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append((request.url.path, request.headers.get(HEADER)))
        if request.url.path == "/v1/judge":
            return httpx.Response(200, content=INFO.model_dump_json())
        return httpx.Response(400, text="no")

    async def ask(items: list[wire.Item]) -> None:
        transport = httpx.MockTransport(refuse)
        async with JudgeClient("http://judge", transport=transport, retry=RetryPolicy(attempts=1)) as client:
            if streams:
                assert [place async for place, _ in client.stream(items)]
            else:
                await client.score(items)

    asyncio.run(ask([item(), item(response="Run.")]))
    asyncio.run(ask([item(), item("My neck hurts.")]))
    known_by = affinity([item()], None)
    asked = [header for path, header in sent if path == "/v1/score"]
    assert asked[0] == known_by
    assert asked[1] is None
    assert all(header is None for path, header in sent if path != "/v1/score")


def span(state: TraceState | None = None) -> Any:
    return trace.use_span(NonRecordingSpan(SpanContext(TRACE, SPAN, False, TraceFlags(1), state)))


@pytest.mark.parametrize("stream", [False, True])
async def test_every_request_names_the_span_it_is_asked_in(stream: bool) -> None:
    service = Service(lambda body: streamed(lines(scores(body))) if stream else answered(scores(body)))
    async with judging(service, batch_items=2) as client:
        with span():
            await (all_of(client, items(4)) if stream else client.score(items(4)))
        inside = [request.headers.get("traceparent") for request in service.requests]
        await (all_of(client, items(4)) if stream else client.score(items(4)))
    assert len(inside) >= 2 and set(inside) == {PARENT}
    assert {request.headers.get("traceparent") for request in service.requests[len(inside) :]} == {None}


def test_headers_are_kept_and_the_callers_are_not_written_into() -> None:
    headers = {"accept": "x"}
    with span(TraceState([("vendor", "1")])):
        assert traced(headers) == {"accept": "x", "traceparent": PARENT, "tracestate": "vendor=1"}
    assert traced(headers) == headers == {"accept": "x"}
