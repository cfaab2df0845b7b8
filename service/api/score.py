"""`POST /v1/score`: who asks, what, whether they asked before; then the answer, whole or line by line.

Always true: whatever can be refused is refused before the first byte of an answer; a caller that has left frees what
it held; an `Idempotency-Key` is answered with the same bytes or with an error, never with a second judging of what was
answered.
"""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from service.api import translate
from service.api.answered import Answered
from service.api.dependencies import Dependencies
from service.api.request_body import unserved
from service.api.request_metrics import account
from service.api.spoken import Read, Spoken, own
from service.api.streaming import Lines, unless_left
from service.errors import Forbidden, JudgeMismatch, RequestError
from service.idempotency import Running, Stored
from service.modes.fingerprint import JudgeIdentity
from service.scoring.job import ScoringJob
from service.scoring.options import Options
from service.scoring.pending import Usage
from service.scoring.results import Scored
from service.scoring.scorer import Scorer
from service.tenancy.team import Team

JSON, NDJSON = "application/json", "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that may be judged."""

    id: str
    team: Team
    spoken: Spoken
    judge: JudgeIdentity
    options: Options


class Scoring:
    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def score(self, request: Request) -> Response:
        """Judge every criterion of every item and aggregate the verdicts into scores."""
        return await self.answer(request, own, streams=NDJSON in request.headers.get("accept", ""))

    async def answer(self, request: Request, read: Read, *, streams: bool = False, dialect: str = "") -> Response:
        """The same for a body that `read` understands. `dialect` keeps an `Idempotency-Key` to one way of speaking."""
        arrived_s = self._dependencies.clock.now()
        team: Team | None = None
        try:
            team = self._dependencies.authentication.team_of(request.headers.get("authorization"))
            request.state.answered = Answered(team.name)
            return await self._answer(request, team, arrived_s, read, streams, dialect)
        except RequestError as error:
            wait_s = getattr(error, "retry_after_s", None)
            self._dependencies.telemetry.count_refusal(None if team is None else team.name, error.code, wait_s)
            raise

    async def _answer(
        self, request: Request, team: Team, arrived_s: float, read: Read, streams: bool, dialect: str
    ) -> Response:
        scorer = self._dependencies.lifecycle.judge()
        await self._dependencies.ledger.admit(team)
        body = await request.body()
        media_type = NDJSON if streams else JSON
        before = await self._before(request, team, f"{dialect}{media_type}\n".encode() + body)
        if isinstance(before, Stored):
            return Response(before.body, media_type=media_type, headers={"Idempotency-Replayed": "true"})
        try:
            asked = self._check(request, read(body), team, scorer, arrived_s)
            answer = self._lines if streams else self._whole
            return await answer(request, asked, scorer, before)
        except BaseException:
            if before is not None:
                await before.give_up()
            raise

    async def _before(self, request: Request, team: Team, asked: bytes) -> Stored | Running | None:
        """What was answered before under this key, or the right to answer now; None without a key."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return None
        return await self._dependencies.idempotency_store.begin(team.name, key, hashlib.sha256(asked).digest())

    def _check(self, request: Request, spoken: Spoken, team: Team, scorer: Scorer, arrived_s: float) -> _Asked:
        """Raises for what the contract allows but this service, this judge or this team does not."""
        settings, asked = self._dependencies.settings, spoken.request
        judge = scorer.judging_mode(asked.mode, asked.layout).judge
        if asked.expect_judge not in (None, judge.fingerprint):
            raise JudgeMismatch(f"the judge that serves here, asked so, is {judge.fingerprint}")
        if asked.priority not in team.classes:
            allowed = ", ".join(sorted(team.classes))
            raise Forbidden(f"team {team.name} may not ask with this `priority`; allowed: {allowed}")
        results = sum(1 if item.responses is None else len(item.responses) for item in asked.items)
        if results > settings.max_items:
            raise unserved("items", f"{results} responses in one request; at most {settings.max_items}")
        for index, item in enumerate(asked.items):
            if item.rubric is not None and len(item.rubric.criteria) > settings.max_criteria:
                raise unserved("items", index, "rubric", f"more than {settings.max_criteria} criteria in one rubric")
        options = replace(
            translate.options(asked, arrived_s),
            scope=team.scope,
            tenant=translate.tenant(team, asked.priority),
            reserve=partial(self._dependencies.ledger.reserve, team),
            trace=request.state.trace,
        )
        return _Asked(str(request.state.request_id), team, spoken, judge, options)

    async def _whole(self, request: Request, asked: _Asked, scorer: Scorer, running: Running | None) -> Response:
        work = scorer.score(translate.candidates(asked.spoken.request), asked.options)
        scored, usage = await unless_left(request.receive, work)
        self._count(request, asked, scored, usage)
        body = asked.spoken.write(translate.response(asked.id, asked.judge, scored, usage))
        if running is not None:
            await running.finish(body)
        return Response(body, media_type=JSON)

    async def _lines(self, request: Request, asked: _Asked, scorer: Scorer, running: Running | None) -> Response:
        work = scorer.begin(translate.candidates(asked.spoken.request), asked.options)
        begun = await unless_left(request.receive, work)

        async def ended() -> None:
            begun.close()
            if running is not None:
                await running.give_up()

        return Lines(self._written(request, asked, begun, running), NDJSON, ended)

    async def _written(
        self, request: Request, asked: _Asked, begun: ScoringJob, running: Running | None
    ) -> AsyncGenerator[bytes, None]:
        """A line a result, then the last one; kept for a replay once it is whole."""
        found: dict[int, Scored] = {}
        lines: list[bytes] = []
        async with aclosing(begun.scored()) as results:
            async for place, one in results:
                found[place] = one
                lines.append(translate.line(place, one).model_dump_json().encode() + b"\n")
                yield lines[-1]
        scored = [found[place] for place in sorted(found)]
        self._count(request, asked, scored, begun.usage)
        end = translate.end(asked.id, asked.judge, scored, begun.usage)
        lines.append(end.model_dump_json().encode() + b"\n")
        if running is not None:
            await running.finish(b"".join(lines))
        yield lines[-1]

    def _count(self, request: Request, asked: _Asked, scored: Sequence[Scored], usage: Usage) -> None:
        request.state.answered = Answered.of(asked.team.name, len(scored), usage)
        account(self._dependencies.telemetry, asked.team.name, asked.options.mode, scored, usage)
