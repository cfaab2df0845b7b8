"""Asks a second judge about a share of what was judged, afterwards, and counts how far the two are apart.

A response is asked again with all of its criteria or not at all: to choose single criteria would have the second judge
read nearly every response for a few of them.

Guarantees: which responses are asked again is a matter of their texts alone, so that every replica and every run
chooses the same. Teams take turns. What waits is bounded in number and in characters; beyond that the team with most of
it loses its newest, which is counted. Nobody waits for the second judge, its verdicts are in no score, and its tokens
are in no team's quota.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

from service.clock import Clock
from service.errors import InvalidRequest, Overloaded, RequestError, Unavailable
from service.judges.composition import MODES
from service.judges.hops import HOPS
from service.judges.joining import only
from service.judges.judge import Judge
from service.observability import Telemetry
from service.observability.tracing import UNTRACED
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate
from service.scheduling import Tenant
from service.scoring.request import Options
from service.tenancy.divergence import Divergence
from service.tenancy.usage import UseByTeam

_WORKERS = 4
_MOST_WAITING = 512
_MOST_CHARACTERS = 4_000_000
_LONGEST_CHARACTERS = 250_000
"""A response with its conversation that is longer is not asked again: its digest would take the event loop too long."""
_PATIENCE_S = 60.0
_AFTER_S = 0.5
"""By then the request whose response it is has most likely been answered: at once its own responses would wait."""
OPERATOR = Tenant(team="", weight=0.1, priority_class="eval")
"""The second judge's queue serves everybody else first."""

Reason = Literal["full", "too_long", "refused", "overloaded", "unavailable", "failed"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A candidate with the first judge's judgements of its criteria, and the options of its request."""

    candidate: Candidate
    judgements: Sequence[Judgement]
    options: Options
    characters: int
    hops: int


class Shadow:
    """`name` is that of the second judge; `share` of the responses are asked again."""

    def __init__(
        self, name: str, judge: Judge, share: float, clock: Clock, telemetry: Telemetry, uses: UseByTeam
    ) -> None:
        self.name = name
        self._uses = uses
        self._judge = judge
        self._limit = int(share * 2**64)
        self._clock = clock
        self._telemetry = telemetry
        self._waiting: OrderedDict[str, deque[Seen]] = OrderedDict()
        """By team; the first one's turn is next."""
        self._number = self._characters = 0
        self._more = asyncio.Event()
        self._waking = False
        self._tasks: list[asyncio.Task[None]] = []
        telemetry.declare_shadow(name)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work(), name="shadow") for _ in range(_WORKERS)]

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def offer(self, candidate: Candidate, judgements: Sequence[Judgement], options: Options) -> None:
        """The candidate has been judged. Looks at no text, and waits for nothing."""
        if options.mode not in MODES:
            return
        characters = sum(len(turn.content) for turn in candidate.turns) + sum(len(part) for part in candidate.parts)
        if characters > _LONGEST_CHARACTERS:
            self._telemetry.count_shadow_dropped(self.name, "too_long")
            return
        self._put(Seen(candidate, judgements, options, characters, HOPS.get()))
        while self._number > _MOST_WAITING or self._characters > _MOST_CHARACTERS:
            largest = max(self._waiting, key=lambda team: len(self._waiting[team]))
            self._take(largest, newest=True)
            self._telemetry.count_shadow_dropped(self.name, "full")
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_later(_AFTER_S, self._wake)

    def _put(self, seen: Seen) -> None:
        self._waiting.setdefault(seen.options.tenant.team, deque()).append(seen)
        self._number += 1
        self._characters += seen.characters

    def _take(self, team: str, *, newest: bool = False) -> Seen:
        """The team's next one, or its newest."""
        waiting = self._waiting[team]
        seen = waiting.pop() if newest else waiting.popleft()
        self._number -= 1
        self._characters -= seen.characters
        if not waiting:
            del self._waiting[team]
        elif not newest:
            self._waiting.move_to_end(team)
        return seen

    def _wake(self) -> None:
        self._waking = False
        self._more.set()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            seen = self._take(next(iter(self._waiting)))
            places = [j for j, one in enumerate(seen.judgements) if one.ok and one.source != "rule"]
            if not places or not chosen(seen.candidate, self._limit):
                await asyncio.sleep(0)
                continue
            try:
                self._compare(seen, places, await self._asked(seen, places))
            except RequestError as error:
                self._telemetry.count_shadow_dropped(self.name, _reason(error))
            except Exception:  # of the second judge: the next candidate is another try
                self._telemetry.count_shadow_dropped(self.name, "failed")

    async def _asked(self, seen: Seen, places: Sequence[int]) -> Sequence[Judgement]:
        criteria = tuple(seen.candidate.criteria[j] for j in places)
        options = replace(
            seen.options,
            tenant=OPERATOR,
            reserve=None,
            rule_meter=None,
            deadline_s=self._clock.now() + _PATIENCE_S,
            trace=UNTRACED,
        )
        candidates = [replace(seen.candidate, criteria=criteria)]
        self._judge.check_askable(candidates, options)
        HOPS.set(seen.hops)
        return await only(await self._judge.ask(candidates, options))

    def _compare(self, seen: Seen, places: Sequence[int], second: Sequence[Judgement]) -> None:
        pairs = [(seen.judgements[j], other) for j, other in zip(places, second, strict=True)]
        outcomes = ["unjudged" if not other.ok else "same" if _agree(one, other) else "differs" for one, other in pairs]
        apart = [_gap(one, other) for one, other in pairs]
        team = seen.options.tenant.team
        self._telemetry.count_shadow(self.name, team, outcomes, [gap for gap in apart if gap is not None])
        divergence = self._uses.of(team).shadows.setdefault(self.name, Divergence())
        for j, outcome, gap in zip(places, outcomes, apart, strict=True):
            divergence.count(seen.candidate.criteria[j].text, outcome, gap)


def chosen(candidate: Candidate, limit: int) -> bool:
    """Whether the digest of conversation and response, of 64 bits, is below the limit."""
    digest = blake2b(digest_size=8)
    for text in (*(turn.content for turn in candidate.turns), *candidate.parts):
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return int.from_bytes(digest.digest(), "big") < limit


def _gap(one: Judgement, other: Judgement) -> float | None:
    return None if one.p is None or other.p is None else abs(one.p - other.p)


def _agree(one: Judgement, other: Judgement) -> bool:
    return (one.met, one.level) == (other.met, other.level)


def _reason(error: RequestError) -> Reason:
    if isinstance(error, Overloaded):
        return "overloaded"
    if isinstance(error, Unavailable):
        return "unavailable"
    return "refused" if isinstance(error, InvalidRequest) else "failed"
