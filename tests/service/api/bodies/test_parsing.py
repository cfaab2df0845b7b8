"""What parsing costs: bodies that are refused are refused before they become models, and the event loop goes on."""

import asyncio
import gc
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.api.bodies.parsing import MAX_VALUES, is_small, parse_lint_request, parse_score_request, read
from service.errors import InvalidRequest
from service.settings import ApiSettings
from testkit.apps import item, serving
from trainer_client import wire

LIMITS = ApiSettings()
ITEM = item()


def body(**changes: Any) -> bytes:
    return json.dumps({"items": [ITEM], **changes}).encode()


def dense(criteria: int) -> bytes:
    return body(items=[item(rubric=[{"text": "a", "points": 1}] * 256)] * (criteria // 256))


COSTLY: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a field with a name of 15 MB": ("/v1/score", lambda: body(**{"a" * 15_000_000: 1})),
    "100,000 items": ("/v1/score", lambda: body(items=[{}] * 99_999)),
    "one item of 100,000 fields": ("/v1/score", lambda: body(items=[{f"f{n}": 0 for n in range(100_000)}])),
    "a criterion of 60,000 fields": (
        "/v1/score",
        lambda: body(items=[item(rubric=[{f"f{n}": 0 for n in range(60_000)}])]),
    ),
    "100,000 fields": ("/v1/score", lambda: body(**{f"f{n}": 0 for n in range(100_000)})),
    "100,000 tags": ("/v1/score", lambda: body(items=[item(rubric=[{"tags": [f"k{n}:v" for n in range(100_000)]}])])),
    "100,000 turns": ("/v1/score", lambda: body(items=[item(prompt=[{"role": "user", "content": ""}] * 66_000)])),
    "8 million values": ("/v1/score", lambda: b"[" + b"0," * 7_999_999 + b"0]"),
    "8 million lists deep": ("/v1/score", lambda: b"[" * 8_000_000),
    "a lint of a criterion of 15 MB": (
        "/v1/rubrics/lint",
        lambda: json.dumps({"rubric": [{"text": "is good and " * 1_250_000, "points": 1}]}).encode(),
    ),
    "a lint of 60,000 criteria": (
        "/v1/rubrics/lint",
        lambda: json.dumps({"rubric": [{"text": "a", "points": 1}] * 60_000}).encode(),
    ),
    "a label of 4 million values": (
        "/rm",
        lambda: json.dumps({"prompt": "", "response": "", "label": "[" + "0," * 4_000_000 + "0]"}).encode(),
    ),
    "100,000 labels": (
        "/get_reward",
        lambda: json.dumps({n: [""] * 60_000 for n in ("query", "prompts", "labels")}).encode(),
    ),
}


@pytest.fixture
def frozen_heap() -> None:
    """As in the server: the collector leaves alone what was there before the requests."""
    gc.collect()
    gc.freeze()


async def longest_gap_s(client: httpx.AsyncClient, path: str, content: bytes) -> tuple[int, float, float]:
    """Status, seconds, and the longest time for which the event loop served nobody."""
    gaps, ended = [0.0], False

    async def watch() -> None:
        last = time.perf_counter()
        while not ended:
            await asyncio.sleep(0)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    watching = asyncio.create_task(watch())
    started = time.perf_counter()
    answer = await client.post(path, content=content)
    took = time.perf_counter() - started
    ended = True
    await watching
    return answer.status_code, took, max(gaps)


@pytest.mark.parametrize("case", COSTLY)
async def test_a_body_that_costs_much_is_refused_and_the_event_loop_goes_on(case: str, frozen_heap: None) -> None:
    path, content = COSTLY[case]
    async with serving() as client:
        status, took_s, gap_s = await longest_gap_s(client, path, content())
    print(f"{case}: {status} after {took_s:.3f} s, longest gap {gap_s * 1000:.0f} ms")
    assert status == 422
    assert gap_s < max(1.0, took_s / 2)  # on a machine of its own it takes 0.4 s, and the gap is below 0.05


def test_what_is_small_is_cheap_whatever_is_in_it() -> None:
    assert is_small(body(items=[item(response="word, " * 1_500)]))
    assert not is_small(dense(2_560))
    for text in (dense(2_560)[:16_384], b"[" + b"0," * 8_000 + b"0]", b'{"a":' * 3_000, b'{"' + b"a" * 16_000):
        assert is_small(text)
        started = time.process_time()
        with pytest.raises(InvalidRequest):
            parse_score_request(text, LIMITS)
        assert time.process_time() - started < 0.1


def test_commas_in_texts_are_no_values() -> None:
    text = body(items=[item(response="1, " * 300_000)])
    assert text.count(b",") > MAX_VALUES
    assert read(text)["items"][0]["response"].startswith("1, 1, ")


@pytest.mark.parametrize("wrong", [5, None, "a", [], {}, [5], [None, {"responses": 5}], [{"rubric": {"criteria": 5}}]])
def test_counting_bears_any_shape(wrong: Any) -> None:
    with pytest.raises(InvalidRequest):
        parse_score_request(body(items=wrong), LIMITS)
    with pytest.raises(InvalidRequest):
        parse_lint_request(json.dumps({"rubric": wrong}).encode(), LIMITS)


def test_the_largest_request_that_is_allowed_is_read() -> None:
    wide = item(responses=["a"] * 512, rubric=[{"text": f"{n}", "points": 1} for n in range(256)])
    del wide["response"]
    parsed = parse_score_request(body(items=[wide]), LIMITS)
    assert len(parsed.request.items[0].responses or []) == 512
    for changed in (wide | {"responses": ["a"] * 513}, wide | {"rubric": [{"text": "a", "points": 1}] * 257}):
        with pytest.raises(InvalidRequest):
            parse_score_request(body(items=[changed]), LIMITS)


async def test_an_answer_of_many_results_is_the_same_document() -> None:
    async with serving() as client:
        wide = item(responses=[f"r{n}" for n in range(40)], rubric=[{"text": f"c{n}", "points": 1} for n in range(40)])
        del wide["response"]
        status, took_s, gap_s = await longest_gap_s(client, "/v1/score", body(items=[wide]))
        answer = await client.post("/v1/score", content=body(items=[wide]))
    print(f"1,600 criteria: {status} after {took_s:.3f} s, longest gap {gap_s * 1000:.0f} ms")
    read_back = wire.ScoreResponse.model_validate_json(answer.content)
    assert read_back.model_dump_json().encode() == answer.content
    assert (len(read_back.results), read_back.usage.cache_hits) == (40, 1_600)


def test_one_item_needs_no_list_and_its_faults_have_the_places_that_the_caller_wrote() -> None:
    alone = json.dumps({**ITEM, "aggregation": "mean", "id": "a"}).encode()
    listed = parse_score_request(body(items=[{**ITEM, "id": "a"}], aggregation="mean"), LIMITS)
    assert parse_score_request(alone, LIMITS).request == listed.request

    def faults(**changes: Any) -> list[Any]:
        with pytest.raises(InvalidRequest) as refused:
            parse_score_request(json.dumps({**ITEM, **changes}).encode(), LIMITS)
        return [*refused.value.errors]

    assert faults(rubric=[{"text": "a", "points": "7"}])[0][0] == ("rubric", "criteria", 0, "points")
    assert faults(rubrik=1) == [(("rubrik",), "unknown field; did you mean `rubric`?")]
    assert faults(items=[])[0][0] == ("items",)
    [(place, said)] = faults(rubric=[{"text": "a", "points": 1}] * (LIMITS.max_criteria + 1))
    assert place == ("rubric",) and said.startswith("more than")
    with pytest.raises(InvalidRequest) as refused:
        parse_score_request(b'{"mode": "verdict"}', LIMITS)
    assert refused.value.errors[0][0] == ("items",)


async def test_the_values_of_a_body_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    structure = wire.structure

    def count(text: bytes) -> int:
        counted.append(len(text))
        return structure(text)

    monkeypatch.setattr(wire, "structure", count)
    large = body(items=[item(response="word " * 10_000)])
    async with serving() as client:
        assert (await client.post("/v1/score", content=large)).status_code == 200
    assert counted == [len(large)]
