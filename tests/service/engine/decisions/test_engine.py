"""A server of typed decisions gives P(met) or a typed failure, and nothing that it did not say."""

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.clock import ManualClock, settle
from service.engine.base import Decision, LabelLogprobs, Outcome, Prompt
from service.engine.decisions.engine import DecisionsEngine
from service.engine.decisions.protocol import ProtocolName
from service.engine.text_prompt import texts_of, words_of
from service.errors import ConfigurationError, EngineFailed, JudgeBusy, JudgementError, Refused, Spent, TooLong
from testkit.decisions_server import DecisionsServer, connect, truth
from testkit.waiting import HUNG_S

BOTH: tuple[ProtocolName, ...] = ("system_one", "openai")
STATE = {"input": [{"role": "user", "content": "My knee hurts."}], "submission": "Rest it."}


def prompts(n: int, state: dict[str, Any] = STATE) -> list[Prompt]:
    shared = words_of(json.dumps(state, ensure_ascii=False))
    return [Prompt(shared, words_of(f"Criterion {place}: says é to rest.")) for place in range(n)]


def judged(state: dict[str, Any], protocol: ProtocolName) -> Any:
    if protocol == "system_one":
        return state
    return [*state.get("input", []), {"role": "assistant", "content": state["submission"]}]


def right(prompt: Prompt, protocol: ProtocolName) -> float:
    state, question = texts_of(prompt)
    return truth(judged(json.loads(state), protocol), question)


@asynccontextmanager
async def serving(server: DecisionsServer, **more: Any) -> AsyncIterator[DecisionsEngine]:
    engine = await connect(server, **more)
    try:
        yield engine
    finally:
        await engine.stop()


def probabilities(outcomes: Any) -> list[float | type[Outcome]]:
    return [one.p_met if isinstance(one, Decision) else type(one) for one in outcomes]


@pytest.mark.parametrize("protocol", BOTH)
async def test_a_candidates_criteria_are_one_call_and_each_has_its_own_p(protocol: ProtocolName) -> None:
    server = DecisionsServer()
    async with serving(server, protocol=protocol, api_key="k", questions_per_call=5) as engine:
        asked = prompts(4) + prompts(3, {"submission": ""})
        outcomes = await engine.read_labels(asked, ())
        assert probabilities(outcomes) == [right(one, protocol) for one in asked]
        assert [len(body["questions"]) for body in server.bodies] == [1, 4, 3]
        assert {body["model"] for body in server.bodies} == {"jev-latest"}
        assert all(headers["authorization"] == "Bearer k" for headers in server.headers)
        assert all(one.label_mass is None for one in outcomes if isinstance(one, Decision))
        await engine.read_labels(prompts(12), ())
        assert [len(body["questions"]) for body in server.bodies[3:]] == [5, 5, 2]


async def test_roles_stay_json_and_the_criterion_is_in_the_framings_words() -> None:
    server = DecisionsServer()
    async with serving(server, framing="Is this true? {criterion}") as engine:
        await engine.read_labels(prompts(1), ())
        assert server.bodies[-1]["state"] == STATE
        assert server.bodies[-1]["questions"] == {
            "0": {"type": "noul", "instructions": "Is this true? Criterion 0: says é to rest."}
        }
    with pytest.raises(ConfigurationError, match="decisions_framing"):
        await connect(server, framing="no place")


async def test_every_part_of_the_judge_is_a_fact_of_it() -> None:
    async def facts(server: DecisionsServer, **more: Any) -> tuple[Any, ...]:
        async with serving(server, **more) as engine:
            assert engine.identity.facts["weights"] == "undeclared" and engine.identity.model == server.model
            return tuple(sorted(engine.identity.facts.items()))

    found = [
        await facts(DecisionsServer()),
        await facts(DecisionsServer("jev-1.14.0")),
        await facts(DecisionsServer(), framing="So? {criterion}"),
        await facts(DecisionsServer(), protocol="openai"),
    ]
    assert len(set(found)) == 4


async def test_another_model_than_declared_is_refused_at_the_start() -> None:
    async with serving(DecisionsServer(), expected_model="jev-1.13.0") as engine:
        assert engine.identity.revision == "jev-1.13.0"
    with pytest.raises(ConfigurationError, match=r"'jev-1\.13\.0', and `revision` declares 'jev-1\.12\.0'"):
        await connect(DecisionsServer(), expected_model="jev-1.12.0")


@pytest.mark.parametrize("fault", [httpx.Response(401), httpx.ConnectError("no"), lambda answer: {"model": "m"}])
async def test_a_server_that_gives_no_decision_is_refused_with_what_to_change(fault: Any) -> None:
    server = DecisionsServer()
    server.faults = [fault]
    with pytest.raises(ConfigurationError, match=r"http://127\.0\.0\.1/v1/systemone gave no decision .*`decisions_"):
        await connect(server)


async def test_a_model_that_changes_gives_no_verdict_under_the_first_ones_name() -> None:
    server, clock = DecisionsServer(), ManualClock()
    async with serving(server, clock=clock) as engine:
        server.model = "jev-1.14.0"
        with pytest.raises(EngineFailed, match="serves another judge now"):
            await engine.read_labels(prompts(3), ())
        assert engine.down is not None and "another judge" in engine.down
        with pytest.raises(EngineFailed):
            await engine.read_labels(prompts(3), ())
        server.model = "jev-1.13.0"
        await clock.advance(10.0)
        await settle()
        assert engine.down is None, "the first one came back, and was asked"


async def test_a_server_that_is_up_is_asked_nothing_by_itself() -> None:
    server, clock = DecisionsServer(), ManualClock()
    async with serving(server, clock=clock):
        for _ in range(50):
            await clock.advance(10.0)
        assert len(server.bodies) == 1, "each answer may cost money"


async def test_a_refusal_for_load_is_sent_again_when_the_server_says() -> None:
    for refusal, wait_s in [
        (httpx.Response(429, headers={"retry-after": "3"}), 3.0),
        (httpx.Response(529, headers={"retry-after-ms": "1500"}), 1.5),
        (httpx.Response(503, headers={"retry-after": "2"}), 2.0),
    ]:
        server, clock = DecisionsServer(), ManualClock()
        async with serving(server, clock=clock) as engine:
            server.faults = [refusal, None, None]
            work = asyncio.ensure_future(engine.read_labels(prompts(2), ()))
            await settle()
            assert engine.pause_s > 0 and len(server.bodies) == 2
            await clock.advance(wait_s + 0.1)
            assert probabilities(await asyncio.wait_for(work, HUNG_S)) == [right(p, "system_one") for p in prompts(2)]


async def test_what_stays_refused_for_load_is_overloaded() -> None:
    server, clock = DecisionsServer(), ManualClock()
    async with serving(server, clock=clock, timeout_s=0.2) as engine:
        server.faults = [httpx.Response(429) for _ in range(20)]
        assert probabilities(await engine.read_labels(prompts(2), ())) == [JudgeBusy, JudgeBusy]
        assert engine.pause_s > 0


async def test_what_is_too_long_fails_alone() -> None:
    server = DecisionsServer()
    async with serving(server, max_model_len=2_000) as engine:
        asked = [*prompts(6), Prompt(prompts(1)[0].shared, words_of("x" * 3_000))]
        asked = [Prompt(asked[0].shared, one.own) for one in asked]
        server.most_words = 2_000
        found = probabilities(await engine.read_labels(asked, ()))
        assert found == [*(right(one, "system_one") for one in asked[:6]), TooLong]
        longer = [Prompt(asked[0].shared, words_of("x" * 9_000))]
        assert probabilities(await engine.read_labels(longer, ())) == [TooLong]


async def test_what_a_call_took_is_counted_once() -> None:
    server = DecisionsServer()
    server.cost = 0.002
    async with serving(server) as engine:
        found = await engine.read_labels(prompts(5), ())
        nothing = Spent(cost=0.0)
        assert [spent(one) for one in found] == [Spent(50, 0, 2, 0.002), nothing, nothing, nothing, nothing]
        server.faults = [_refuse_first]
        found = await engine.read_labels(prompts(2), ())
        assert isinstance(found[0], EngineFailed), "an answer that is no verdict was paid for, too"
        assert [spent(one) for one in found] == [Spent(50, 0, 2, 0.002), nothing]
        server.faults = [lambda answer: {**answer, "usage": {"input_tokens": "many", "cost": math.nan}}]
        found = await engine.read_labels(prompts(2), ())
        words = len(prompts(1)[0].shared) + sum(len(one.own) for one in prompts(2))
        assert [spent(one) for one in found] == [Spent(words), Spent()]


def spent(outcome: Outcome) -> Spent | None:
    assert not isinstance(outcome, LabelLogprobs)
    return outcome.spent


def _refuse_first(answer: dict[str, Any]) -> Any:
    answer["answers"]["0"] = {"type": "choice", "choice": "a"}
    return answer


async def test_a_refused_question_abstains_alone() -> None:
    server = DecisionsServer()

    def refuse(answer: dict[str, Any]) -> Any:
        answer["answers"][1] = {"type": "refusal", "name": "1"}
        return answer

    async with serving(server, protocol="openai") as engine:
        server.faults = [refuse]
        found = await engine.read_labels(prompts(3), ())
        assert probabilities(found)[1] is Refused and isinstance(found[0], Decision) and isinstance(found[2], Decision)
        assert Refused.code == "abstained"


def _break(answer: Any, rng: random.Random, protocol: ProtocolName) -> Any:
    """A reply at fault, in one of the ways that servers are."""
    answers, field = answer["answers"], "noul" if protocol == "system_one" else "probability"
    keys = list(answers) if isinstance(answers, dict) else list(range(len(answers)))
    key = rng.choice(keys)
    match rng.randrange(9):
        case 0:
            answers[key][field] = math.nan
        case 1:
            answers[key][field] = rng.choice([1.5, -0.1, math.inf])
        case 2:
            answers[key][field] = rng.choice([None, True, "0.5", [0.5]])
        case 3:
            del answers[key]
        case 4:
            answers[key] = {"type": "choice", field: 0.5}
        case 5:
            if isinstance(answers, dict):
                answers["extra"] = {"type": "noul", "noul": 0.5}
            else:
                answers.append({"type": "predicate", "probability": 0.5})
        case 6:
            return b'{"model": "jev-1.13.0", "answers": {"0": {"type": "noul", "noul": 0.5}, "0": {}}}'
        case 7:
            answers[key] = None
        case 8:
            del answer["model"]
    return answer


@pytest.mark.parametrize("protocol", BOTH)
async def test_under_faults_no_p_is_invented(protocol: ProtocolName) -> None:
    """1,500 calls; every P is the one that the server said for this question, and every other outcome is typed."""
    rng, server = random.Random(f"decisions {protocol}"), DecisionsServer()
    async with serving(server, protocol=protocol, clock=ManualClock()) as engine:  # which is not probed meanwhile
        tried = given = 0
        for n in range(1_500):
            asked = prompts(rng.randint(1, 4), {"submission": f"response {n}"})
            server.faults = [
                rng.choice(
                    [
                        httpx.ReadError("reset"),
                        httpx.Response(rng.choice([400, 404, 408, 500, 502, 504])),
                        lambda answer: _break(answer, rng, protocol),
                        lambda answer: _break(answer, rng, protocol),
                        lambda answer: rng.choice([b"", b"[]", b"{", b"null", b'"x"']),
                        None,
                    ]
                )
            ]
            try:
                outcomes = await engine.read_labels(asked, ())
            except EngineFailed:
                outcomes = [EngineFailed("all") for _ in asked]
            assert len(outcomes) == len(asked)
            for prompt, outcome in zip(asked, outcomes, strict=True):
                tried += 1
                if isinstance(outcome, Decision):
                    given += 1
                    assert outcome.p_met == right(prompt, protocol)
                else:
                    assert isinstance(outcome, JudgementError)
        assert tried > 3_000 and 0.15 < given / tried < 0.6, (tried, given)


async def test_who_leaves_ends_the_call_and_a_stop_ends_all() -> None:
    server = DecisionsServer()
    async with serving(server) as engine:
        asked = prompts(2)
        for leaves in (True, False):
            server.faults = ["hang"]
            work = asyncio.ensure_future(engine.read_labels(asked, ()))
            await server.hanging.acquire()
            if leaves:
                for one in asked:
                    engine.cancel(one)
            else:
                await engine.stop()
            try:
                outcomes = await asyncio.wait_for(work, HUNG_S)
                assert not any(isinstance(one, Decision) for one in outcomes)
            except EngineFailed as error:
                assert "stopped" in str(error)
        assert engine.down == "the judge was stopped"


def test_texts_come_back_from_words_as_they_were() -> None:
    rng = random.Random(5)
    made = ["".join(chr(rng.randrange(1, 0xD800)) for _ in range(n)) for n in (*range(60), 997)]
    for text in ["", "a", "abcd", "é", "\x00\x00", "𝄞 end", '"}{', *made]:
        assert texts_of(Prompt(words_of(text), words_of(text))) == (text, text)
        assert len(words_of(text)) == math.ceil(len(text.encode()) / 4)
