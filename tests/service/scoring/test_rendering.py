"""Tokens are estimated from characters, low and learned; what is being rendered counts for its tenant."""

import asyncio

import pytest

from service.clock import ManualClock
from service.engine.fake import FakeEngine
from service.errors import Unavailable
from service.modes.modes import Query
from service.modes.registry import judging_modes
from service.scheduling import Scheduler, Tenant
from service.scoring.rendering import Rendering, TokenEstimator, count_characters
from service.scoring.request import RequestContext
from service.settings import ModeSettings, SchedulingSettings
from testkit.tokenizer_families import family
from tests.service.scoring.test_scorer import candidate


def queries(responses: int = 8, criteria: int = 12) -> list[Query]:
    found = [candidate(f"Response {n}.", criteria) for n in range(responses)]
    return [Query(one, criterion) for one in found for criterion in one.criteria]


def test_before_anything_was_rendered_nothing_is_known() -> None:
    assert TokenEstimator().estimate(count_characters(queries())) == 1


def test_an_estimate_is_low_and_follows_what_was_seen() -> None:
    estimator, whole = TokenEstimator(), count_characters(queries())
    estimator.learn(whole, 4000)
    assert estimator.estimate(whole) == 3200
    assert 1590 <= estimator.estimate(count_characters(queries(4))) <= 1800  # half, and a prompt of its own
    for _ in range(100):
        estimator.learn(whole, 8000)
    assert 6390 <= estimator.estimate(whole) <= 6400


def test_characters_that_queries_share_count_once() -> None:
    one = candidate("Response.", 2)
    shared = sum(len(turn.content) for turn in one.turns) + len(one.response)
    assert count_characters([Query(one, c) for c in one.criteria]) == shared + sum(len(c.text) for c in one.criteria)
    assert count_characters([Query(one, one.criteria[0])]) == shared + len(one.criteria[0].text)


async def test_what_is_being_rendered_counts_for_its_tenant_until_it_is_rendered() -> None:
    engine = FakeEngine()
    rendering = Rendering(Scheduler(engine, ManualClock(), SchedulingSettings()))
    mode = judging_modes(engine.identity, family("qwen"), ModeSettings())["verdict", "rubricd"]
    a, b = RequestContext(tenant=Tenant("a")), RequestContext(tenant=Tenant("b"))
    first, second, other = rendering.admit(queries(), a), rendering.admit(queries(), a), rendering.admit(queries(2), b)
    assert rendering.rendering_tokens(a.tenant) == first.tokens + second.tokens
    assert rendering.rendering_tokens(b.tenant) == other.tokens
    work = [(queries(), a, first), (queries(), a, second), (queries(2), b, other)]
    rendered = await asyncio.gather(*(rendering.render(mode, *each) for each in work))
    assert [len(steps) for steps, _ in rendered] == [96, 96, 24]
    assert (rendering.rendering_tokens(a.tenant), rendering.rendering_tokens(b.tenant)) == (0, 0)
    again = rendering.admit(queries(), a)
    assert 0.75 * rendered[0][1] <= again.tokens <= 0.85 * rendered[0][1]  # learned from all three


async def test_what_is_refused_or_fails_is_not_counted() -> None:
    engine = FakeEngine()
    rendering = Rendering(Scheduler(engine, ManualClock(), SchedulingSettings()))
    context = RequestContext(tenant=Tenant("a"))
    estimate = rendering.admit(queries(), context)
    mode = judging_modes(engine.identity, family("qwen"), ModeSettings())["verdict", "rubricd"]
    rendering_it = asyncio.ensure_future(rendering.render(mode, queries(), context, estimate))
    await asyncio.sleep(0)
    rendering_it.cancel()
    await asyncio.gather(rendering_it, return_exceptions=True)
    assert rendering.rendering_tokens(context.tenant) == 0
    engine.down = "the engine died"
    with pytest.raises(Unavailable):
        rendering.admit(queries(), context)
    assert rendering.rendering_tokens(context.tenant) == 0
