"""The client against the service itself, in one process, with the fake engine."""

from collections.abc import AsyncIterator

import httpx
import pytest

from service.app import create_app
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.settings import Settings
from testkit.apps import fake_settings, started
from testkit.scripted_judge import items
from testkit.tokenizer_families import family
from trainer_client import errors, wire
from trainer_client.client import Compared, Failed, JudgeClient, Scored, reward


async def _build(settings: Settings) -> LoadedJudge:
    return LoadedJudge(FakeEngine(), family("qwen"))


@pytest.fixture
async def client() -> AsyncIterator[JudgeClient]:
    app = create_app(fake_settings(max_criteria=8), build=_build)
    async with started(app), JudgeClient("http://localhost", transport=httpx.ASGITransport(app=app)) as judge:
        yield judge


async def test_scores_do_not_depend_on_how_the_list_is_cut(client: JudgeClient) -> None:
    group = {"prompt": "p", "responses": ["a", "b", "c"], "rubric": [{"text": "Is kind.", "points": 1}]}
    listed = [*items(20), group]
    whole = await client.score(listed)
    client.batch_items = 1
    alone = await client.score(listed)
    assert [outcome.id for outcome in whole] == [*map(str, range(20)), "20/0", "20/1", "20/2"]
    assert [reward(outcome) for outcome in whole] == [reward(outcome) for outcome in alone]
    assert all(isinstance(outcome, Scored) for outcome in whole)


async def test_a_stream_says_what_a_whole_answer_says(client: JudgeClient) -> None:
    group = {"prompt": "p", "responses": ["a", "b", "c"], "rubric": [{"text": "Is kind.", "points": 1}]}
    listed = [*items(20), group]
    client.batch_items = 8
    whole = await client.score(listed)
    came = {place: outcome async for place, outcome in client.stream(listed)}
    assert [came[place].id for place in range(23)] == [outcome.id for outcome in whole]
    assert [reward(came[place]) for place in range(23)] == [reward(outcome) for outcome in whole]
    assert all(isinstance(outcome, Scored) for outcome in came.values())


@pytest.mark.parametrize("mode", ["verdict", "reasoned", "implicit", "likert"])
async def test_every_mode_has_a_score_whole_and_streamed(client: JudgeClient, mode: wire.Mode) -> None:
    listed = items(6)
    whole = await client.score(listed, mode=mode)
    streamed = {place: outcome async for place, outcome in client.stream(listed, mode=mode)}
    assert all(isinstance(reward(outcome), float) for outcome in whole)
    assert [reward(streamed[place]) for place in range(6)] == [reward(outcome) for outcome in whole]


async def test_the_judge_that_is_named_is_the_judge_that_answers(client: JudgeClient) -> None:
    assert await client.ready()
    fingerprint = (await client.judge()).fingerprint
    (right,) = await client.score(items(1), expect_judge=fingerprint)
    (wrong,) = await client.score(items(1), expect_judge="another")
    assert isinstance(right, Scored) and right.judge.fingerprint == fingerprint
    assert isinstance(wrong, Failed) and isinstance(wrong.error, errors.JudgeMismatch)


async def test_a_refusal_names_the_callers_item_and_the_request(client: JudgeClient) -> None:
    client.batch_items = 2
    too_many = {**items(1)[0], "rubric": [{"text": f"t{n}", "points": 1} for n in range(9)]}
    outcomes = await client.score([*items(3), too_many])
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, False, False, True]
    failed = outcomes[3]
    assert isinstance(failed, Failed) and isinstance(failed.error, errors.InvalidRequest)
    assert failed.error.errors[0][0][:2] == ("items", 3) and failed.error.request_id


async def test_lint_answers_in_the_contracts_words(client: JudgeClient) -> None:
    words = " ".join(f"word{n}" for n in range(20))
    rubric = [{"text": f"Says {words}.", "points": 1}, {"text": "Does not confuse them.", "points": -3}]
    found = (await client.lint(rubric, reference=words)).findings
    assert [(one.code, one.criterion) for one in found] == [("copied_reference", "0"), ("double_negation", "1")]
    assert all(one.message == f"{one.why}; {one.remedy}" for one in found)
    assert [one.code for one in (await client.lint(rubric)).findings] == ["double_negation"]


async def test_the_part_of_a_rubric_costs_no_verdict_beside_the_whole(client: JudgeClient) -> None:
    """As a training with rubric dropout asks: 3 answers, 5 criteria in all of which 3 count, and 15 verdicts."""
    rubric = [{"id": f"c{n}", "text": f"Says {n}.", "points": n + 1} for n in range(5)]
    part = {"prompt": "p", "responses": ["a", "b", "c"], "rubric": rubric[::2]}
    outcomes = await client.score([part, {**part, "rubric": rubric}])
    assert all(isinstance(outcome, Scored) for outcome in outcomes) and len(outcomes) == 6
    assert (client.usage.judgements, client.usage.deduplicated + client.usage.cache_hits) == (15, 9)


async def test_pairs_are_compared_and_a_swapped_pair_is_the_same_preference(client: JudgeClient) -> None:
    pairs = [{"prompt": "p", "a": f"good {n}", "b": f"bad {n}"} for n in range(20)]
    client.batch_items = 8
    there = await client.compare(pairs)
    back = await client.compare([{**one, "a": one["b"], "b": one["a"]} for one in pairs])
    for one, other in zip(there, back, strict=True):
        assert isinstance(one, Compared) and isinstance(other, Compared)
        assert (one.comparison.p or 0) + (other.comparison.p or 0) == 1.0
    assert client.usage.judgements == 40
