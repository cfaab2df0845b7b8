import asyncio
import json
import random
import subprocess
import sys
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from testkit.scripted_judge import FINGERPRINT, ManualClock, Service, answered, expected_score, items, problem
from trainer_client import errors, wire
from trainer_client.client import JudgeClient, Outcome, Scored, reward

Json = dict[str, Any]


def judging(service: Service, manual: ManualClock | None = None, **more: Any) -> JudgeClient:
    manual = manual or ManualClock()
    rng = random.Random(0)
    return JudgeClient("http://judge", transport=service.transport, clock=manual.clock, rng=rng, **more)


async def test_scores_come_back_in_the_order_of_the_items() -> None:
    service = Service()
    async with judging(service) as client:
        outcomes = await client.score(items(100))
    assert [outcome.id for outcome in outcomes] == [str(n) for n in range(100)]
    assert [reward(outcome) for outcome in outcomes] == [expected_score(f"answer {n}") for n in range(100)]
    assert [len(body["items"]) for body in service.bodies] == [32, 32, 32, 4]
    assert all(isinstance(outcome, Scored) and outcome.judge.fingerprint == FINGERPRINT for outcome in outcomes)


async def test_every_option_reaches_the_service() -> None:
    service = Service()
    async with judging(service) as client:
        await client.score(items(1), aggregation="min", soft=True, threshold=0.7, min_coverage=0.5, priority="eval")
    sent = wire.ScoreRequest.model_validate(service.bodies[0])
    assert (sent.aggregation, sent.soft, sent.threshold, sent.min_coverage, sent.priority) == (
        "min",
        True,
        0.7,
        0.5,
        "eval",
    )
    assert "deadline_ms" not in service.bodies[0]


async def test_nothing_to_score_is_nothing_to_ask() -> None:
    service = Service()
    async with judging(service) as client:
        assert await client.score([]) == []
    assert service.requests == []


async def test_a_group_is_sent_whole_and_comes_back_one_by_one() -> None:
    service = Service()
    group = {**items(1)[0], "id": "g", "responses": ["a", "b", "c"]}
    del group["response"]
    async with judging(service, batch_items=2) as client:
        outcomes = await client.score([*items(2), group, *items(1, id="last")])
    assert [outcome.id for outcome in outcomes] == ["0", "1", "g/0", "g/1", "g/2", "last"]
    assert [reward(outcome) for outcome in outcomes[2:5]] == [expected_score(text) for text in "abc"]
    assert [len(body["items"]) for body in service.bodies] == [2, 1, 1]


async def test_requests_are_side_by_side_up_to_the_bound_over_all_calls() -> None:
    service = Service()
    async with judging(service, concurrency=3, batch_items=1) as client:
        await asyncio.gather(client.score(items(10)), client.score(items(10)))
    assert service.busiest == 3


async def test_outcomes_are_handed_out_as_they_come() -> None:
    seen: dict[int, Outcome] = {}
    async with judging(Service(), batch_items=3) as client:
        outcomes = await client.score(items(10), on_outcome=seen.__setitem__)
    assert [seen[place] for place in range(10)] == outcomes


async def test_what_the_listener_raises_ends_the_call() -> None:
    def full(place: int, outcome: Outcome) -> None:
        raise OSError("disk full")

    async with judging(Service(), batch_items=1) as client:
        with pytest.raises(OSError, match="disk full"):
            await client.score(items(10), on_outcome=full)


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        ({"items": [*items(40), items(1, id="3")[0]]}, "distinct"),
        ({"items": [{"prompt": "p", "response": "r"}]}, "rubric"),
        ({"items": items(1), "threshold": 2.0}, "threshold"),
        ({"items": items(1), "votes": 4}, "votes"),
        ({"items": [{"prompt": "p", "response": "r", "rubric": [{"text": "t", "points": "7"}]}]}, "points"),
    ],
)
async def test_misuse_is_raised_before_anything_is_sent(slip: Json, said: str) -> None:
    service = Service()
    async with judging(service) as client:
        with pytest.raises(ValidationError, match=said):
            await client.score(**slip)
    assert service.requests == []


async def test_an_option_that_does_not_exist_is_refused() -> None:
    async with judging(Service()) as client:
        with pytest.raises(TypeError, match="deadline_ms"):
            await client.score(items(1), deadline_ms=5)  # type: ignore[call-arg]


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"batch_items": 0}, {"timeout_s": 0.0}])
def test_a_client_that_could_not_work_is_refused(wrong: Json) -> None:
    with pytest.raises(ValueError):
        JudgeClient("http://judge", **wrong)


async def test_one_request_as_it_is() -> None:
    service = Service()
    request = wire.ScoreRequest.model_validate({"items": items(2), "deadline_ms": 5000})
    async with judging(service) as client:
        answer = await client.score_request(request)
        assert [result.id for result in answer.results] == ["0", "1"]
        assert service.bodies[0]["deadline_ms"] == 4750
        service.answer = lambda body: problem("unauthorized", 401)
        with pytest.raises(errors.Unauthorized):
            await client.score_request(request)


async def test_a_rule_is_sent_as_it_was_written() -> None:
    service = Service()
    rule = {"rule": "json_schema", "schema": {"const": None}}
    rubric = [{"text": "t", "points": 1, "verifier": rule}]
    async with judging(service) as client:
        await client.score([{"prompt": "p", "response": "null", "rubric": rubric}])
    assert service.bodies[0]["items"][0]["rubric"]["criteria"][0]["verifier"] == rule


async def test_judge_ready_and_lint() -> None:
    found = {"findings": [{"code": "c", "severity": "warning", "criterion": None, "message": "m"}]}
    sent: list[Json] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/rubrics/lint":
            sent.append(json.loads(request.content))
            return answered(found)
        return httpx.Response({"/readyz": 200}[request.url.path])

    async with JudgeClient("http://judge", transport=httpx.MockTransport(handle)) as client:
        assert await client.ready()
        assert (await client.lint([{"text": "t", "points": 1}], aggregation="min")).findings[0].code == "c"
    assert (sent[0]["aggregation"], sent[0]["rubric"]["criteria"][0]["text"]) == ("min", "t")
    async with judging(Service()) as client:
        assert (await client.judge()).fingerprint == FINGERPRINT
        assert not await client.ready()


async def test_a_service_that_cannot_be_reached_is_not_ready() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with JudgeClient("http://judge", transport=httpx.MockTransport(refuse)) as client:
        assert not await client.ready()


_LIGHT = """
import sys, time
for heavy in ("torch", "rich", "pyarrow", "fastapi", "click", "numpy"):
    sys.modules[heavy] = None  # an import of it fails
before = time.process_time()
import trainer_client, trainer_client.client
print(time.process_time() - before)
import trainer_client.data.items, trainer_client.cli.main
loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
assert "service" not in loaded, loaded
"""


def test_importing_the_client_is_light_and_quick() -> None:
    times: list[float] = []
    while not times or (min(times) >= 0.3 and len(times) < 6):  # a busy machine is slow at times, not every time
        done = subprocess.run([sys.executable, "-c", _LIGHT], capture_output=True, text=True, check=True)
        times.append(float(done.stdout))
    assert min(times) < 0.3


@pytest.mark.parametrize(("items_taken", "bytes_taken", "fits"), [(4, 9_000, (4, 7_976)), (256, 10, (32, 1))])
def test_requests_are_made_as_small_as_a_judge_takes_them_and_no_larger_than_asked(
    items_taken: int, bytes_taken: int, fits: tuple[int, int]
) -> None:
    limits = wire.Limits(
        max_items=items_taken, max_criteria=64, max_body_bytes=bytes_taken, max_model_len=4096, max_queued_tokens=1
    )
    client = JudgeClient("http://judge")
    client.fit(limits)
    assert (client.batch_items, client.batch_bytes) == fits
