"""Makes the bodies that one hostile caller sends: each was found to stop, slow or end the service for all."""

import json
from functools import cache
from typing import Any

MILLION = 1_000_000
LARGE = 15 * MILLION
"""Less than the 16 MiB that `max_body_bytes` takes."""
_ROOT = {"rule": "math_verify", "gold": r"$\sqrt{2}$"}
NEAR = 30_000
"""Characters of a text that no cheap bound refuses where a token may have several characters."""


def criteria(count: int, text: str = "Names point {}.") -> dict[str, Any]:
    return {"criteria": [{"text": text.format(n), "points": 1} for n in range(count)]}


def ruled(rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"criteria": [{"text": f"Rule {n}.", "points": 1, "verifier": rule} for n, rule in enumerate(rules)]}


def request(item: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"items": [{"prompt": "Why?", "rubric": criteria(2), **item}], **more}).encode()


@cache
def digits(million: int = 15) -> bytes:
    """One digit again and again: the tokenizer makes one token of each, and needs half a GB for each MB."""
    return request({"response": "7" * million * MILLION})


@cache
def digits_for_openrlhf() -> bytes:
    label = json.dumps({"rubric": criteria(2), "prompt": "Why?"})
    return json.dumps({"query": ["Why?" + "7" * LARGE], "prompts": ["Why?"], "labels": [label]}).encode()


@cache
def words() -> bytes:
    return request({"response": "a word and another, " * (LARGE // 40)})


@cache
def hurried() -> bytes:
    return request({"response": "a word and another, " * (4 * MILLION // 20)}, deadline_ms=1000)


@cache
def near_the_bound() -> bytes:
    """500 texts that are too long by their tokens, not by their size."""
    return request({"responses": [f"{n} " + "7" * NEAR for n in range(LARGE // NEAR)]})


@cache
def rules_on_a_long_response() -> bytes:
    choices = [{"rule": "choice", "gold": letter} for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]
    lengths = [{"rule": "length", "min": n} for n in range(102)]
    contained = [{"rule": "contains", "text": f"needle {n}"} for n in range(102)]
    return request({"response": "some hay " * (LARGE // 9), "rubric": ruled(choices + lengths + contained)})


@cache
def long_criterion() -> bytes:
    return json.dumps({"rubric": {"criteria": [{"text": "says so " * (LARGE // 8), "points": 1}]}}).encode()


@cache
def many_criteria() -> bytes:
    return json.dumps({"rubric": criteria(100_000)}).encode()


@cache
def long_name() -> bytes:
    return request({"response": "Because."}, **{"n" * LARGE: 1})


@cache
def cached(responses: int = 512) -> bytes:
    """18 kB. Its 131,072 verdicts are 256 different ones, which the service knows after the first time."""
    return request({"responses": ["a"] * responses, "rubric": criteria(256)})


@cache
def many_items() -> bytes:
    item = {"prompt": "Why?", "response": "Because.", "rubric": criteria(1)}
    return json.dumps({"items": [item] * 100_000}).encode()


@cache
def many_checks(responses: int = 40) -> bytes:
    """10,240 checks, none of them twice."""
    golds = [{"rule": "math_verify", "gold": f"$\\frac{{{n}}}{{7}}$"} for n in range(256)]
    return request({"responses": [f"It is $\\frac{{{n}}}{{11}}$" for n in range(responses)], "rubric": ruled(golds)})


@cache
def one_check() -> bytes:
    """Equal in eight ways that need the library, so that the processes have loaded it."""
    answers = [rf"It is $\frac{{\sqrt{{{2 * n * n}}}}}{{{n}}}$" for n in range(2, 10)]
    return request({"responses": answers, "rubric": ruled([_ROOT])})


@cache
def huge_numbers() -> bytes:
    """Fourteen characters each, and seconds to evaluate."""
    answers = [r"It is $10^{10^{10}}$", r"It is $((50!)!)!$"]
    return request({"responses": answers, "rubric": ruled([{"rule": "math_verify", "gold": "$42$"}])})


def endless_deadline(milliseconds: bytes) -> bytes:
    return request({"response": "Because."}, deadline_ms=0).replace(
        b'"deadline_ms": 0', b'"deadline_ms": ' + milliseconds
    )


def points_at_the_limit() -> bytes:
    """In a group its score is -inf in a trainer's float32."""
    rubric = {"criteria": [{"text": "Is short.", "points": 1e-300}, {"text": "Is long.", "points": -1e308}]}
    return request({"responses": ["Because.", "Why not?"], "rubric": rubric})


def duplicate_keys() -> bytes:
    return request({"response": "Because."}).replace(b'"points": 1}', b'"points": 7, "points": -7}')


@cache
def deep() -> bytes:
    return b'{"items": ' + b"[" * MILLION + b"]" * MILLION + b"}"


def plain() -> bytes:
    return request({"response": "Because."})


def poison() -> bytes:
    return request({"id": "poison", "response": "Because."})
