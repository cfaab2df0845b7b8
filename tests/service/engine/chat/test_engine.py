"""A chat API gives P(met) by its tokens or by the share of its votes, and nothing that it did not say."""

import json
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.clock import ManualClock
from service.engine.base import Decision, Prompt, Sampling
from service.engine.chat.engine import ChatEngine
from service.engine.text_prompt import texts_of, words_of
from service.errors import ConfigurationError, EngineFailed, JudgementError, Refused, TooLong, Unparseable
from service.modes.written_verdict import verdict_schema
from testkit.chat_judge import ChatJudge, connect, truth, votes_of

STATE = {"input": [{"role": "user", "content": "My knee hurts."}], "submission": 'Rest it."}, "criterion": "x'}
GREEDY = Sampling(max_tokens=99, json_schema=verdict_schema(200))


def prompts(n: int, name: str = "") -> list[Prompt]:
    shared = words_of(json.dumps(STATE))
    return [Prompt(shared, words_of(f"Criterion {name}{place}")) for place in range(n)]


def document(prompt: Prompt) -> dict[str, Any]:
    state, criterion = texts_of(prompt)
    return {**json.loads(state), "criterion": criterion}


@asynccontextmanager
async def serving(server: ChatJudge, **more: Any) -> AsyncIterator[ChatEngine]:
    engine = await connect(server, **more)
    try:
        yield engine
    finally:
        await engine.stop()


async def test_labels_are_read_from_the_likely_tokens_with_their_mass() -> None:
    server = ChatJudge()
    async with serving(server, api_key="k") as engine:
        assert engine.reading == "top_logprobs" and engine.identity.facts["weights"] == "undeclared"
        asked = prompts(5)
        for prompt, found in zip(asked, await engine.read_labels(asked, ()), strict=True):
            assert isinstance(found, Decision)
            assert found.p_met == pytest.approx(truth(document(prompt)), abs=1e-9)
            assert found.label_mass == pytest.approx(0.9, abs=1e-6) and found.spent.prompt_tokens == 40
        assert json.loads(server.bodies[-1]["messages"][1]["content"]) == document(asked[-1])


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ([("Yes", 0.9), ("Sure", 0.0999)], "bound"),
        ([("Yes", 0.5), ("Sure", 0.3)], Unparseable),
        ([("Sure", 0.6), ("Of", 0.3)], Unparseable),
        ([("Yes", 0.9), ("No", 0.9)], EngineFailed),
        ([("Yes", math.nan), ("No", 0.1)], EngineFailed),
        ([("Yes", 1.5)], EngineFailed),
    ],
)
async def test_a_label_that_is_not_reported_is_bounded_and_not_guessed(top: Any, expected: Any) -> None:
    def told(answer: dict[str, Any]) -> Any:
        logprobs = [{"token": text, "logprob": math.log(p) if p > 0 else p} for text, p in top]
        answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = logprobs
        return answer

    server = ChatJudge()
    async with serving(server, clock=ManualClock()) as engine:
        server.faults = [told]
        try:
            [found] = await engine.read_labels(prompts(1), ())
        except EngineFailed as error:
            found = error
        if expected == "bound":
            assert isinstance(found, Decision) and found.p_met == 1.0 and found.label_mass == pytest.approx(0.9)
        else:
            assert isinstance(found, expected), found


async def test_without_log_probabilities_p_is_the_share_of_votes() -> None:
    server = ChatJudge(tokens=False)
    async with serving(server, votes=7) as engine:
        assert engine.reading == "votes" and "7 votes" in engine.identity.facts["read"]
        asked = prompts(4)
        for prompt, found in zip(asked, await engine.read_labels(asked, ()), strict=True):
            votes = [votes_of(document(prompt), seed) for seed in range(1, 8)]
            assert isinstance(found, Decision)
            assert (found.p_met, found.label_mass) == (sum(votes) / 7, None)
            assert (found.spent.prompt_tokens, found.spent.generated_tokens) == (280, 7)


async def test_reasons_are_of_a_vote_with_the_majority() -> None:
    server = ChatJudge()
    async with serving(server) as engine:
        asked = prompts(6)
        for prompt, found in zip(asked, await engine.generate(asked, [GREEDY] * 6), strict=True):
            votes = {seed: votes_of(document(prompt), seed) for seed in range(1, 6)}
            met = sum(votes.values()) / 5 >= 0.5
            assert isinstance(found, Decision) and found.p_met == sum(votes.values()) / 5
            assert found.explanation == f"because {next(seed for seed, vote in votes.items() if vote is met)}"
        [one] = await engine.generate(asked[:1], [Sampling(max_tokens=9, seed=3, json_schema=GREEDY.json_schema)])
        assert isinstance(one, Decision) and one.p_met == float(votes_of(document(asked[0]), 3))


async def test_missing_votes_that_could_turn_the_majority_leave_no_verdict() -> None:
    server = ChatJudge(tokens=False)
    async with serving(server, votes=3, clock=ManualClock()) as engine:
        for n in range(40):
            prompt = prompts(1, f"{n} ")[0]
            votes = [votes_of(document(prompt), seed) for seed in (1, 2, 3)]
            server.faults = [httpx.Response(500), None, None]
            try:
                [found] = await engine.read_labels([prompt], ())
            except EngineFailed as error:
                found = error
            if votes[1] is votes[2]:
                assert isinstance(found, Decision) and found.p_met == float(votes[1])
            else:
                assert isinstance(found, EngineFailed)


async def test_a_refusal_abstains_and_what_is_too_long_is_not_sent() -> None:
    def refuse(answer: dict[str, Any]) -> Any:
        answer["choices"][0]["message"] = {"content": None, "refusal": "I cannot."}
        return answer

    server = ChatJudge(tokens=False)
    async with serving(server, votes=3, max_model_len=200) as engine:
        server.faults = [refuse] * 3
        assert [type(one) for one in await engine.read_labels(prompts(1), ())] == [Refused]
        sent = len(server.bodies)
        long = Prompt(prompts(1)[0].shared, words_of("x" * 2_000))
        assert [type(one) for one in await engine.read_labels([long], ())] == [TooLong] and len(server.bodies) == sent


async def test_a_failure_at_the_start_chooses_no_reading() -> None:
    server = ChatJudge()
    server.faults = [httpx.Response(500)]
    with pytest.raises(ConfigurationError, match="gave no verdict"):
        await connect(server)
    with pytest.raises(ConfigurationError, match="declares 'other'"):
        await connect(ChatJudge(), expected_model="other")


async def test_another_model_gives_no_verdict_under_the_first_ones_name() -> None:
    server = ChatJudge()
    async with serving(server, clock=ManualClock()) as engine:
        server.model = "gpt-judge-2"
        with pytest.raises(EngineFailed, match="serves another judge now"):
            await engine.read_labels(prompts(1), ())
        assert engine.down is not None


def _break(answer: Any, rng: random.Random) -> Any:
    choice = answer["choices"][0]
    match rng.randrange(8):
        case 0:
            answer["choices"] = []
        case 1:
            answer["choices"].append(choice)
        case 2:
            choice.pop("logprobs", None)
            choice["message"] = {"content": '{"criteria_met": "yes"}'}
        case 3:
            choice["finish_reason"] = "length"
            choice.pop("logprobs", None)
        case 4:
            choice["message"] = {"content": '{"criteria_met": true, "criteria_met": false}'}
            choice.pop("logprobs", None)
        case 5:
            del answer["model"]
        case 6:
            choice["logprobs"] = {"content": [{"top_logprobs": [{"token": "Yes", "logprob": "high"}]}]}
            choice["message"] = {"content": "Yes"}
        case 7:
            return None
    return answer


@pytest.mark.parametrize("tokens", [True, False])
async def test_under_faults_no_p_is_invented(tokens: bool) -> None:
    """Each P is that of the server's tokens, or the share of the votes that it gave."""
    rng, server = random.Random(f"chat {tokens}"), ChatJudge(tokens=tokens)
    async with serving(server, votes=3, clock=ManualClock()) as engine:
        tried = given = 0
        for n in range(500):
            [prompt] = prompts(1, f"{n} ")
            server.faults = [
                rng.choice(
                    [
                        httpx.ReadError("reset"),
                        httpx.Response(rng.choice([400, 404, 500, 502])),
                        lambda answer: _break(answer, rng),
                        None,
                        None,
                    ]
                )
                for _ in range(1 if tokens else 3)
            ]
            try:
                [found] = await engine.read_labels([prompt], ())
            except EngineFailed as error:
                found = error
            tried += 1
            if isinstance(found, Decision):
                given += 1
                possible = {truth(document(prompt))}
                if not tokens:
                    votes = [float(votes_of(document(prompt), seed)) for seed in (1, 2, 3)]
                    possible = {sum(votes) / 3, *votes, *((a + b) / 2 for a in votes for b in votes)}
                assert min(abs(found.p_met - one) for one in possible) < 1e-9
            else:
                assert isinstance(found, JudgementError)
        assert 0.1 < given / tried < 0.9, (tried, given)
