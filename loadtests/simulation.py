"""A judge and its callers in simulated time: what the queue does under loads that a laptop cannot make.

Guarantees: The same seed gives the same run. Time is the manual clock's. The scheduler is the service's own. A unit is
20 tokens, so that tuples stay short. The judge computes batches one after another, at the speed of one GPU.
"""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from service.clock import Clock, ManualClock
from service.engine.base import EngineResult, LabelLogprobs, LabelQuery, Outcome, Prompt
from service.engine.fake import FakeEngine
from service.errors import Overloaded
from service.scheduling import DEFAULT_TENANT, Scheduler, Tenant, costs
from service.settings import SchedulingSettings

UNIT = 20  # tokens
UNITS_PER_S = 2_500  # 50,000 tokens a second: a 7B judge on one large GPU
BATCH_S = 0.002
LIMITS = SchedulingSettings(max_batch_tokens=8192 // UNIT, max_queued_tokens=1_000_000 // UNIT)

CONVERSATION, RESPONSE, OWN = 1100 // UNIT, 600 // UNIT, 40 // UNIT  # instructions with the conversation
GROUP, CRITERIA = 8, 12
_TEXTS = 16


class Gpu(FakeEngine):
    """Computes what adjacent prompts share once. Batches wait for each other. `units` counts what was computed."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(sleep=clock.sleep, remember=0)
        self.units = 0
        self._clock = clock
        self._free_s = 0.0

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        units = sum(costs([LabelQuery(prompt, label_ids) for prompt in prompts]))
        self.units += units
        self._free_s = max(self._free_s, self._clock.now()) + BATCH_S + units / UNITS_PER_S
        await self._sleep(self._free_s - self._clock.now())
        return [LabelLogprobs(logprobs=(-0.5, -1.0))] * len(prompts)


@dataclass(frozen=True, slots=True)
class Shape:
    """A request: `criteria` questions a response, together as long as twelve."""

    responses: int
    criteria: int = CRITERIA

    def asks(self, number: int) -> list[LabelQuery]:
        """`number` makes the text its own."""
        asks = []
        for n in range(self.responses):
            conversation = (number * 1000 + n // GROUP,) * CONVERSATION
            shared = conversation + (number * 1000 + n,) * RESPONSE
            own = [(n,) * (OWN * CRITERIA // self.criteria) for n in range(self.criteria)]
            asks += [LabelQuery(Prompt(shared, part), (0, 1)) for part in own]
        return asks

    @property
    def units(self) -> int:
        return sum(costs(self.asks(0)))


@dataclass(frozen=True, slots=True)
class Caller:
    """Sends requests, `load` of what the judge can compute: at random times (Poisson), or `steady`, as a trainer's
    steps come. What is refused is not sent again."""

    tenant: Tenant
    load: float
    shape: Shape
    timeout_s: float | None = None
    steady: bool = False


@dataclass(slots=True)
class CallerOutcome:
    """The outcomes of one caller's requests. `units` were computed for it while requests came; of all that was computed
    for it, `whole` belongs to requests answered whole and in time, `late` to questions answered past their deadline."""

    sent: int = 0
    refused: int = 0
    latencies_s: list[float] = field(default_factory=list)
    units: int = 0
    computed: int = 0
    whole: int = 0
    late: int = 0

    @property
    def p95_s(self) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[math.ceil(0.95 * len(ordered)) - 1]

    @property
    def served(self) -> float:
        return len(self.latencies_s) / self.sent


@dataclass(slots=True)
class Run:
    """`units_per_s` were computed while requests came; `most` waited at any arrival. `refusals_s` is the CPU time of
    each refusal, which takes no simulated time."""

    told: list[CallerOutcome]
    units_per_s: float = 0.0
    most: int = 0
    refusals_s: list[float] = field(default_factory=list)


class Simulation:
    """`fair=False`: all are one flow, first come first served. `refuse_early=False`: deadlines are not looked at
    before the queue. `only`: this caller alone, with the arrivals that it has among the others."""

    def __init__(
        self,
        callers: Sequence[Caller],
        *,
        seed: int = 0,
        fair: bool = True,
        refuse_early: bool = True,
        only: int | None = None,
        limits: SchedulingSettings = LIMITS,
    ) -> None:
        self._callers = callers
        self._fair = fair
        self._refuse_early = refuse_early
        self._only = only
        self._seed = seed
        self._clock = ManualClock()
        self._gpu = Gpu(self._clock)
        self._scheduler = Scheduler(self._gpu, self._clock, limits)
        self._run = Run([CallerOutcome() for _ in callers])
        self._until_s = 0.0

    async def run(self, seconds: float) -> Run:
        """Requests come for so long; then what was admitted is finished."""
        self._until_s = seconds
        self._scheduler.start()
        calling = asyncio.create_task(self._call(self._arrivals()))
        await self._clock.advance(seconds)
        self._run.units_per_s = self._gpu.units / seconds
        await self._clock.advance(10 * seconds)
        await calling
        await self._scheduler.drain(0)
        return self._run

    def _arrivals(self) -> list[tuple[float, int]]:
        arrivals = []
        for n, caller in enumerate(self._callers):
            rng = random.Random(f"{self._seed}:{n}")
            every_s = caller.shape.units / UNITS_PER_S / caller.load
            now = every_s * n / len(self._callers) if caller.steady else rng.expovariate(1 / every_s)
            while self._only in (None, n) and now < self._until_s:
                arrivals.append((now, n))
                now += every_s if caller.steady else rng.expovariate(1 / every_s)
        return sorted(arrivals)

    async def _call(self, arrivals: Sequence[tuple[float, int]]) -> None:
        texts = {caller.shape: [caller.shape.asks(n) for n in range(_TEXTS)] for caller in self._callers}
        for number, (at_s, n) in enumerate(arrivals):
            await self._clock.sleep(at_s - self._clock.now())
            caller = self._callers[n]
            self._ask(caller, self._run.told[n], texts[caller.shape][number % _TEXTS], number)

    def _ask(self, caller: Caller, told: CallerOutcome, asks: Sequence[LabelQuery], number: int) -> None:
        now = self._clock.now()
        deadline_s = None if caller.timeout_s is None else now + caller.timeout_s
        told.sent += 1
        groups = [(number, n // (GROUP * caller.shape.criteria)) for n in range(len(asks))]
        tenant = caller.tenant if self._fair else DEFAULT_TENANT
        started_s = time.process_time()
        try:
            tickets = self._scheduler.submit(
                asks, [deadline_s if self._refuse_early else None] * len(asks), tenant=tenant, groups=groups
            )
        except Overloaded:
            told.refused += 1
            self._run.refusals_s.append(time.process_time() - started_s)
            return
        for ticket in tickets:
            ticket.extend_deadline(deadline_s)
        self._run.most = max(self._run.most, self._scheduler.queued_tokens)
        request = _Request(told, now, deadline_s, len(tickets))
        for ticket in tickets:
            ticket.future.add_done_callback(partial(self._answered, request, ticket.cost))

    def _answered(self, request: "_Request", cost: int, future: asyncio.Future[EngineResult]) -> None:
        now, told = self._clock.now(), request.told
        request.open -= 1
        if future.exception() is None:
            late = request.deadline_s is not None and now > request.deadline_s
            request.computed += cost
            request.failed |= late
            told.computed += cost
            told.late += cost * late
            told.units += cost * (now <= self._until_s)
        else:
            request.failed = True
        if not request.open and not request.failed:
            told.latencies_s.append(now - request.sent_s)
            told.whole += request.computed


@dataclass(slots=True)
class _Request:
    told: CallerOutcome
    sent_s: float
    deadline_s: float | None
    open: int
    computed: int = 0
    failed: bool = False
