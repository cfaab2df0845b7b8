"""Asks several judges one after the other, each about what the one before it is unsure of.

Guarantees: a cascade has the judges that its plan was made with, or the service does not start. A criterion goes on
where the verdict is inside the judge's band, where there is none, and where a judge failed if that is declared. Each
member is asked as the plan asked it, and its tokens are counted.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from service.errors import (
    ConfigurationError,
    EngineFailed,
    InvalidRequest,
    JudgeBusy,
    JudgementError,
    Later,
    Overloaded,
    RequestError,
    Unavailable,
)
from service.judges.cascade_judgement import CascadePlan, Said, Step, decided, stands
from service.judges.composition import ComposedMode, Composition, Member, of_member
from service.judges.joining import only, total
from service.judges.judge import Judging
from service.modes.fingerprint import JudgeIdentity, name_composition
from service.modes.served_modes import JudgingModes, Way
from service.rubrics.judgement import Judgement, failed
from service.rubrics.rubric import Candidate, Criterion
from service.scoring.request import Options, Usage

THRESHOLD = 0.5
"""Plans are made with it."""


class Cascade(Composition):
    """`passes_failures` says that the next judge is asked where one fails, too."""

    def __init__(self, name: str, plan: CascadePlan, members: Sequence[Member], *, passes_failures: bool) -> None:
        """Raises ConfigurationError where the members are not those of the plan."""
        check_length(plan, len(members))
        self.plan = plan
        self.passes_failures = passes_failures
        bands = {f"band {n + 1}": _shown(step) for n, step in enumerate(plan.steps[:-1])}
        super().__init__(name, "cascade", {**bands, "failures": "next" if passes_failures else "stand"}, members)

    @property
    def unavailable_reason(self) -> str | None:
        """The last judge must be able to judge, and where failures stand the others, too."""
        last = self.members[-1].name
        for name, reason in self.down:
            if name == last or not self.passes_failures:
                return f"`{name}`, which cascade `{self.name}` needs: {reason}"
        return None

    @property
    def dead(self) -> bool:
        needed = self.members[-1:] if self.passes_failures else self.members
        return any(member.judge.dead for member in needed)

    def queries_each(self, options: Options) -> int:
        """Where every judge is unsure."""
        pairs = zip(self.members, self.plan.steps, strict=True)
        return sum(member.judge.queries_each(asked_as(step, options)) for member, step in pairs)

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        self.judging_modes.choose(*options.way)
        if options.threshold != THRESHOLD:
            message = f"the plan of cascade `{self.name}` is for a `threshold` of {THRESHOLD:g}; leave it out"
            raise InvalidRequest(message, ((("threshold",), message),))
        for (name, judge), step in zip(self.members, self.plan.steps, strict=True):
            try:
                judge.check_askable(candidates, asked_as(step, options))
            except InvalidRequest as error:
                raise of_member(name, error) from None

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Judging:
        first = 0
        while True:
            try:
                judging = await self.ask_member(first, candidates, options)
            except (Overloaded, Unavailable):
                if not self.passes_failures or first + 1 == len(self.members):
                    raise
                first += 1
                continue
            return _CascadeJudging(self, candidates, options, first, judging)

    async def ask_member(self, n: int, candidates: Sequence[Candidate], options: Options) -> Judging:
        """Raises RequestError that names the member."""
        name, judge = self.members[n]
        try:
            return await judge.ask(candidates, asked_as(self.plan.steps[n], options))
        except RequestError as error:
            raise of_member(name, error) from None

    def _ways(self) -> JudgingModes[ComposedMode]:
        """One: its mode and layout are those of the first judge."""
        pairs = zip(self.members, self.plan.steps, strict=True)
        identities = [identity_of(self.name, n, *pair) for n, pair in enumerate(pairs)]
        first = self.plan.steps[0]
        way = Way(first.mode, first.layout)
        identity = name_composition(self.name, self.kind, self.rule, identities, way=way)
        return JudgingModes({way: ComposedMode(identity)}, {}, {})


class _CascadeJudging:
    """The candidates at the member `first`, and what goes on from there."""

    def __init__(
        self, cascade: Cascade, candidates: Sequence[Candidate], options: Options, first: int, judging: Judging
    ) -> None:
        self._cascade = cascade
        self._candidates = candidates
        self._options = options
        self._first = first
        self._asked = [judging]
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: asyncio.Queue[tuple[int, Sequence[Judgement]] | BaseException] = asyncio.Queue()

    @property
    def usage(self) -> Usage:
        return total([one.usage for one in self._asked])

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        self._run(self._read_first)
        try:
            for _ in self._candidates:
                one = await self._done.get()
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.close()

    def close(self) -> None:
        for one in self._asked:
            one.close()

    def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def reported() -> None:
            try:
                await work()  # made here: a task that is cancelled before it began would leave it unawaited
            except Exception as error:
                self._done.put_nowait(error)

        task = asyncio.create_task(reported(), name="cascade")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_first(self) -> None:
        name = self._cascade.members[self._first].name
        async with aclosing(self._asked[0].judged()) as judged:
            async for i, judgements in judged:
                said: list[list[Said]] = [[(name, one)] for one in judgements]
                if self._open(self._first, said, self._candidates[i].criteria):
                    self._run(partial(self._go_on, i, said))
                else:
                    self._done.put_nowait((i, self._decided(said)))

    async def _go_on(self, i: int, said: list[list[Said]]) -> None:
        """Asks the judges after the first, each about the criteria that are open."""
        candidate = self._candidates[i]
        for n in range(self._first + 1, len(self._cascade.members)):
            places = self._open(n - 1, said, candidate.criteria)
            if not places:
                break
            criteria = tuple(candidate.criteria[j] for j in places)
            found = await self._said_by(n, replace(candidate, criteria=criteria))
            for j, judgement in zip(places, found, strict=True):
                said[j].append((self._cascade.members[n].name, judgement))
        self._done.put_nowait((i, self._decided(said)))

    def _decided(self, said: Sequence[Sequence[Said]]) -> list[Judgement]:
        not_asked = [member.name for member in self._cascade.members[: self._first]]
        return [decided(one, not_asked) for one in said]

    def _open(self, n: int, said: Sequence[Sequence[Said]], criteria: Sequence[Criterion]) -> list[int]:
        """The criteria about which the judge after the n-th is asked."""
        cascade = self._cascade
        if n + 1 == len(cascade.members):
            return []
        name, band = cascade.members[n].name, cascade.plan.steps[n].band
        last = [of_one[-1] for of_one in said]
        return [
            j
            for j, ((by, judgement), criterion) in enumerate(zip(last, criteria, strict=True))
            if by == name and not stands(judgement, criterion, band, passes_failures=cascade.passes_failures)
        ]

    async def _said_by(self, n: int, candidate: Candidate) -> Sequence[Judgement]:
        """The first byte of the answer may be gone: a member that cannot be asked is a failure of these criteria, also
        where it is the request that the member, another service's, refuses."""
        try:
            judging = await self._cascade.ask_member(n, [candidate], self._options)
        except RequestError as error:
            return [failed(_missing(error), "judge")] * len(candidate.criteria)
        self._asked.append(judging)
        return await only(judging)


def asked_as(step: Step, options: Options) -> Options:
    """As the plan asked this judge. One that writes no answers has one vote."""
    votes = options.votes if step.mode == "reasoned" else 1
    return replace(options, mode=step.mode, layout=step.layout, prompt=step.prompt, batch=None, votes=votes)


def _missing(error: RequestError) -> JudgementError:
    kind = JudgeBusy if isinstance(error, Later) and not isinstance(error, Unavailable) else EngineFailed
    return kind(f"it was not asked: {error}")


def _shown(step: Step) -> str:
    return "none" if step.band is None else f"{step.band.low!r} to {step.band.high!r}"


def check_length(plan: CascadePlan, members: int) -> None:
    """Raises ConfigurationError."""
    if len(plan.steps) != members:
        raise ConfigurationError(f"it has {members} members, and its plan {len(plan.steps)} judges; name these")


def identity_of(cascade: str, n: int, member: Member, step: Step) -> JudgeIdentity:
    """Raises ConfigurationError where the member is another judge than the plan's."""
    try:
        found: JudgeIdentity = member.judge.judging_modes.choose(step.mode, step.layout, step.prompt).judge
    except InvalidRequest as error:
        raise ConfigurationError(
            f"judge `{cascade}`: its plan asks `{member.name}` in a way that this does not serve: {error}"
        ) from None
    if found.fingerprint != step.fingerprint:
        raise ConfigurationError(
            f"judge `{cascade}`: its plan was made with judge {step.fingerprint} as number {n + 1}, and "
            f"`{member.name}` is {found.fingerprint}; plan again with `rubricd cascade plan`, or serve that judge"
        )
    return found
