"""Sends each criterion to one of several judges.

Guarantees: a criterion is judged by the one judge that its route names, or not at all; where that judge cannot take it,
the request is refused as that judge refuses it. What the other judges could not be asked refuses nothing.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from service.errors import InvalidRequest, RequestError
from service.judges.composition import Composition, Member, of_member
from service.judges.joining import Part, joined, shares, total
from service.judges.judge import Judging
from service.judges.route_conditions import Condition, routes
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate
from service.scoring.request import Options, Usage


class Router(Composition):
    """`targets[n]` is the judge of `conditions[n]`, and the last one that of the rest; both by place among the
    members."""

    def __init__(
        self, name: str, conditions: Sequence[Condition], targets: Sequence[int], members: Sequence[Member]
    ) -> None:
        described = [*(one.described for one in conditions), "otherwise"]
        rule = {
            f"route {n + 1}": f"{text}: {target + 1}"
            for n, (text, target) in enumerate(zip(described, targets, strict=True))
        }
        super().__init__(name, "routed", rule, members)
        self._conditions = conditions
        self._targets = targets

    @property
    def unavailable_reason(self) -> str | None:
        """None while any member can judge: what goes to the others is refused."""
        down = self.down
        if len(down) < len(self.members):
            return None
        return f"no judge of `{self.name}` can judge: {'; '.join(f'`{name}`: {reason}' for name, reason in down)}"

    @property
    def dead(self) -> bool:
        return any(member.judge.dead for member in self.members)

    def queries_each(self, options: Options) -> int:
        return max(member.judge.queries_each(options) for member in self.members)

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        """Raises InvalidRequest for what a member cannot be asked that goes to it."""
        self.judging_modes.choose(*options.way)
        for (name, judge), _, asked, _ in self._shares(candidates):
            try:
                judge.check_askable(asked, options)
            except InvalidRequest as error:
                raise of_member(name, error) from None

    def _shares(
        self, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[Member, list[list[int]], list[Candidate], list[int]]]:
        """Each member that something goes to: the criteria of each candidate, and the candidates with these alone."""
        ways = routes(self._conditions, candidates)
        for n, member in enumerate(self.members):
            own = [[j for j, way in enumerate(of_one) if self._targets[way] == n] for of_one in ways]
            asked, of = shares(candidates, own)
            if asked:
                yield member, own, asked, of

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Judging:
        parts: list[Part] = []
        places: list[list[list[int]]] = []
        names: list[str] = []
        try:
            for (name, judge), own, asked, of in self._shares(candidates):
                try:
                    parts.append(Part(await judge.ask(asked, options), of))
                except RequestError as error:
                    raise of_member(name, error) from None
                places.append(own)
                names.append(name)
        except BaseException:
            for part in parts:
                part.judging.close()
            raise
        return _RoutedJudging(candidates, parts, places, names)


class _RoutedJudging:
    """`places[n][i]` are the criteria of candidate i that part n, of the judge `names[n]`, was asked."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        parts: Sequence[Part],
        places: Sequence[Sequence[Sequence[int]]],
        names: Sequence[str],
    ) -> None:
        self._candidates = candidates
        self._parts = parts
        self._places = places
        self._names = names

    @property
    def usage(self) -> Usage:
        return total([part.judging.usage for part in self._parts])

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        async with aclosing(joined(self._parts, len(self._candidates))) as judged:
            async for i, found in judged:
                by_criterion: dict[int, Judgement] = {}
                for n, judgements in found.items():
                    for j, judgement in zip(self._places[n][i], judgements, strict=True):
                        by_criterion[j] = replace(judgement, members=((self._names[n], judgement),))
                yield i, [by_criterion[j] for j in range(len(self._candidates[i].criteria))]

    def close(self) -> None:
        for part in self._parts:
            part.judging.close()
