"""Tokens are estimated from characters, low and learned; what is being rendered counts for its tenant."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from service.clock import ManualClock, settle
from service.engine.fake import FakeEngine
from service.errors import TooLong, Unavailable
from service.modes.modes import JudgingMode, Query, Step
from service.modes.registry import judging_modes
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Criterion, Turn
from service.scheduling import Scheduler, Tenant, costs
from service.scoring.rendering import Estimate, Rendering, TokenEstimator, count_characters
from service.scoring.request import RequestContext
from service.settings import ModeSettings, SchedulingSettings
from testkit.tokenizer_families import family
from tests.service.scoring.test_scorer import candidate

MOST = 10_000


def queries(responses: int = 8, criteria: int = 12) -> list[Query]:
    found = [candidate(f"Response {n}.", criteria) for n in range(responses)]
    return [Query(one, criterion) for one in found for criterion in one.criteria]


def test_before_anything_was_rendered_nothing_is_known() -> None:
    assert TokenEstimator().estimate(count_characters(queries(), MOST)) == 1


def test_an_estimate_is_low_and_follows_what_was_seen() -> None:
    estimator, whole = TokenEstimator(), count_characters(queries(), MOST)
    estimator.learn(whole, 4000)
    assert estimator.estimate(whole) == 3200
    assert 1590 <= estimator.estimate(count_characters(queries(4), MOST)) <= 1800  # half, and a prompt of its own
    for _ in range(100):
        estimator.learn(whole, 8000)
    assert 6390 <= estimator.estimate(whole) <= 6400


def test_characters_that_queries_share_count_once() -> None:
    one = candidate("Response.", 2)
    shared = sum(len(turn.content) for turn in one.turns) + len(one.response)
    both = [Query(one, criterion) for criterion in one.criteria]
    assert count_characters(both, MOST) == shared + sum(len(c.text) for c in one.criteria)
    assert count_characters([Query(one, one.criteria[0])], MOST) == shared + len(one.criteria[0].text)


class Parts:
    """Rendering with an engine of its own, whose clock stands still unless a test moves it."""

    def __init__(self, max_model_len: int = 4096, clock: ManualClock | None = None) -> None:
        self.engine = FakeEngine()
        self.engine.max_model_len = max_model_len
        self.rendering = Rendering(Scheduler(self.engine, clock or ManualClock(), SchedulingSettings()))
        self.mode: JudgingMode = judging_modes(self.engine.identity, family("qwen"), ModeSettings())[
            "verdict", "rubricd"
        ]

    async def render(self, asked: list[Query], context: RequestContext, estimate: Estimate) -> int:
        """The tokens of the prompts."""
        steps = await self.rendering.render(self.mode, asked, context, lambda _: True)
        assert all(isinstance(step, Step) for step in steps)
        tokens = sum(costs([step.query for step in steps if isinstance(step, Step)]))
        self.rendering.finish(context, estimate, tokens)
        return tokens


async def test_what_is_being_rendered_counts_for_its_tenant_until_it_is_rendered() -> None:
    parts = Parts()
    rendering = parts.rendering
    a, b = RequestContext(tenant=Tenant("a")), RequestContext(tenant=Tenant("b"))
    first, second, other = rendering.admit(queries(), a), rendering.admit(queries(), a), rendering.admit(queries(2), b)
    assert rendering.rendering_tokens(a.tenant) == first.tokens + second.tokens
    assert rendering.rendering_tokens(b.tenant) == other.tokens
    work = [(queries(), a, first), (queries(), a, second), (queries(2), b, other)]
    tokens = await asyncio.gather(*(parts.render(*each) for each in work))
    assert (rendering.rendering_tokens(a.tenant), rendering.rendering_tokens(b.tenant)) == (0, 0)
    again = rendering.admit(queries(), a)
    assert 0.75 * tokens[0] <= again.tokens <= 0.85 * tokens[0]  # learned from all three


async def test_a_team_is_estimated_by_its_own_texts_where_there_are_any() -> None:
    rendering = Parts().rendering
    a, b, c = (RequestContext(tenant=Tenant(team)) for team in "abc")
    for context, tokens in ((a, 1000), (b, 1_000_000), (b, 1_000_000)):
        rendering.finish(context, rendering.admit(queries(), context), tokens)
    assert rendering.admit(queries(), a).tokens == 800
    assert rendering.admit(queries(), b).tokens == 800_000
    assert 800 < rendering.admit(queries(), c).tokens < 800_000


def test_a_text_raises_an_estimate_no_further_than_the_judge_reads() -> None:
    short, long = candidate("7" * MOST, 1), candidate("7" * 100 * MOST, 1)
    of_short, of_long = (count_characters([Query(one, one.criteria[0])], MOST) for one in (short, long))
    assert of_short == of_long


async def test_what_is_refused_or_fails_is_not_counted() -> None:
    parts, context = Parts(), RequestContext(tenant=Tenant("a"))
    estimate = parts.rendering.admit(queries(), context)
    parts.rendering.finish(context, estimate, None)
    assert parts.rendering.rendering_tokens(context.tenant) == 0
    parts.engine.down = "the engine died"
    with pytest.raises(Unavailable):
        parts.rendering.admit(queries(), context)
    assert parts.rendering.rendering_tokens(context.tenant) == 0


async def test_texts_that_fit_alone_and_not_together_are_too_long_one_by_one() -> None:
    parts = Parts(max_model_len=1000)
    word = "7"  # a token each
    fits = candidate(word * 300, 2)
    response = candidate(word * 2000, 2)
    together = replace(candidate(word * 400, 2), turns=(Turn("user", word * 400),), reference=word * 400)
    long_criterion = replace(fits, criteria=(Criterion("0", word * 990, 1.0), fits.criteria[0]))
    asked = [Query(one, criterion) for one in (fits, response, together, long_criterion) for criterion in one.criteria]
    steps = await parts.rendering.render(parts.mode, asked, RequestContext(), lambda _: True)
    kinds = [type(step) for step in steps]
    assert kinds == [Step, Step, TooLong, TooLong, TooLong, TooLong, TooLong, Step]


class Ticking(ManualClock):
    """Every look at it takes a moment, as work would."""

    def __init__(self, tick_s: float) -> None:
        super().__init__()
        self.tick_s = tick_s

    def now(self) -> float:
        self._now += self.tick_s
        return self._now


async def test_rendering_stops_where_nobody_waits_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(max_model_len=100_000, clock=Ticking(0.02))
    tokenised: list[int] = []
    encode = Segmenter.encode_untrusted_all

    def counted(self: Segmenter, texts: Iterable[str]) -> list[tuple[int, ...]]:
        texts = list(texts)
        tokenised.extend(map(len, texts))
        return encode(self, texts)

    monkeypatch.setattr(Segmenter, "encode_untrusted_all", counted)
    one = candidate("word " * 4_000, 1)
    asked = [Query(replace(one, response=f"{n} {one.response}"), one.criteria[0]) for n in range(20)]
    waited_for = {index: True for index in range(20)}

    def waits(index: int) -> bool:
        if len(tokenised) >= 4:
            waited_for.update(dict.fromkeys(range(19), False))
        return waited_for[index]

    steps = await parts.rendering.render(parts.mode, asked, RequestContext(), waits)
    assert isinstance(steps[19], Step)
    assert sum(isinstance(step, Step) for step in steps) <= 5
    assert sum(tokenised) < 12 * len(one.response)  # twice what was read: the renderer asks for it again


async def test_a_tiny_request_passes_two_large_ones_of_another_team() -> None:
    """The two hold both places. Each step takes a slice of time, and the tiny request waits for one slice."""
    parts = Parts(max_model_len=100_000, clock=Ticking(0.006))
    one = candidate("word " * 4_000, 1)
    large = [
        [Query(replace(one, response=f"{m} {n} {one.response}"), one.criteria[0]) for n in range(30)] for m in range(4)
    ]
    a, b = RequestContext(tenant=Tenant("large")), RequestContext(tenant=Tenant("tiny"))
    order: list[str] = []

    async def render(asked: list[Query], context: RequestContext) -> None:
        await parts.rendering.render(parts.mode, asked, context, lambda _: True)
        order.append(context.tenant.team)

    under_way = [asyncio.create_task(render(asked, a)) for asked in large]
    await settle()
    await render(queries(1), b)
    assert order == ["tiny"]
    await asyncio.gather(*under_way)
