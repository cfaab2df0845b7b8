"""Asks several judges each criterion, and makes one judgement of what they say.

Guarantees: a member that cannot be asked, or fails on the way, is missing where it fails, and its reason stands in the
answer; with fewer members than the quorum a request is refused, or the criterion has no verdict.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from service.errors import EngineFailed, JudgeBusy, JudgementError, Overloaded, RequestError, Unavailable
from service.judges.composition import Composition, Member, of_member
from service.judges.joining import Part, joined, total
from service.judges.judge import Judging
from service.judges.panel_judgement import PanelRule, combined
from service.rubrics.judgement import Judgement, failed
from service.rubrics.rubric import Candidate
from service.scoring.request import Options, Usage


class Panel(Composition):
    """`quorum` members at least give a verdict."""

    def __init__(self, name: str, rule: PanelRule, quorum: int, members: Sequence[Member]) -> None:
        super().__init__(name, "panel", {"rule": rule, "quorum": str(quorum)}, members)
        self._rule = rule
        self._quorum = quorum

    @property
    def unavailable_reason(self) -> str | None:
        down = self.down
        if len(self.members) - len(down) >= self._quorum:
            return None
        reasons = "; ".join(f"`{name}`: {reason}" for name, reason in down)
        return f"{len(down)} of the {len(self.members)} judges of panel `{self.name}` cannot judge: {reasons}"

    @property
    def dead(self) -> bool:
        """Too many members need a restart of the process for the others to be a quorum."""
        return sum(not member.judge.dead for member in self.members) < self._quorum

    def queries_each(self, options: Options) -> int:
        return sum(member.judge.queries_each(options) for member in self.members)

    async def ask(self, candidates: Sequence[Candidate], options: Options) -> Judging:
        """All at once: a member that does not answer takes no time of the others."""
        asking = [asyncio.create_task(member.judge.ask(candidates, options), name="ask") for member in self.members]
        try:
            await asyncio.wait(asking)
            asked = self._admitted([one.exception() or one.result() for one in asking])
        except BaseException:
            for one in asking:
                one.cancel()
            for found in await asyncio.gather(*asking, return_exceptions=True):
                if not isinstance(found, BaseException):
                    found.close()
            raise
        return _PanelJudging(asked, candidates, options, self._rule, self._quorum)

    def _admitted(self, found: Sequence[Judging | BaseException]) -> list[tuple[str, Judging | JudgementError]]:
        """What each member is judging, or why it is not. Raises RequestError where they are no quorum."""
        asked: list[tuple[str, Judging | JudgementError]] = []
        absent = 0
        for (name, _), one in zip(self.members, found, strict=True):
            if isinstance(one, Overloaded | Unavailable):
                absent += 1
                if len(self.members) - absent < self._quorum:
                    raise of_member(name, one)
                asked.append((name, _missing(one)))
            elif isinstance(one, RequestError):  # a quota, or the request: the other members do not change it
                raise of_member(name, one)
            elif isinstance(one, BaseException):
                raise one
            else:
                asked.append((name, one))
        return asked


def _missing(error: Overloaded | Unavailable) -> JudgementError:
    kind = JudgeBusy if isinstance(error, Overloaded) else EngineFailed
    return kind(f"it was not asked: {error}")


class _PanelJudging:
    """`members` are what each member is judging, or why it is not."""

    def __init__(
        self,
        members: Sequence[tuple[str, Judging | JudgementError]],
        candidates: Sequence[Candidate],
        options: Options,
        rule: PanelRule,
        quorum: int,
    ) -> None:
        self._members = members
        self._candidates = candidates
        self._threshold = options.threshold
        self._rule: PanelRule = rule
        self._quorum = quorum
        self._judging = [one for _, one in members if not isinstance(one, JudgementError)]

    @property
    def usage(self) -> Usage:
        return total([one.usage for one in self._judging])

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        everyone = range(len(self._candidates))
        parts = [Part(one, everyone) for one in self._judging]
        async with aclosing(joined(parts, len(self._candidates))) as judged:
            async for i, found in judged:
                yield i, self._combined(self._candidates[i], found)

    def close(self) -> None:
        for one in self._judging:
            one.close()

    def _combined(self, candidate: Candidate, found: dict[int, Sequence[Judgement]]) -> list[Judgement]:
        columns: list[tuple[str, Sequence[Judgement]]] = []
        n = 0
        for name, one in self._members:
            if isinstance(one, JudgementError):
                columns.append((name, [failed(one, "judge")] * len(candidate.criteria)))
            else:
                columns.append((name, found[n]))
                n += 1
        return [
            combined(
                [(name, column[j]) for name, column in columns], self._rule, self._quorum, criterion, self._threshold
            )
            for j, criterion in enumerate(candidate.criteria)
        ]
