"""Computes from a request what its answer has to be: verdicts from the marks, rules and scores by its own arithmetic.

Guarantees: nothing of the service is imported here. What the service says was not judged is believed, and is then
nothing: no verdict, and a score as the contract has it without that criterion.
"""

import math
import re
import statistics
from collections.abc import Sequence
from typing import Any

from testkit.marks import Marks, p_met, read

Json = dict[str, Any]
CLOSE = 1e-6
UNJUDGED = {"abstained", "timeout", "overloaded", "too_long", "unparseable", "verifier_error", "engine_error"}
UNJUDGED |= {"cancelled"}


def faults_of(request: Json, answer: Json) -> list[str]:
    """What is wrong with the results of an answer; empty where all is as it must be."""
    wrong: list[str] = []
    expected = list(_expanded(request))
    results = answer["results"]
    if [result["id"] for result in results] != [id for id, *_ in expected]:
        return ["results of other items"]
    for result, (_, prompt, reference, response, criteria) in zip(results, expected, strict=True):
        wrong += _result(request, result, prompt, reference, response, criteria)
    return wrong + _groups(request, answer)


def _expanded(request: Json) -> Any:
    """Id, prompt's and reference's number, response and criteria of each result."""
    for index, item in enumerate(request["items"]):
        id, prompt = item.get("id", str(index)), item["prompt"]
        text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        reference = item.get("reference")
        numbers = _of(text).prompt, None if reference is None else _of(reference).reference
        for n, response in enumerate(item.get("responses", [item.get("response")])):
            name = f"{id}/{n}" if "responses" in item else id
            yield name, *numbers, response, item["rubric"]["criteria"]


def _of(text: str) -> Marks:
    marks = read(text)
    assert marks is not None
    return marks


def _result(
    request: Json, result: Json, prompt: int, reference: int | None, response: str, criteria: Sequence[Json]
) -> list[str]:
    given = result["criteria"]
    if [one["id"] for one in given] != [criterion["id"] for criterion in criteria]:
        return ["criteria of another rubric"]
    wrong: list[str] = []
    values: list[tuple[float, float | None]] = []
    threshold = request.get("threshold", 0.5)
    for one, criterion in zip(given, criteria, strict=True):
        if one["status"] != "ok":
            wrong += _invented(one)
            values.append((criterion["points"], None))
            continue
        p = _rule(criterion["verifier"], response) if "verifier" in criterion else None
        source = ("rule",) if p is not None else ("judge", "cache")
        if p is None:
            p = p_met(Marks(prompt, reference, _of(response).response, _of(criterion["text"]).criterion))
        if one["p"] is None or abs(one["p"] - p) > CLOSE or one["met"] is not (p >= threshold):
            wrong.append("a wrong verdict")
        if one["source"] not in source or one["points"] != criterion["points"]:
            wrong.append("a wrong source or points")
        values.append((criterion["points"], p if request.get("soft") else float(p >= threshold)))
    return wrong + _score(request, values, result)


def _invented(one: Json) -> list[str]:
    named = [] if one["status"] in UNJUDGED else ["an unknown status"]
    return named + (["an invented verdict"] if one["met"] is not None or one["p"] is not None else [])


def _score(request: Json, values: Sequence[tuple[float, float | None]], result: Json) -> list[str]:
    """A part of a rubric has bounds, and a score between them where the request asks for one."""
    aggregation = request.get("aggregation", "healthbench")
    counted = [(points, value) for points, value in values if points != 0]
    if not counted:
        return [] if result["score"] is result["score_bounds"] is None else ["a score of nothing"]
    low = _aggregate(aggregation, [(points, float(points < 0) if v is None else v) for points, v in counted])
    high = _aggregate(aggregation, [(points, float(points > 0) if v is None else v) for points, v in counted])
    whole = all(value is not None for _, value in counted)
    judged = sum(abs(points) for points, value in counted if value is not None)
    coverage = judged / sum(abs(points) for points, _ in counted)
    status = "ok" if whole else "partial" if judged else "failed"
    wrong = [] if result["status"] == status else ["a wrong status"]
    score = low if whole else None
    if not whole and judged and coverage >= request.get("min_coverage", 1.0) - CLOSE:
        score = {"lower": low, "middle": (low + high) / 2}.get(request.get("unjudged", ""))
    wrong += [] if _close(result["score"], score) else ["a wrong score"]
    wrong += [] if _close(result["coverage"], coverage) else ["a wrong coverage"]
    bounds = result["score_bounds"]
    return wrong + ([] if _close(bounds[0], low) and _close(bounds[1], high) else ["wrong bounds"])


def _close(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return abs(found - expected) <= CLOSE


def _aggregate(name: str, values: Sequence[tuple[float, float]]) -> float:
    """WIRE's aggregations for criteria without a category."""
    goods = [value if points > 0 else 1 - value for points, value in values]
    if name in ("healthbench", "healthbench_clipped"):
        best = sum(points for points, _ in values if points > 0)
        earned = sum(points * value for points, value in values)
        if not best:
            share = earned / sum(-points for points, _ in values)
            return share if name == "healthbench" else 1 + share
        return earned / best if name == "healthbench" else max(0.0, earned / best)
    if name == "all_pass":
        return math.prod(goods)
    if name == "mean":
        return sum(goods) / len(goods)
    if name == "min":
        return min(goods)
    sizes = [abs(points) for points, _ in values]
    return sum(size * good for size, good in zip(sizes, goods, strict=True)) / sum(sizes)


def _rule(rule: Json, response: str) -> float:
    if rule["rule"] == "contains":
        if rule.get("ignore_case", True):
            return float(rule["text"].lower() in response.lower())
        return float(rule["text"] in response)
    if rule["rule"] == "length":
        return float(len(response.split()) >= rule["min"])
    if rule["rule"] == "exact":
        return float(response.strip() == rule["gold"].strip())
    return float(re.search(rule["pattern"], response) is not None)


def _groups(request: Json, answer: Json) -> list[str]:
    by_id = {group["id"]: group for group in answer.get("groups") or []}
    wrong: list[str] = []
    for index, item in enumerate(request["items"]):
        if "responses" not in item:
            continue
        group = by_id.pop(str(index), None)
        scores = [one["score"] for one in answer["results"] if one["id"].startswith(f"{index}/")]
        valid = [score for score in scores if score is not None]
        if group is None or (group["n"], group["valid"]) != (len(scores), len(valid)):
            wrong.append("a wrong group")
        elif not _close(group["mean"], statistics.fmean(valid) if valid else None):
            wrong.append("a wrong mean")
        elif not _close(group["std"], statistics.pstdev(valid) if valid else None):
            wrong.append("a wrong spread")
    return wrong + (["a group of nobody"] if by_id else [])
