"""Calls are bounded in number and time, and aborted when nobody waits for them."""

import asyncio

import httpx
import pytest

from service.engine.base import Generation, LabelLogprobs, Prompt, Sampling
from service.errors import Cancelled, EngineFailed, TooLong
from testkit.completions_server import LABELS, Server, connect, prompts, right_generation
from testkit.waiting import HUNG_S, until

FREE = Sampling(max_tokens=9)


async def test_a_server_that_hangs_costs_the_timeout_and_no_more() -> None:
    server = Server()
    engine = await connect(server, timeout_s=0.1)
    server.script = ["hang"]
    with pytest.raises(EngineFailed, match=r"within 0\.1 s"):
        await asyncio.wait_for(engine.read_labels(prompts(3), LABELS), timeout=HUNG_S)


async def test_a_cancelled_read_leaves_no_call_behind() -> None:
    server = Server()
    engine = await connect(server, prompts_per_call=1)
    server.script = ["hang"] * 5
    work = asyncio.ensure_future(engine.read_labels(prompts(5), LABELS))
    for _ in range(5):
        await server.hanging.acquire()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert server.in_flight == 0


async def test_calls_in_flight_are_bounded_over_all_reads() -> None:
    server = Server()
    engine = await connect(server, prompts_per_call=1, max_concurrency=3)
    await asyncio.gather(*(engine.read_labels(prompts(8, seed), LABELS) for seed in range(4)))
    assert server.max_in_flight == 3


async def test_a_servers_own_length_refusal_is_known_for_what_it_is() -> None:
    message = "This model's maximum context length is 9 tokens. However, your prompt contains secret"
    server = Server()
    engine = await connect(server, prompts_per_call=2)
    server.script = [httpx.Response(400, json={"error": {"message": message}}) for _ in range(2)]
    outcomes = await engine.read_labels(prompts(3), LABELS)
    # Which of the first two is too long, nobody says.
    assert [type(outcome) for outcome in outcomes] == [EngineFailed, EngineFailed, TooLong]
    assert not any("secret" in str(outcome) for outcome in outcomes)


async def test_stopping_fails_what_is_under_way_and_what_comes_later() -> None:
    server = Server()
    engine = await connect(server, prompts_per_call=1, max_concurrency=1, timeout_s=0.2)
    server.script = ["hang"]
    work = asyncio.ensure_future(engine.read_labels(prompts(3), LABELS))
    await server.hanging.acquire()
    await engine.stop()
    with pytest.raises(EngineFailed):
        await asyncio.wait_for(work, timeout=HUNG_S)
    with pytest.raises(EngineFailed, match="stopped"):
        await engine.read_labels(prompts(3), LABELS)


async def test_a_generation_has_its_own_time() -> None:
    server = Server()
    engine = await connect(server, timeout_s=30, generation_timeout_s=0.1)
    server.script = ["hang"]
    with pytest.raises(EngineFailed, match=r"within 0\.1 s"):
        await asyncio.wait_for(engine.generate(prompts(1), [FREE]), timeout=HUNG_S)


async def test_only_prompts_of_one_salt_and_priority_share_a_call_and_vllm_is_told() -> None:
    asked = [Prompt((1, 2), (n,), salt=salt, priority=rank) for n in range(5) for salt in ("", "a") for rank in (0, 3)]
    for options, told in (({}, False), ({"priorities": True}, True)):
        server = Server()
        engine = await connect(server, prompts_per_call=4, **options)
        outcomes = await engine.read_labels(asked, LABELS)
        assert all(isinstance(outcome, LabelLogprobs) for outcome in outcomes)
        kinds = [(body.get("cache_salt", ""), body.get("priority", 0)) for body in server.bodies]
        sent = [tuple(ids) for body in server.bodies for ids in body["prompt"]]
        assert sorted(sent) == sorted(prompt.ids for prompt in asked)
        assert [len(body["prompt"]) for body in server.bodies] == [4, 1] * 4
        ranks = (0, 3) if told else (0, 0)
        assert kinds == [(salt, rank) for salt in ("", "a") for rank in ranks for _ in range(2)]
    other = Server(version=None)
    await (await connect(other)).read_labels(asked, LABELS)
    await (await connect(other)).generate(asked[-1:], [FREE])
    assert not any({"cache_salt", "priority"} & body.keys() for body in other.bodies)


async def test_a_call_is_given_up_when_its_last_prompt_is_abandoned_and_no_other_is() -> None:
    server = Server()
    engine = await connect(server, prompts_per_call=2)
    server.script = ["hang", "hang"]
    asked = prompts(6)
    reads = asyncio.ensure_future(engine.read_labels(asked[:4], LABELS))
    for _ in range(2):
        await server.hanging.acquire()
    for prompt in (asked[0], asked[2], asked[3], Prompt((1,), asked[1].ids)):
        engine.cancel(prompt)
    await until(lambda: server.in_flight == 1)
    assert not reads.done(), "somebody waits for the second prompt still"
    engine.cancel(asked[1])
    engine.cancel(asked[1])
    assert [type(outcome) for outcome in await reads] == [Cancelled] * 4
    assert server.in_flight == 0
    outcomes = await engine.generate(asked[4:], [FREE] * 2)
    assert all(right_generation(prompt, outcome) for prompt, outcome in zip(asked[4:], outcomes, strict=True))
    engine.cancel(asked[4])


async def test_an_abandoned_prompt_that_waits_for_its_turn_is_never_sent() -> None:
    server = Server()
    engine = await connect(server, max_concurrency=1)
    server.script = ["hang"]
    asked = prompts(3)
    work = asyncio.ensure_future(engine.generate(asked, [FREE] * 3))
    await server.hanging.acquire()
    engine.cancel(asked[1])
    await asyncio.sleep(0)
    engine.cancel(asked[0])
    outcomes = await asyncio.wait_for(work, timeout=HUNG_S)
    assert [type(outcome) for outcome in outcomes] == [Cancelled, Cancelled, Generation]
    assert [tuple(body["prompt"][0]) for body in server.bodies] == [asked[0].ids, asked[2].ids]
    assert engine.unfinished == 0, "nothing is remembered of calls that are over"


async def test_a_stopped_engine_says_so() -> None:
    server = Server()
    engine = await connect(server, max_concurrency=1)
    server.script = ["hang"]
    work = asyncio.ensure_future(engine.generate(prompts(3), [FREE] * 3))
    await server.hanging.acquire()
    await engine.stop()
    with pytest.raises(EngineFailed, match="stopped"):
        await asyncio.wait_for(work, timeout=HUNG_S)
    assert engine.down == "the judge was stopped"
    with pytest.raises(EngineFailed, match="stopped"):
        await engine.generate(prompts(1), [FREE])


@pytest.mark.parametrize(
    "said",
    ["the maximum context length is 9", "longer than the maximum model length of 9", "max_tokens must be at least 1"],
)
async def test_a_servers_own_length_refusal_is_too_long(said: str) -> None:
    server = Server()
    server.script = [httpx.Response(400, json={"error": {"message": f"{said}, secret"}})]
    (outcome,) = await (await connect(server)).generate(prompts(1), [FREE])
    assert isinstance(outcome, TooLong) and "secret" not in str(outcome)
