"""What the contract refuses: a problem document that says where and why, never a 500, never an echo of the text."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from testkit.apps import fake_settings, item, serving
from trainer_client import wire

SECRET = "CANARY-7f3a"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving(settings=fake_settings(max_items=16, max_criteria=8)) as client:
        yield client


async def refused(client: httpx.AsyncClient, body: bytes | dict[str, Any], status: int = 422) -> wire.Problem:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await client.post("/v1/score", content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.text
    problem = wire.Problem.model_validate_json(answer.content)
    assert problem.request_id == answer.headers["x-request-id"]
    assert problem.status == status
    return problem


def request(**changes: Any) -> dict[str, Any]:
    return {"items": [item(prompt=SECRET)], **changes}


def with_criterion(**changes: Any) -> dict[str, Any]:
    return {"items": [item(prompt=SECRET, rubric=[{"text": SECRET, "points": 5, **changes}])]}


IN_JSON: list[str | int] = ["items", 0, "rubric", 0]
"""Where the first criterion of a bare list stands in the text: what is no JSON of ours is found before the models."""
CRITERION: list[str | int] = ["items", 0, "rubric", "criteria", 0]

PLACED: list[tuple[str, dict[str, Any], list[str | int]]] = [
    ("number in a string", with_criterion(points="7"), [*CRITERION, "points"]),
    ("boolean for a number", with_criterion(points=True), [*CRITERION, "points"]),
    ("NaN", with_criterion(points=float("nan")), [*IN_JSON, "points"]),
    ("infinity", with_criterion(points=float("inf")), [*IN_JSON, "points"]),
    ("4,000 digits", with_criterion(points=10**4000), [*IN_JSON, "points"]),
    ("points of 1e-300", with_criterion(points=1e-300), [*CRITERION, "points"]),
    ("points of 1e308", with_criterion(points=-1e308), [*CRITERION, "points"]),
    ("nothing to see", with_criterion(text="\u200b\u2060\ufeff"), [*CRITERION, "text"]),
    ("a slip in a field", with_criterion(weigth=9), [*CRITERION, "weigth"]),
    ("a short plain field", with_criterion(**{"n.a-m_e7": 1}), [*CRITERION, "n.a-m_e7"]),
    ("a long field", with_criterion(**{"a" * 65: 1}), [*CRITERION, "(unknown field)"]),
    ("a field that may be a key", with_criterion(rbd_abc=1), [*CRITERION, "(unknown field)"]),
    ("a secret field", with_criterion(**{f"{SECRET}!": 1}), [*CRITERION, "(unknown field)"]),
    ("two names for one thing", with_criterion(criterion="x"), CRITERION),
    ("empty criterion", with_criterion(text=""), [*CRITERION, "text"]),
    ("unknown rule", with_criterion(verifier={"rule": SECRET}), [*CRITERION, "verifier"]),
    ("unknown rule by tag", with_criterion(tags=["verifier:rule", f"function:{SECRET}"]), CRITERION),
    ("tags of numbers", with_criterion(tags={SECRET: 1}), [*CRITERION, "tags", "(key)"]),
    (
        "bad choice",
        with_criterion(verifier={"rule": "choice", "gold": SECRET}),
        [*CRITERION, "verifier", "choice", "gold"],
    ),
    ("length without bounds", with_criterion(verifier={"rule": "length"}), [*CRITERION, "verifier", "length"]),
    ("unknown aggregation", request(aggregation=SECRET), ["aggregation"]),
    ("unknown aggregation with options", request(aggregation={"name": SECRET}), ["aggregation"]),
    ("option of another aggregation", request(aggregation={"name": "mean", SECRET: 1}), ["aggregation"]),
    ("cap over one", request(aggregation={"name": "caps", "cap": 1.5}), ["aggregation", "cap"]),
    (
        "weight of nothing",
        request(aggregation={"name": "rar_explicit", "category_weights": {"pitfall": 0}}),
        ["aggregation", "category_weights", "pitfall"],
    ),
    ("unknown mode", request(mode=SECRET), ["mode"]),
    ("votes of 17", request(mode="reasoned", votes=17), ["votes"]),
    ("threshold over one", request(threshold=1.5), ["threshold"]),
    ("deadline as a float", request(deadline_ms=1.5), ["deadline_ms"]),
    ("deadline of nothing", request(deadline_ms=0), ["deadline_ms"]),
    ("boolean as text", request(soft="true"), ["soft"]),
    ("unknown option", request(**{f"{SECRET}\n": 1}), ["(unknown field)"]),
    ("deadline of 5,000 digits", request(deadline_ms=10**4000), ["deadline_ms"]),
    ("deadline of a year", request(deadline_ms=31_536_000_000), ["deadline_ms"]),
    ("no items", request(items=[]), ["items"]),
    ("no response", {"items": [{"prompt": SECRET, "rubric": [{"text": "a", "points": 1}]}]}, ["items", 0]),
    ("both kinds of response", {"items": [item(responses=[SECRET])]}, ["items", 0]),
    ("a group in a group", {"items": [{**item(responses=["a"], group="g"), "response": None}]}, ["items", 0]),
    ("no criteria", {"items": [item(rubric=[])]}, ["items", 0, "rubric", "criteria"]),
    ("no rubric", {"items": [item(rubric=None)]}, []),
    ("duplicate ids", {"items": [item(id=SECRET), item(id=SECRET)]}, []),
    ("an id equal to an index", {"items": [item(id="1"), item()]}, []),
    (
        "duplicate criterion ids",
        {"items": [item(rubric=[{"id": SECRET, "text": "a", "points": 1}] * 2)]},
        ["items", 0, "rubric"],
    ),
    ("a group of two prompts", {"items": [item(group="g"), item(group="g", prompt=SECRET)]}, []),
    (
        "an unknown role",
        {"items": [item(prompt=[{"role": SECRET, "content": "a"}])]},
        ["items", 0, "prompt", "list[Message]", 0, "role"],
    ),
    ("votes outside reasoned", request(votes=3), []),
    ("a layout without that mode", request(mode="implicit", layout="healthbench"), ["layout"]),
    ("a norm without a rating", request(rating_norm="r/10"), []),
    ("too many items", {"items": [item(responses=["a"] * 17) | {"response": None}]}, ["items"]),
    ("too many criteria", {"items": [item(rubric=[{"text": "a", "points": 1}] * 9)]}, ["items", 0, "rubric"]),
]


@pytest.mark.parametrize(("body", "loc"), [case[1:] for case in PLACED], ids=[case[0] for case in PLACED])
async def test_a_slip_is_refused_at_its_place(
    client: httpx.AsyncClient, body: dict[str, Any], loc: list[str | int]
) -> None:
    problem = await refused(client, body)
    assert problem.errors, problem.detail
    places = [place.loc for place in problem.errors]
    if loc and loc[-1] == "role":  # a union names its members in the place
        assert any(place[-1] == "role" for place in places)
    else:
        assert loc in places
    assert all(place.msg for place in problem.errors)


RAW: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"score this: " + SECRET.encode(),
    "a list": b"[]",
    "a bare word": b'"' + SECRET.encode() + b'"',
    "NaN in the text": b'{"items": NaN}',
    "a lone surrogate": b'{"items": [{"prompt": "\\ud800", "response": "", "rubric": [{"text": "a", "points": 1}]}]}',
    "bytes that are not UTF-8": b'{"items": [{"prompt": "\xff\xfe"}]}',
    "100,000 lists deep": b"[" * 100_000,
    "100,000 objects deep": b'{"a":' * 100_000,
    "deep in a schema": b'{"items":[{"prompt":"","response":"","rubric":[{"text":"a","points":1,"verifier":'
    b'{"rule":"json_schema","schema":' + b'{"a":' * 100_000,
    "trailing text": json.dumps(request()).encode() + b"x",
    "UTF-16": json.dumps(request()).encode("utf-16"),
    "UTF-16 without a mark": json.dumps(request()).encode("utf-16-le"),
    "more than 200,000 values": b'{"items": [' + b"[]," * 200_000 + b"[]]}",
    "more values than can be listed": b'{"items": [{"prompt": ""' + b',"x":0' * 10_000 + b"}]}",
}


async def test_a_byte_order_mark_is_skipped(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/score", content=b"\xef\xbb\xbf" + json.dumps(request()).encode())
    assert answer.status_code == 200


TWICE: list[tuple[str, list[str | int]]] = [
    ('{"items": [], "items": []}', ["items"]),
    ('{"items": [{"prompt": "", "rubric": [{"text": "a", "points": 7, "points": -7}]}]}', [*IN_JSON, "points"]),
    ('{"items": [{"rubric": {"criteria": [], "criteria": []}}]}', ["items", 0, "rubric", "criteria"]),
    ('{"items": [{"rubric": [{"tags": {"CANARY-7f3a": "", "CANARY-7f3a": ""}}]}]}', [*IN_JSON, "tags", "(key)"]),
]


@pytest.mark.parametrize(("body", "loc"), TWICE)
async def test_a_key_that_stands_twice_is_refused_at_its_place(
    client: httpx.AsyncClient, body: str, loc: list[str | int]
) -> None:
    [place] = (await refused(client, body.encode())).errors
    assert (place.loc, place.msg) == (loc, "this key stands twice in one object; keep one")


@pytest.mark.parametrize("body", RAW.values(), ids=RAW.keys())
async def test_what_is_not_json_of_the_contract_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    await refused(client, body)


FOREIGN: dict[str, dict[str, Any]] = {
    "pooling": {"model": "m", "text_1": SECRET, "text_2": [SECRET]},
    "queries": {"model": "m", "queries": SECRET, "documents": [SECRET]},
    "SGLang": {"query": SECRET, "items": [SECRET], "label_token_ids": [1, 2]},
    "chat completion": {"model": "m", "messages": [{"role": "user", "content": SECRET}]},
    "OpenRLHF": {"query": [SECRET], "prompts": [SECRET], "labels": [SECRET]},
    "slime": {"prompt": SECRET, "response": SECRET, "label": SECRET},
    "decisions": {"model": "m", "input": SECRET, "questions": []},
}


@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_body_for_another_system_is_told_so(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    problem = await refused(client, body)
    assert "this body is shaped for" in problem.detail
    assert "`items` with `prompt`, `response` and `rubric`" in problem.detail


async def test_a_body_of_50_mb_is_413_declared_or_streamed(client: httpx.AsyncClient) -> None:
    taken = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield b" " * 1_000_000

    assert (await refused(client, b" " * 50_000_000, 413)).detail.startswith("the body holds more than")
    streamed = await client.post("/v1/score", content=stream())
    assert streamed.status_code == 413
    assert taken <= 18


async def test_other_routes_and_methods_answer_with_problems_too(client: httpx.AsyncClient) -> None:
    for answer in (await client.get("/nope"), await client.get("/v1/score"), await client.delete("/v1/judge")):
        assert answer.status_code in (404, 405)
        assert wire.Problem.model_validate_json(answer.content).request_id == answer.headers["x-request-id"]


async def test_a_bug_is_a_500_that_says_nothing_of_the_request(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: wire.ScoreRequest) -> list[Any]:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("service.api.translate.candidates", broken)
    answer = await client.post("/v1/score", json=request())
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["items", "prompt", "response", "rubric", "text", "points", "tags", "id", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@hypothesis_settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_json_in_any_place_is_200_or_422(client: httpx.AsyncClient, data: st.DataObject) -> None:
    body: Any = request()
    place: list[Any] = data.draw(
        st.sampled_from(
            [[], ["items"], ["items", 0], ["items", 0, "rubric"], ["items", 0, "rubric", 0], ["items", 0, "prompt"]]
        )
    )
    at = body
    for part in place[:-1]:
        at = at[part]
    value = data.draw(JSON)
    if not place:
        body = value
    elif isinstance(value, dict) and isinstance(at[place[-1]], dict):
        at[place[-1]] = {**at[place[-1]], **value}
    else:
        at[place[-1]] = value
    answer = await client.post("/v1/score", content=json.dumps(body).encode("utf-8", "surrogatepass"))
    assert answer.status_code in (200, 422), answer.text


async def test_neither_log_nor_metrics_carry_text_of_a_request(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    fine = item(
        prompt=SECRET, response=SECRET, rubric=[{"id": SECRET, "text": SECRET, "points": 1, "tags": {SECRET: SECRET}}]
    )
    rules = [{"rule": "regex", "pattern": f"({SECRET}"}, {"rule": "json_schema", "schema": {"$ref": SECRET}}]
    failing = item(response=SECRET, rubric=[{"text": SECRET, "points": 1, "verifier": rule} for rule in rules])
    bodies: list[Any] = [{"items": [fine]}, {"items": [failing]}, {SECRET: SECRET}, [SECRET]]
    for body in bodies:
        await client.post("/v1/score", json=body, headers={"X-Secret": SECRET})
    await client.get(f"/{SECRET}?{SECRET}")
    metrics = (await client.get("/metrics")).text
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert len([record for record in ours if record.name == "rubricd.access"]) >= 5
    assert SECRET not in metrics
    assert not [record for record in ours if SECRET in record.getMessage() or SECRET in str(record.exc_text)]
