"""Whatever is sent in whatever field of whatever route, the answer is no server error: a fuzz test with figures."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from testkit.apps import fake_settings, item, serving
from tests.service.api.protocols.bodies import JUDGING, LABEL, decisions, openrlhf, predicate, slime

RULES: list[dict[str, Any]] = [
    {"rule": "math_verify", "gold": "42"},
    {"rule": "regex", "pattern": "a", "ignore_case": True},
    {"rule": "contains", "text": "a", "ignore_case": True},
    {"rule": "choice", "gold": "B"},
    {"rule": "length", "min": 1, "max": 9, "unit": "words"},
    {"rule": "json_schema", "schema": {"type": "object", "maximum": 3}},
    {"rule": "exact", "gold": "a", "ignore_case": False},
]
CRITERION = {"text": "Rests.", "points": 5, "id": "c", "tags": {"a": "b"}, "polarity": "positive"}
TURNS = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "My knee hurts."}]
FULL: dict[str, Any] = {
    "items": [
        item(id="i", prompt=TURNS, rubric={"criteria": [CRITERION]}, reference="a", group="g"),
        {"prompt": "p", "responses": ["a", "b"], "rubric": [{"criterion": "Runs.", "points": -2, "tags": ["k:v"]}]},
        item(rubric=[{"title": "t", "description": "Pitfall Criteria: x", "weight": -1}]),
    ],
    "mode": "verdict",
    "aggregation": "healthbench",
    "layout": "rubricd",
    "votes": 1,
    "rating_norm": "(r-1)/9",
    "soft": True,
    "threshold": 0.5,
    "min_coverage": 0.5,
    "unjudged": "lower",
    "deadline_ms": 10_000,
    "priority": "train",
    "cache": "refresh",
    "expect_judge": None,
}
PAIRS: dict[str, Any] = {
    "items": [
        {"prompt": TURNS, "a": "Rests.", "b": "", "id": "i", "reference": "r", "metadata": {"k": 1}},
        {"prompt": "p", "a": [{"role": "assistant", "content": "x"}], "b": "y", "rubric": {"criteria": [CRITERION]}},
    ],
    "reasoning": {"open": "<a>", "close": "</a>"},
    "pitfalls": "met_is_bad",
    "deadline_ms": 10_000,
    "priority": "train",
    "cache": "refresh",
    "expect_judge": None,
}
ITEMS = [
    {"type": "function_call", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "output": [{"type": "input_json", "data": {"a": [1.5]}}]},
    {"role": "assistant", "content": [{"type": "output_text", "text": "Rest."}, {"type": "refusal", "refusal": "No."}]},
]
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/score", FULL),
    ("/v1/compare", PAIRS),
    ("/v1/rubrics/lint", {"rubric": [CRITERION], "aggregation": "rar_explicit"}),
    ("/v1/rubrics/read", {"text": '[{"text": "Rests.", "points": 1}]'}),
    ("/v1/rubrics/fix", {"rubric": [CRITERION]}),
    ("/seed_session", {"a": 1}),
    *((path, body()) for path, body in JUDGING.items()),
    ("/rm", {**slime(), "label": {**LABEL, "votes": 1, "threshold": 0.5, "min_coverage": 0.1, "soft": True}}),
    ("/get_reward", openrlhf(labels=[{**LABEL, "reference": "a"}])),
    ("/v1/decisions", decisions(predicate([{"type": "input_text", "text": "?"}]), input=ITEMS)),
    (
        "/v1/systemone",
        {
            "model": "m",
            "state": {"submission": "a", "input": [{"role": "user", "content": "b"}], "guidelines": "c"},
            "questions": {
                "q": {"type": "noul", "instructions": ["d"], "criteria": {"true": "e", "false": None}},
                "r": {"type": "choice", "criteria": {"f": None, "g": {"h": 1}}},
                "s": {"type": "score", "instructions": "i", "criteria": ["j", "k"]},
            },
        },
    ),
]
# As JSON text: some of it no encoder writes. What has no place in a contract is `$`, and stands where a value was.
VALUES = [
    *("null", "true", "-0.0", "0", "-1", "1e308", "-1e308", "1e-308", "5e-324", "1e400", "-1e400", "1e-400"),
    *("9223372036854775808", "-9223372036854775809", "1" + "0" * 308, "9" * 5000, "NaN", "Infinity", "-Infinity"),
    *('""', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u200b\\u2060"', '"1e400"', '"nan"'),
    *("[]", "{}", "[[]]", "[null]", "[1e400]", '{"a": 1e400}', '{"a": 1, "a": 2}', '[{"a": 1, "a": 1}]', '{"": null}'),
    *("[" * 150 + "]" * 150, "[" * 1000 + "]" * 1000, '{"a":' * 150 + "1" + "}" * 150, '{"a":' * 50_000),
    *('"' + "a" * 300 + '"', '"' + "[" * 5000 + '"', '"{\\"points\\": 1e400}"', "[" + "0," * 3000 + "0]"),
]
MARK = "\ue000mark"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a document."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The document with `new` at this place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


RULED = ("items", 0, "rubric", 0, "verifier")


def texts(body: dict[str, Any], below: tuple[Any, ...] = ()) -> Iterator[bytes]:
    """The body with each value at each place, or at each that is `below` or in it."""
    for path in places(body):
        if path[: len(below)] != below:
            continue
        marked = json.dumps(put(body, path, MARK))
        for value in VALUES:
            yield marked.replace(json.dumps(MARK), value).encode()


@pytest.fixture
async def client() -> Any:
    async with serving(settings=fake_settings(rule_timeout_s=0.5)) as client:
        yield client


async def _statuses(client: httpx.AsyncClient, path: str, contents: Iterator[bytes]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for content in contents:
        answer = await client.post(path, content=content)
        counts[answer.status_code] += 1
        assert answer.status_code in (200, 409, 422), (path, content[-600:], answer.text[:300])
        json.loads(answer.content, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    return counts


@pytest.mark.parametrize(("path", "body"), BODIES, ids=[f"{n} {path}" for n, (path, _) in enumerate(BODIES)])
async def test_any_value_in_any_place_is_no_server_error(
    client: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    counts = await _statuses(client, path, texts(body))
    print(f"{path}: {dict(counts)}")
    assert counts.total() == len(VALUES) * sum(1 for _ in places(body))
    assert counts[200] > 0


@pytest.mark.parametrize("rule", RULES, ids=[rule["rule"] for rule in RULES])
async def test_any_value_in_any_place_of_a_rule_is_no_server_error(
    client: httpx.AsyncClient, rule: dict[str, Any]
) -> None:
    body = {"items": [item(rubric=[{"text": "a", "points": 1, "verifier": rule}])]}
    counts = await _statuses(client, "/v1/score", texts(body, RULED))
    assert counts.total() == len(VALUES) * sum(1 for _ in places(rule))


OPTIONS = ("votes", "soft", "threshold", "min_coverage", "unjudged", "mode", "expect_judge", "reply", "deadline_ms")


@pytest.mark.parametrize("path", list(JUDGING))
async def test_any_value_in_the_url_is_no_server_error(client: httpx.AsyncClient, path: str) -> None:
    body = json.dumps(JUDGING[path]()).encode()
    sent = 0
    for option in OPTIONS:
        for value in VALUES:
            url = f"{path}?{urlencode({option: value[:2000]})}"
            answer = await client.post(url, content=body)
            assert answer.status_code in (200, 409, 422), (url[:300], answer.text[:300])
            sent += 1
    assert sent == len(OPTIONS) * len(VALUES)


async def test_groups_at_the_limits_of_points(client: httpx.AsyncClient) -> None:
    """The largest scores that there can be have statistics, in a float32, too."""
    rubric = [{"text": "a", "points": 1e-6}, *({"text": f"b{n}", "points": -1e6} for n in range(255))]
    group = {"prompt": "p", "responses": [f"r{n}" for n in range(4)], "rubric": rubric}
    answer = (await client.post("/v1/score", json={"items": [group], "threshold": 0.0})).json()
    scores = [result["score"] for result in answer["results"]]
    assert min(scores) == pytest.approx(-255e12)
    assert answer["groups"][0]["mean"] == pytest.approx(-255e12)
    assert all(abs(score) < 3.4e38 / 1e20 for score in scores)
