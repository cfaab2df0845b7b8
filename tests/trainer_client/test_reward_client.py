"""Waiting for a judge, by a clock of the test's own."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Json, ManualClock, Service, answered, expected_score, problem, scores, served
from trainer_client import errors, wire
from trainer_client.client import Failed, JudgeClient, Outcome, Scored, ScoreOptions, reward
from trainer_client.reward_client import JudgeConfig, RewardClient, may_change, why_missing

BUDGET_S = 100.0


def listed(count: int, **more: Any) -> list[wire.Item]:
    rubric = [{"text": "Is kind.", "points": 5}, {"text": "Lies.", "points": -3}]
    made = [{"id": f"i{n}", "prompt": "Hello?", "response": f"answer {n}", "rubric": rubric} for n in range(count)]
    return [wire.Item.model_validate({**one, **more}) for one in made]


class Judge:
    """A scripted service, a clock, and the client that is tested with them."""

    def __init__(
        self,
        answer: Callable[[Json], httpx.Response] | None = None,
        *,
        budget_s: float = BUDGET_S,
        options: ScoreOptions | None = None,
    ) -> None:
        self.manual = ManualClock()
        self.service = Service(answer)
        self.client = JudgeClient(
            "http://judge",
            transport=self.service.transport,
            clock=self.manual.clock,
            batch_items=1,
            rng=random.Random(1),
        )
        config = JudgeConfig("http://judge", options=options or {}, judge_timeout_s=budget_s)
        self.rewards = RewardClient(config, self.client)

    async def score(self, count: int = 1) -> list[Outcome]:
        async with self.client:
            return await self.rewards.score(listed(count))

    @property
    def asked(self) -> list[str]:
        return [item["id"] for body in self.service.bodies for item in body["items"]]

    @property
    def waited_s(self) -> float:
        return self.manual.now - 1000.0


def spoilt(body: Json, *statuses: wire.CriterionStatus) -> Json:
    """The right answer, with its first criteria not judged for these reasons, and so without a score."""
    answer = scores(body)
    for result in answer["results"]:
        for criterion, status in zip(result["criteria"], statuses, strict=False):
            criterion |= {"status": status, "met": None, "p": None, "p_raw": None}
        result |= {"status": "partial", "score": None, "coverage": 0.5}
    return answer


async def test_a_judge_that_is_away_is_waited_for() -> None:
    judge = Judge(lambda body: problem("unavailable", 503) if judge.waited_s < 40 else answered(scores(body)))
    (outcome,) = await judge.score()
    assert reward(outcome) == expected_score("answer 0")
    assert 40 <= judge.waited_s < BUDGET_S
    assert len(judge.asked) > 3


async def test_pauses_grow_and_are_never_shorter_than_what_was_asked_for() -> None:
    judge = Judge(
        lambda body: problem("overloaded", 503, retry_after="7") if judge.waited_s < 60 else answered(scores(body))
    )
    await judge.score()
    assert len(judge.manual.slept) > 2
    assert min(judge.manual.slept) >= 7
    judge = Judge(lambda body: problem("overloaded", 503), budget_s=2000)
    await judge.score()
    early, late = judge.manual.slept[:3], judge.manual.slept[10:]
    assert max(early) <= 4 < 15 < max(late) <= 60


@pytest.mark.parametrize("code", ["unavailable", "overloaded", "quota_exceeded"])
async def test_it_gives_up_at_the_budget(code: str) -> None:
    judge = Judge(lambda body: problem(code, 429 if code == "quota_exceeded" else 503))
    (outcome,) = await judge.score()
    assert isinstance(outcome, Failed) and outcome.error.code == code
    assert BUDGET_S - 16 < judge.waited_s < BUDGET_S


async def test_it_does_not_wait_for_what_lies_past_the_budget() -> None:
    judge = Judge(lambda body: problem("unavailable", 503, retry_after="101"))
    (outcome,) = await judge.score()
    assert isinstance(outcome, Failed)
    assert judge.waited_s == 0 and len(judge.asked) == 1


async def test_only_what_may_change_is_asked_again_and_what_was_scored_stays() -> None:
    first: set[str] = set()

    def answer(body: Json) -> httpx.Response:
        name = body["items"][0]["id"]
        if name in first:
            return answered(scores(body))
        first.add(name)
        match name:
            case "i0":
                return problem("unavailable", 503)
            case "i1":
                return problem("invalid_request", 422)
            case "i2":
                return answered(spoilt(body, "timeout"))
            case "i3":
                return answered(spoilt(body, "abstained", "unparseable"))
            case _:
                return answered(scores(body))

    judge = Judge(answer)
    outcomes = await judge.score(6)
    assert sorted(judge.asked) == ["i0", "i0", "i1", "i2", "i2", "i3", "i4", "i5"]
    assert [outcome.id for outcome in outcomes] == [f"i{n}" for n in range(6)]
    right = [expected_score(f"answer {n}") for n in range(6)]
    assert [reward(outcome) for outcome in outcomes] == [right[0], None, right[2], None, right[4], right[5]]
    assert [why_missing(one) for one in outcomes] == [
        "ok",
        "invalid_request",
        "ok",
        "abstained and unparseable",
        "ok",
        "ok",
    ]


async def test_a_group_is_asked_again_whole_and_what_it_had_stays() -> None:
    """One member of three has no score at first; when asked again the judge says otherwise of the others too."""
    calls = []

    def answer(body: Json) -> httpx.Response:
        calls.append(body)
        said = spoilt(body, "engine_error") if len(calls) == 1 else scores(body)
        if len(calls) == 1:
            said["results"][1:] = scores(body)["results"][1:]
        else:
            for result in said["results"]:
                result["score"] = 0.25
        return answered(said)

    judge = Judge(answer)
    async with judge.client:
        outcomes = await judge.rewards.score(listed(1, response=None, responses=["a", "b", "c"]))
    assert [len(body["items"][0]["responses"]) for body in calls] == [3, 3]
    assert [reward(outcome) for outcome in outcomes] == [0.25, expected_score("b"), expected_score("c")]


async def test_the_services_word_stays_when_it_cannot_be_asked_again() -> None:
    judge = Judge(
        lambda body: answered(spoilt(body, "timeout")) if judge.waited_s == 0 else problem("unavailable", 503)
    )
    (outcome,) = await judge.score()
    assert isinstance(outcome, Scored) and why_missing(outcome) == "timeout"
    assert reward(outcome) is None


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (problem("unauthorized", 401), errors.Unauthorized),
        (problem("forbidden", 403), errors.Forbidden),
        (problem("judge_mismatch", 409), errors.JudgeMismatch),
        (httpx.Response(200, json={"other": "contract"}), errors.ContractError),
    ],
)
async def test_the_hopeless_is_raised_at_once(refusal: httpx.Response, error: type[Exception]) -> None:
    def answer(body: Json) -> httpx.Response:
        if body["items"][0]["id"] == "i0":
            return problem("unavailable", 503)
        return httpx.Response(refusal.status_code, content=refusal.content, headers=dict(refusal.headers))

    judge = Judge(answer)
    with pytest.raises(error):
        await judge.score(2)
    assert judge.waited_s <= 0.5, "the other request's first pause had begun, and was cut short"
    assert sorted(judge.asked) == ["i0", "i1"]


async def test_a_defect_of_the_service_is_not_asked_again_but_is_no_end_either() -> None:
    judge = Judge(lambda body: problem("internal", 500))
    (outcome,) = await judge.score()
    assert isinstance(outcome, Failed) and len(judge.asked) == 1
    assert not may_change(outcome) and why_missing(outcome) == "internal"


async def test_options_and_what_is_left_of_the_budget_go_with_every_request() -> None:
    judge = Judge(
        lambda body: problem("unavailable", 503) if judge.waited_s < 30 else answered(scores(body)),
        options={"min_coverage": 0.75, "priority": "eval"},
    )
    await judge.score()
    left = [body["deadline_ms"] for body in judge.service.bodies]
    assert all(body["min_coverage"] == 0.75 and body["priority"] == "eval" for body in judge.service.bodies)
    assert 99_000 < left[0] <= 100_000 and left == sorted(left, reverse=True) and left[-1] <= 70_000


async def test_nothing_asked_is_nothing_answered() -> None:
    judge = Judge()
    async with judge.client:
        assert await judge.rewards.score([]) == []
    assert judge.asked == []


async def test_nothing_is_invented_under_random_faults() -> None:
    """2,000 responses in batches of 20 with nine faults: a score is the judge's word, or there is none."""
    tried = invented = unjudged = 0
    for seed in range(100):
        rng = random.Random(seed)
        judge = Judge(partial(_faulty, rng=rng), budget_s=rng.choice([5.0, 30.0]))
        for n, outcome in enumerate(await judge.score(20)):
            tried += 1
            value = reward(outcome)
            unjudged += value is None
            invented += value is not None and value != expected_score(f"answer {n}")
            assert outcome.id == f"i{n}"
    assert (tried, invented) == (2000, 0)
    assert 20 < unjudged < 600


def _faulty(body: Json, rng: random.Random) -> httpx.Response:
    match rng.randrange(24):
        case 0:
            raise httpx.ConnectError("refused")
        case 1:
            raise httpx.ReadError("cut")
        case 2:
            return problem("overloaded", 503, retry_after="2")
        case 3:
            return problem("unavailable", 503)
        case 4:
            return problem("internal", 500)
        case 5:
            return httpx.Response(502, text="<html>")
        case 6:
            return answered(spoilt(body, "timeout"))
        case 7:
            return answered(spoilt(body, "abstained"))
        case 8:
            return answered(spoilt(body, "overloaded", "abstained"))
        case _:
            return answered(scores(body))


async def test_judging_makes_its_client() -> None:
    service = Service()
    with served(service) as url:
        async with JudgeConfig(f"{url}/", token="key").client() as client:
            (outcome,) = await client.score(listed(1))
    assert reward(outcome) == expected_score("answer 0")
    assert service.requests[0].headers["authorization"] == "Bearer key"
