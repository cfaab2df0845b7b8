"""Compositions of compositions, drawn at random, against rules that were written apart from them.

A leaf says of a criterion what a table says: P(met), of one with levels their probabilities, or why it has none; or it
cannot be asked at all. Its answers come out of order and in turns with those of the others.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, median
from typing import Any

import pytest

from service.engine.base import EngineIdentity
from service.errors import InvalidRequest, Overloaded, RequestError, Unavailable
from service.judges.cascade import Cascade
from service.judges.cascade_judgement import Band, CascadePlan, Step
from service.judges.composition import ComposedMode, Member
from service.judges.panel import Panel
from service.judges.panel_judgement import PanelRule
from service.judges.route_conditions import Condition
from service.judges.router import Router
from service.modes.fingerprint import JudgeIdentity
from service.modes.served_modes import JudgingModes, Way
from service.rubrics.judgement import Judgement
from service.rubrics.levels import judged_level
from service.rubrics.rubric import Candidate, Criterion, Option
from service.scoring.request import Options, Usage

WAY = Way("verdict", "rubricd")
PASSED_ON = ("abstained", "too_long", "unparseable")
FAILURES = ("timeout", "engine_error", "overloaded", "cancelled")
Place = tuple[str, str]
"""A candidate and a criterion, by their ids."""
Word = float | tuple[float, ...] | str
"""P(met), the probabilities of levels, or the status where there is neither."""
Found = dict[Place, Word]
LEVELS = (Option("none", 0.0), Option("some", 0.5), Option("all", 1.0))


class Leaf:
    """Counts what it judges, and which of its answers are being read."""

    dead, max_model_len, unavailable_reason = False, 1000, None

    def __init__(self, name: str, draw: random.Random, refuses: type[RequestError] | None) -> None:
        identity = JudgeIdentity(
            EngineIdentity(name, "", "fake", {}), *WAY[:2], None, (), (), 0.0, name, name, name=name
        )
        self.judging_modes = JudgingModes({WAY: ComposedMode(identity)}, {}, {})
        self.refuses, self._draw = refuses, draw
        self.table: Found = {}
        self.judged = self.reading = 0

    def says(self, place: Place, graded: bool) -> Word:
        if place not in self.table:
            self.table[place] = self._drawn(graded)
        return self.table[place]

    def _drawn(self, graded: bool) -> Word:
        if self._draw.random() < 0.3:
            return self._draw.choice(PASSED_ON + FAILURES)
        if not graded:
            return self._draw.random()
        parts = [self._draw.random() for _ in LEVELS]
        return tuple(part / sum(parts) for part in parts)

    def trust_of(self, judge: JudgeIdentity) -> Any:
        return "proven"

    def queries_each(self, options: Options) -> int:
        return 1

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        pass

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Any:
        await asyncio.sleep(0)
        if self.refuses is not None:
            raise _error(self.refuses)
        return _Answers(self, candidates, self._draw)


class _Answers:
    def __init__(self, leaf: Leaf, candidates: Sequence[Candidate], draw: random.Random) -> None:
        self.usage = Usage(judgements=sum(len(one.criteria) for one in candidates))
        self._leaf, self._candidates, self._draw = leaf, candidates, draw

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        self._leaf.reading += 1
        # Here and not where it is admitted: what is left since another member refused judges nothing.
        self._leaf.judged += self.usage.judgements
        try:
            for i in self._draw.sample(range(len(self._candidates)), len(self._candidates)):
                for _ in range(self._draw.randint(0, 2)):
                    await asyncio.sleep(0)
                one = self._candidates[i]
                yield (
                    i,
                    [
                        _judgement(self._leaf.says((one.id, criterion.id), criterion.graded))
                        for criterion in one.criteria
                    ],
                )
        finally:
            self._leaf.reading -= 1

    def close(self) -> None:
        pass


def _error(kind: type[RequestError]) -> RequestError:
    return Overloaded("full", 1.0) if kind is Overloaded else kind("no")


def _judgement(said: Word) -> Judgement:
    if isinstance(said, str):
        return Judgement(status=said, source="judge")
    if isinstance(said, tuple):
        return judged_level(said, LEVELS, threshold=0.5, source="judge")
    return Judgement(status="ok", source="judge", met=said >= 0.5, p=said, p_raw=said)


@dataclass(frozen=True)
class Drawn:
    """What was drawn: the judge, and what is needed to say by hand what it must answer."""

    kind: str
    judge: Any
    below: Sequence["Drawn"] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


def drawn(draw: random.Random, leaves: list[Leaf], depth: int) -> Drawn:
    if depth == 0 or draw.random() < 0.2:
        refuses = draw.choice([Overloaded, Unavailable, InvalidRequest]) if draw.random() < 0.15 else None
        leaves.append(Leaf(f"m{len(leaves)}", draw, refuses))
        return Drawn("leaf", leaves[-1])
    below = [drawn(draw, leaves, depth - 1) for _ in range(draw.randint(2, 3))]
    members = [Member(f"n{n}", one.judge) for n, one in enumerate(below)]
    kind = draw.choice(["panel", "cascade", "routed"])
    if kind == "panel":
        rule: PanelRule = draw.choice(["mean", "majority", "unanimous"])
        quorum = draw.randint(1, len(below))
        return Drawn(kind, Panel("p", rule, quorum, members), below, {"rule": rule, "quorum": quorum})
    if kind == "cascade":
        bands = [None if draw.random() < 0.2 else Band(0.5 - draw.random() / 2, 0.5) for _ in below[:-1]]
        steps = [
            Step(member.judge.judging_modes.first.judge.fingerprint, *WAY[:2], None, band)
            for member, band in zip(members, [*bands, None], strict=True)
        ]
        passes = draw.random() < 0.6
        plan = CascadePlan(tuple(steps), "0" * 64, "")
        return Drawn(
            kind, Cascade("c", plan, members, passes_failures=passes), below, {"bands": bands, "passes": passes}
        )
    conditions = [Condition(tag=f"axis:{n}") for n in range(len(below) - 1)]
    targets = list(range(len(below)))
    return Drawn(kind, Router("r", conditions, targets, members), below)


def by_hand(one: Drawn, asked: Sequence[Candidate]) -> Found | type[RequestError]:
    """What it must answer to a request, or the error with which it must refuse it."""
    if one.kind == "leaf":
        pairs = [(candidate.id, criterion) for candidate in asked for criterion in candidate.criteria]
        says = one.judge.says
        return one.judge.refuses or {(id, c.id): says((id, c.id), c.graded) for id, c in pairs}
    return {"panel": _panel, "cascade": _cascade, "routed": _routed}[one.kind](one, asked)


def _panel(one: Drawn, asked: Sequence[Candidate]) -> Found | type[RequestError]:
    said = [by_hand(member, asked) for member in one.below]
    absent = 0
    for answer in said:
        absent += not isinstance(answer, dict)
        if answer is InvalidRequest:
            return answer
        if not isinstance(answer, dict) and len(said) - absent < one.more["quorum"]:
            return answer
    found: Found = {}
    for candidate in asked:
        for criterion in candidate.criteria:
            place = candidate.id, criterion.id
            words = [answer[place] if isinstance(answer, dict) else _missing(answer) for answer in said]
            p: list[Any] = [word for word in words if not isinstance(word, str)]
            if len(p) < one.more["quorum"]:
                found[place] = next(word for word in words if isinstance(word, str))
            elif criterion.graded:
                found[place] = tuple(map(mean, zip(*p, strict=True)))
            elif one.more["rule"] == "unanimous":
                found[place] = min(p) if criterion.points >= 0 else max(p)
            else:
                found[place] = mean(p) if one.more["rule"] == "mean" else median(p)
    return found


def _cascade(one: Drawn, asked: Sequence[Candidate]) -> Found | type[RequestError]:
    first, passes = 0, one.more["passes"]
    while not isinstance(answer := by_hand(one.below[first], asked), dict):
        if answer is InvalidRequest or not passes or first + 1 == len(one.below):
            return answer
        first += 1
    found = dict(answer)
    for candidate in asked:
        left = list(candidate.criteria)
        for n in range(first, len(one.below) - 1):
            band = one.more["bands"][n]
            left = [one for one in left if not _stands(found[candidate.id, one.id], band, passes)]
            if not left:
                break
            answer = by_hand(one.below[n + 1], [replace(candidate, criteria=tuple(left))])
            for criterion in left:
                place = candidate.id, criterion.id
                found[place] = answer[place] if isinstance(answer, dict) else _missing(answer)
    return found


def _stands(word: Word, band: Band | None, passes: bool) -> bool:
    if isinstance(word, str):
        return word not in PASSED_ON and not passes
    if isinstance(word, tuple):  # no plan was made for levels
        return False
    return band is None or word < band.low or word > band.high


def _routed(one: Drawn, asked: Sequence[Candidate]) -> Found | type[RequestError]:
    found: Found = {}
    for n, member in enumerate(one.below):
        last = n + 1 == len(one.below)
        own = []
        for candidate in asked:
            chosen = [c for c in candidate.criteria if c.tags["axis"] == str(n) or (last and int(c.tags["axis"]) >= n)]
            own += [replace(candidate, criteria=tuple(chosen))] if chosen else []
        answer = by_hand(member, own) if own else {}
        if not isinstance(answer, dict):
            return answer
        found |= answer
    return found


def _missing(kind: type[RequestError]) -> str:
    return "overloaded" if kind is Overloaded else "engine_error"


def candidates(draw: random.Random) -> list[Candidate]:
    criteria = tuple(
        Criterion(
            f"c{n}",
            f"Criterion {n}.",
            draw.choice([-2.0, 1.0]),
            tags={"axis": str(draw.randint(0, 3))},
            options=LEVELS if draw.random() < 0.3 else (),
        )
        for n in range(draw.randint(1, 4))
    )
    return [Candidate(str(n), (), "r", criteria) for n in range(draw.randint(1, 4))]


async def _answered(judge: Any, asked: Sequence[Candidate]) -> tuple[dict[Place, Judgement], int]:
    judging = await judge.ask(asked, Options())
    found: dict[Place, Judgement] = {}
    async for i, judgements in judging.judged():
        for criterion, one in zip(asked[i].criteria, judgements, strict=True):
            assert (asked[i].id, criterion.id) not in found, "answered twice"
            found[asked[i].id, criterion.id] = one
    return found, judging.usage.judgements


async def test_1_000_compositions_of_compositions_answer_as_by_hand() -> None:
    """Each criterion of each candidate once; a verdict where the rules give one, and otherwise the status that they
    give; a refusal where they refuse. All tokens of all members are counted, and nothing runs on."""
    tried = dict.fromkeys(("verdict", "levels", "status", "refused", "deep"), 0)
    for seed in range(1_000):
        draw = random.Random(seed)
        leaves: list[Leaf] = []
        top = drawn(draw, leaves, 3)
        if top.kind == "leaf":
            continue
        asked = candidates(draw)
        wanted = by_hand(top, asked)
        tried["deep"] += any(one.kind != "leaf" for one in top.below)
        if not isinstance(wanted, dict):
            with pytest.raises(wanted):
                await _answered(top.judge, asked)
            tried["refused"] += 1
        else:
            found, judgements = await _answered(top.judge, asked)
            assert found.keys() == wanted.keys(), seed
            assert judgements == sum(leaf.judged for leaf in leaves), seed
            for place, one in found.items():
                word = wanted[place]
                kinds = {str: "status", tuple: "levels", float: "verdict"}
                tried[kinds[type(word)]] += 1
                if isinstance(word, tuple):
                    assert one.status == "ok" and one.p_levels == pytest.approx(word, abs=1e-12), (seed, place)
                    assert one.value == pytest.approx(word[1] / 2 + word[2]), (seed, place)
                elif isinstance(word, str):
                    assert (one.status, one.met, one.p, one.p_levels) == (word, None, None, None), (seed, place)
                else:
                    assert one.status == "ok" and one.p == pytest.approx(word, abs=1e-12), (seed, place)
                    assert one.p is not None and one.met is (one.p >= 0.5), (seed, place)
        assert not any(leaf.reading for leaf in leaves), seed
    assert min(tried.values()) > 50, tried


async def test_of_300_callers_that_leave_none_leaves_anything_running() -> None:
    for seed in range(300):
        draw = random.Random(f"leaves {seed}")
        leaves: list[Leaf] = []
        top = drawn(draw, leaves, 3)
        asked = candidates(draw)
        try:
            judging = await top.judge.ask(asked, Options())
        except RequestError:
            continue
        judged = judging.judged()
        for _ in range(draw.randint(0, len(asked) - 1)):
            await anext(judged)
        await judged.aclose()
        judging.close()
        await asyncio.sleep(0)
        assert not any(leaf.reading for leaf in leaves), seed
        running = {task.get_name() for task in asyncio.all_tasks()} - {asyncio.current_task().get_name()}  # type: ignore[union-attr]
        assert not running & {"ask", "judge", "cascade"}, seed
