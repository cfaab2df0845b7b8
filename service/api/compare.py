"""Serves `POST /v1/compare`: which of two responses is better, in both orders, under one rubric or none.

Guarantees: whatever can be refused is refused before anything is judged. The work for a caller that has disconnected is
cancelled at once. An `Idempotency-Key` gets the same bytes or an error, never a second judging of what was answered.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from service.api import comparisons
from service.api.accept import JSON
from service.api.bodies.parsing import CountedBody, invalid_at, is_small, parse_compare_request
from service.api.bodies.worker_threads import WorkerThreads
from service.api.dependencies import Dependencies
from service.api.metering import charged_body, identified
from service.api.request_metrics import count_use
from service.api.rubrics.stored import StoredRubrics
from service.api.score import SMALL_ANSWER, SMALL_DIGEST, digest_of, timing, unless_disconnected
from service.errors import Forbidden, JudgeMismatch
from service.idempotency import Running, Stored
from service.judges.judge import ScoringJudge
from service.judges.judges import Judges
from service.modes.fingerprint import JudgeIdentity
from service.scoring.comparing import Compared
from service.scoring.request import Usage
from service.tenancy.team import Team
from trainer_client import wire

_DIALECT = b"compare\n"


class CompareRoute:
    """The path of every request that compares."""

    def __init__(self, dependencies: Dependencies, threads: WorkerThreads, stored: StoredRubrics) -> None:
        self._dependencies = dependencies
        self._threads = threads
        self._stored = stored

    async def compare(self, request: Request) -> Response:
        """Say which of two responses is better, for each item, from both orders."""
        arrived_s = self._dependencies.clock.now()
        with identified(self._dependencies, request) as team:
            judges = self._dependencies.lifecycle.judge()
            body = CountedBody(await charged_body(self._dependencies, request, team))
            running: Running | None = None
            key = request.headers.get("idempotency-key")
            if key is not None:
                digest = await self._threads.run(
                    team.name, partial(digest_of, _DIALECT, body), small=len(body) <= SMALL_DIGEST
                )
                replay = await self._dependencies.idempotency_store.begin(team.name, key, digest)
                if isinstance(replay, Stored):
                    return Response(replay.body, media_type=JSON, headers={"Idempotency-Replayed": "true"})
                running = replay
            try:
                return await self._respond(request, team, judges, body, arrived_s, running)
            except BaseException:
                if running is not None:  # the key is free again: nothing was answered under it
                    await running.give_up()
                raise

    async def _respond(
        self,
        request: Request,
        team: Team,
        judges: Judges,
        body: CountedBody,
        arrived_s: float,
        running: Running | None,
    ) -> Response:
        small = is_small(body)
        parse = partial(parse_compare_request, body, self._dependencies.settings)
        wanted = await self._threads.run(team.name, parse, small=small)
        rubrics = [item.rubric for item in wanted.items]
        stored = await self._stored.criteria_of(team.name, rubrics, wanted.pitfalls, lambda item: ("items", item))
        pairs = await self._threads.run(team.name, partial(comparisons.pairs, wanted, stored), small=small)
        scorer = judges.named(wanted.judge)
        judge = self._check(wanted, team, scorer)
        context = replace(
            comparisons.context(wanted, team, arrived_s),
            reserve=partial(self._dependencies.ledger.reserve, team),
            trace=request.state.trace,
        )
        compared: list[Compared] = []
        usage = Usage()
        try:
            compared = await unless_disconnected(request.receive, scorer.compare(pairs, context, usage))
        finally:  # what was used before a caller left is its team's
            count_use(self._dependencies.uses.of(team.name), 2 * len(compared), usage)
        request.state.summary = comparisons.record(self._dependencies.telemetry, team.name, compared, usage)
        write = partial(_write, str(request.state.request_id), judge, scorer, compared, usage)
        small = small and len(compared) <= SMALL_ANSWER
        answer = await self._threads.run(team.name, write, small=small)
        if running is not None:
            await running.finish(answer)
        return Response(answer, media_type=JSON, headers={"Server-Timing": timing(usage)})

    def _check(self, wanted: wire.CompareRequest, team: Team, scorer: ScoringJudge) -> JudgeIdentity:
        """The judge that compares. Raises for what the contract allows but this judge or this team does not."""
        judge = scorer.comparison_mode().judge
        if wanted.expect_judge not in (None, judge.fingerprint):
            raise JudgeMismatch(f"the judge of mode `compare` is {judge.fingerprint}")
        if wanted.priority not in team.classes:
            allowed = ", ".join(sorted(team.classes))
            raise Forbidden(f"team {team.name} may not use this `priority`; allowed: {allowed}")
        most = self._dependencies.settings.max_judgements
        if (judgements := 2 * len(wanted.items)) > most:
            said = f"{judgements} judgements in one request; at most {most}: send fewer items a request"
            raise invalid_at("items", said)
        return judge


def _write(id: str, judge: JudgeIdentity, scorer: ScoringJudge, compared: Sequence[Compared], usage: Usage) -> bytes:
    trust = scorer.trust_of(judge)
    return comparisons.response(id, judge, trust, compared, usage).model_dump_json().encode()
