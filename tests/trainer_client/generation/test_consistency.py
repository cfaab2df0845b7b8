"""A rubric is kept only where scores under it prefer what people preferred; a missing score decides nothing."""

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Json, Service, answered, problem, scores
from tests.trainer_client.generation.drafts import source
from tests.trainer_client.http.streaming import judging
from trainer_client import wire
from trainer_client.errors import Unauthorized, Unavailable
from trainer_client.generation.consistency import Preference, preference

RUBRIC = wire.Rubric.model_validate([{"text": f"Mentions {n}.", "points": 1} for n in range(5)])
PAIR = ("Rest it.", "Run on.")


def _scored(*given: float | None) -> Service:
    """A judge that gives these scores to the responses of an item."""

    def answer(body: Json) -> httpx.Response:
        answer = scores(body)
        for result, score in zip(answer["results"], given, strict=True):
            if score is None:
                lost = {"status": "abstained", "met": None, "p": None}
                result["criteria"] = [{**one, **lost} for one in result["criteria"]]
                result |= {"status": "failed", "coverage": 0.0}
            result |= {"score": score, "score_bounds": None if score is None else [score, score]}
        return answered(answer)

    return Service(answer)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ((0.6, 0.4), "kept"),
        ((0.4, 0.6), "dropped"),
        ((0.5, 0.5), "dropped"),
        ((-0.2, -0.4), "kept"),
        ((None, 0.4), "undecided"),
        ((0.6, None), "undecided"),
        ((None, None), "undecided"),
    ],
)
async def test_the_preferred_answer_must_score_higher(given: tuple[float | None, ...], verdict: str) -> None:
    async with judging(_scored(*given)) as client:
        found = await preference(client, source(pair=PAIR), RUBRIC, {"mode": "verdict"})
    assert (found.preferred, found.rejected, found.verdict) == (*given, verdict)
    assert (found.why is None) is (verdict != "undecided")
    assert verdict == "undecided" or found.judge == FINGERPRINT


async def test_both_answers_are_judged_under_the_rubric_in_the_order_of_the_preference() -> None:
    service = _scored(0.6, 0.4)
    async with judging(service) as client:
        await preference(client, source(pair=PAIR), RUBRIC, {"mode": "verdict", "soft": True})
    (body,) = service.bodies
    (item,) = body["items"]
    assert item["responses"] == ["Rest it.", "Run on."] and body["soft"] is True
    assert [one["text"] for one in item["rubric"]["criteria"]] == [one.text for one in RUBRIC.criteria]


async def test_why_names_what_the_judge_said() -> None:
    async with judging(_scored(None, 0.4)) as client:
        found = await preference(client, source(pair=PAIR), RUBRIC, {})
    assert found.why == "the judge gave no score (abstained)"


async def test_an_unavailable_judge_ends_the_run_and_one_that_refuses_a_row_does_not() -> None:
    async with judging(Service(lambda body: problem("unavailable", 503))) as client:
        with pytest.raises(Unavailable):
            await preference(client, source(pair=PAIR), RUBRIC, {})
    async with judging(Service(lambda body: problem("unauthorized", 401))) as client:
        with pytest.raises(Unauthorized):
            await preference(client, source(pair=PAIR), RUBRIC, {})
    async with judging(Service(lambda body: problem("invalid_request", 422))) as client:
        found = await preference(client, source(pair=PAIR), RUBRIC, {})
    assert found.verdict == "undecided" and found.why is not None


def test_a_preference_without_a_judge_is_undecided() -> None:
    assert Preference(None, None, None, "away").verdict == "undecided"
