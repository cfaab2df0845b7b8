"""What a judge is asked in each mode, and what is made of its answers."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.settings import Settings
from testkit.apps import fake_settings, started
from testkit.tokenizer_families import family
from tests.trainer_client.alignment.studies import open_store, pair
from trainer_client.alignment.arms import ARMS, asks_of
from trainer_client.alignment.asking import Judge, ask_all, key_of, next_size, questions, sent_for
from trainer_client.client import JudgeClient
from trainer_client.http.retry import RetryPolicy

NUMBERS = ("hard", "soft", "rating", "p")


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(FakeEngine(), family("qwen"))

    app = create_app(fake_settings(), build=build)
    async with started(app), JudgeClient("http://localhost", transport=httpx.ASGITransport(app=app)) as client:
        yield Judge("fake", "http://localhost", client, await client.judge())


async def test_every_way_of_asking_has_its_numbers_and_its_cost(judge: Judge, tmp_path: Path) -> None:
    pairs = [pair(n, reference=True) for n in range(5)]
    done: list[int] = []
    with open_store(tmp_path / "s") as store:
        for ask in asks_of(ARMS):
            await ask_all(judge, ask, pairs, store, done.append)
            by = judge.fingerprint(ask)
            assert by is not None
            answers = [store.answer(by, key_of(ask, sent)) for one in pairs for sent in sent_for(ask, one)]
            assert all(one is not None and one.status == "ok" for one in answers)
            filled = {
                name
                for one in answers
                if one
                for name in ("hard", "soft", "rating", "p")
                if getattr(one, name) is not None
            }
            assert filled == {"verdict": {"hard", "soft"}, "compare": {"p"}}.get(ask.mode, {"rating"})
            cost = store.cost(by, ask.name)
            assert (cost.answers, cost.prompt_tokens > 0, cost.seconds > 0) == (len(answers), True, True)
        assert sum(done) == sum(len(questions(ask, pairs)) for ask in asks_of(ARMS))
        spent = judge.client.usage
        for ask in asks_of(ARMS):
            await ask_all(judge, ask, pairs, store, done.append)
        assert judge.client.usage == spent, "what is known is not asked again"


async def test_a_response_that_several_pairs_share_is_asked_about_once(judge: Judge) -> None:
    one = pair(0)
    twice = [one, pair(0, "empty")]
    assert len(questions(ARMS[0].ask, twice)) == 2
    assert {type(question.sent).__name__ for question in questions(ARMS[8].ask, [one])} == {"PairItem"}


async def test_nothing_of_one_arm_is_taken_for_another(judge: Judge) -> None:
    keys: list[str] = []
    for ask in asks_of(ARMS):
        keys += [question.key for question in questions(ask, [pair(0, reference=True)])]
    assert len(keys) == len(set(keys))


async def test_a_judge_that_does_not_answer_is_an_error_and_what_it_answered_is_kept(
    tmp_path: Path, judge: Judge
) -> None:
    calls = 0

    def respond(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(401, json={"type": "x", "title": "", "status": 401, "detail": "no", "request_id": "r"})

    refusing = JudgeClient(
        "http://x", transport=httpx.MockTransport(respond), retry=RetryPolicy(burst=0), rng=random.Random(0)
    )
    other = Judge("x", "http://x", refusing, judge.info)
    with open_store(tmp_path / "s") as store, pytest.raises(Exception, match="no"):
        await ask_all(other, ARMS[0].ask, [pair(0)], store, lambda done: None)
    assert calls == 1


def test_a_slow_judge_gets_fewer_questions_at_a_time_and_a_fast_one_more() -> None:
    assert [next_size(4, seconds) for seconds in (1.0, 30.0, 90.0)] == [8, 4, 2]
    assert (next_size(1, 900.0), next_size(64, 0.1)) == (1, 64)
