"""A real, weak judge is served by the default settings, in each mode, layout and prompt that it carries."""

from typing import Any

import httpx
import pytest

from testkit.processes import Running
from testkit.waiting import HUNG_S

Json = dict[str, Any]
QUESTION = "My knee hurts when I run. What should I do?"
RESPONSES = (
    "Rest for a few days, put ice on it, and see a doctor if it still hurts after two weeks.",
    "",
    "The moon is about 384,400 kilometres away from the earth.",
)
CRITERIA = (
    {"id": "doctor", "text": "Tells the user to see a doctor if the pain goes on.", "points": 5},
    {"id": "marathon", "text": "Tells the user to run a marathon.", "points": -5},
    {"id": "ice", "text": "Recommends ice.", "points": 3},
)


def score(url: str, responses: tuple[str, ...] = RESPONSES, criteria: Any = CRITERIA, **options: Any) -> list[Json]:
    item = {"prompt": QUESTION, "responses": responses, "rubric": criteria}
    answer = httpx.post(f"{url}/v1/score", json={"items": [item], **options}, timeout=None)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["results"]
    return found


def verdicts(results: list[Json]) -> list[Json]:
    return [criterion for result in results for criterion in result["criteria"]]


def test_the_default_way_of_asking_works(served: Running) -> None:
    """Asked with the instruction first and the criterion last it put 0.02 on its labels, and was refused."""
    judge = httpx.get(f"{served.url}/v1/judge", timeout=HUNG_S).json()
    default = next(prompt for prompt in judge["prompts"] if prompt["served"])
    assert default is judge["prompts"][0], "it is served by the default prompt"
    assert default["label_mass"] > judge["label_mass_floor"]
    assert not judge["toy"]
    found = verdicts(score(served.url))
    assert [one["status"] for one in found] == ["ok"] * 9
    assert min(one["label_mass"] for one in found) > judge["label_mass_floor"]
    assert len({one["p"] for one in found}) == 9, "no two verdicts are rounded to one"


def test_every_way_gives_a_verdict_or_says_why_not(served: Running) -> None:
    judge = httpx.get(f"{served.url}/v1/judge", timeout=HUNG_S).json()
    asked = {(way["mode"], way["layout"], way["prompt"]) for way in judge["judges"]}
    assert {mode for mode, _, _ in asked} >= {"verdict", "implicit", "likert"}
    assert len([prompt for mode, layout, prompt in asked if (mode, layout) == ("verdict", "rubricd")]) == 7
    floor = judge["label_mass_floor"]
    for mode, layout, prompt in sorted(asked, key=str):
        options = {"mode": mode, "layout": layout} | ({"judge_prompt": prompt} if prompt else {})
        [result] = score(served.url, RESPONSES[:1], CRITERIA[:2], **options)
        for one in result["criteria"]:
            told = (mode, layout, prompt, one)
            if one["status"] == "ok" and mode == "verdict":
                assert 0 < one["p"] < 1 and one["met"] is (one["p"] >= 0.5) and one["label_mass"] >= floor, told
            elif one["status"] == "abstained":
                assert one["met"] is None and one["p"] is None and one["detail"], told
            elif one["status"] != "ok":
                assert mode == "reasoned" and one["status"] == "unparseable" and one["met"] is None, told
        if mode in ("implicit", "likert") and result["status"] == "ok":
            assert 0 < result["score"] < 1 and result["criteria"][0]["label_mass"] >= floor, (mode, result)


def test_a_verdict_does_not_depend_on_what_is_asked_beside_it(served: Running) -> None:
    """Each criterion alone, and together with others and other responses: one tree of a real tokenizer's prefixes."""
    together = verdicts(score(served.url, cache="bypass"))
    alone = [
        verdicts(score(served.url, (response,), (criterion,), cache="bypass"))[0]
        for response in RESPONSES
        for criterion in CRITERIA
    ]
    for one, other in zip(together, alone, strict=True):
        assert one["p"] == pytest.approx(other["p"], abs=1e-4)
        assert one["label_mass"] == pytest.approx(other["label_mass"], abs=1e-4)
