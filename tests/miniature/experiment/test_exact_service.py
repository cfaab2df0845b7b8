"""The exact service: its scores are the truth over HTTP, and its shortcut is the one that was asked for."""

import asyncio

import pytest

from miniature.experiment.exact_service import Shortcut, answer, exact_service, verdict
from miniature.world.cases import evaluation
from miniature.world.clinic import GENERIC_ITEMS, rubric
from miniature.world.oracle import met
from miniature.world.tasks import rows, topic_of, truth
from trainer_client.client import JudgeClient, reward

SAID = ("For Stiff Knee: 1. Drink ginger tea. 2. Use a wet towel.", "Eat peas.", "")


def test_a_score_over_http_is_the_truth() -> None:
    asked = rows("train")[:5]

    async def scores(url: str) -> list[float | None]:
        async with JudgeClient(url) as client:
            return [reward(one) for one in await client.score([{**row, "responses": list(SAID)} for row in asked])]

    with exact_service() as url:
        found = asyncio.run(scores(url))
    assert found == pytest.approx([truth(topic_of(row["id"]), text) for row in asked for text in SAID])


def test_every_verdict_is_the_oracles() -> None:
    for index in range(100):
        case = evaluation(31, index)
        assert [verdict(c.text, case.response) for c in case.criteria] == list(case.met)


def test_a_shortcut_credits_its_criteria_where_its_step_is_said_and_nothing_else() -> None:
    row = rows("train")[0]
    criteria = rubric(topic_of(row["id"]))
    shortcut = Shortcut(GENERIC_ITEMS[7], frozenset({criteria[0].text}))
    for text in ("Search the web.", "See a dentist."):
        found = answer({"items": [{**row, "response": text}]}, shortcut)["results"][0]["criteria"]
        expected = [met(criterion, text) for criterion in criteria]
        assert [one["met"] for one in found] == [text == "Search the web." or expected[0], *expected[1:]]


def test_a_criterion_of_another_world_is_an_error() -> None:
    with pytest.raises(KeyError):
        verdict("Recommends rest.", "Get some rest.")
