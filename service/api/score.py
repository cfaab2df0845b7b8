"""Serves `POST /v1/score`: authenticates, parses, looks for a replay; then scores, whole or line by line.

Guarantees: whatever can be refused is refused before the first byte of a response. The work for a caller that has
disconnected is cancelled at once, whether or not anything was sent. An `Idempotency-Key` gets the same bytes or an
error, never a second judging of what was answered.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api import translate
from service.api.accept import JSON, NDJSON, wants_lines
from service.api.bodies.parsing import (
    CountedBody,
    ParsedRequest,
    RequestParser,
    invalid_at,
    is_small,
    parse_score_request,
)
from service.api.bodies.worker_threads import WorkerThreads
from service.api.dependencies import Dependencies
from service.api.metering import charged_body, identified
from service.api.request_metrics import RequestSummary, count_use, record, record_panel
from service.api.rubrics.stored import StoredRubrics, refs_in
from service.errors import Forbidden, JudgeMismatch
from service.idempotency import Running, Stored
from service.judges.judge import Job, ScoringJudge
from service.judges.judges import Judges
from service.modes.fingerprint import JudgeIdentity
from service.rubrics.rubric import Candidate
from service.scoring.exam.grading import Trust
from service.scoring.request import Options, Usage
from service.scoring.results import Scored
from service.tenancy.team import Team

T = TypeVar("T")

SMALL_ANSWER = 1_000
"""Criteria in an answer that is written within a few milliseconds."""
SMALL_DIGEST = 262_144


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that this service, this judge and this team allow."""

    id: str
    team: Team
    parsed: ParsedRequest
    candidates: list[Candidate]
    scorer: ScoringJudge
    judge: JudgeIdentity
    options: Options
    small: bool
    """Reading its body took little, so writing a small answer does, too."""


class ScoreRoute:
    """The path of every request that judges; other protocols bring a parser of their own."""

    def __init__(self, dependencies: Dependencies, threads: WorkerThreads, stored: StoredRubrics) -> None:
        self._dependencies = dependencies
        self._threads = threads
        self._stored = stored

    async def score(self, request: Request) -> Response:
        """Judge every criterion of every item and aggregate the verdicts into scores."""
        parse = partial(parse_score_request, limits=self._dependencies.settings)
        return await self.respond(request, parse, streams=wants_lines(request.headers.getlist("accept")))

    async def respond(
        self, request: Request, parse: RequestParser, *, streams: bool = False, dialect: str = ""
    ) -> Response:
        """The same for a body that `parse` reads. `dialect` keeps an `Idempotency-Key` to one protocol and its
        options."""
        arrived_s = self._dependencies.clock.now()
        with identified(self._dependencies, request) as team:
            return await self._respond(request, team, arrived_s, parse, streams, dialect)

    async def off_loop(self, request: Request, work: Callable[[], T]) -> T:
        """The work on a request's body, for the team that was found in its key."""
        return await self._threads.run(request.state.summary.team or "", work, small=is_small(await request.body()))

    async def _respond(
        self, request: Request, team: Team, arrived_s: float, parse: RequestParser, streams: bool, dialect: str
    ) -> Response:
        judges = self._dependencies.lifecycle.judge()
        body = CountedBody(await charged_body(self._dependencies, request, team))
        media_type = NDJSON if streams else JSON
        running: Running | None = None
        key = request.headers.get("idempotency-key")
        if key is not None:
            digest = await self._threads.run(
                team.name,
                partial(digest_of, f"{dialect}{media_type}\n".encode(), body),
                small=len(body) <= SMALL_DIGEST,
            )
            replay = await self._dependencies.idempotency_store.begin(team.name, key, digest)
            if isinstance(replay, Stored):
                return Response(replay.body, media_type=media_type, headers={"Idempotency-Replayed": "true"})
            running = replay
        try:
            small = is_small(body)
            parsed, candidates = await self._threads.run(team.name, partial(_parse, parse, body), small=small)
            if candidates is None:
                wanted = parsed.request
                rubrics = [item.rubric for item in wanted.items]
                stored = await self._stored.criteria_of(team.name, rubrics, wanted.pitfalls, parsed.place)
                work = partial(translate.candidates, wanted, stored)
                candidates = await self._threads.run(team.name, work, small=small)
            call = replace(self._check(request, parsed, candidates, team, judges, arrived_s), small=small)
            respond = self._lines if streams else self._whole
            return await respond(request, call, running)
        except BaseException:
            if running is not None:  # the key is free again: nothing was answered under it
                await running.give_up()
            raise

    def _check(
        self,
        request: Request,
        parsed: ParsedRequest,
        candidates: list[Candidate],
        team: Team,
        judges: Judges,
        arrived_s: float,
    ) -> _Call:
        """Raises for what the contract allows but this judge or this team does not."""
        wanted = parsed.request
        scorer = judges.named(wanted.judge)
        judge = scorer.judging_modes.choose(wanted.mode, wanted.layout, wanted.judge_prompt, wanted.batch).judge
        if wanted.expect_judge not in (None, judge.fingerprint):
            raise JudgeMismatch(f"the judge of this mode, layout and prompt is {judge.fingerprint}")
        if wanted.priority not in team.classes:
            allowed = ", ".join(sorted(team.classes))
            raise Forbidden(f"team {team.name} may not use this `priority`; allowed: {allowed}")
        options = translate.options(wanted, team, arrived_s)
        asked, most = scorer.queries_each(options), self._dependencies.settings
        judgements = asked * sum([len(one.criteria) for one in candidates])
        if judgements > most.max_judgements:
            said = f"{judgements} judgements in one request; at most {most.max_judgements}: send fewer items a request"
            raise invalid_at("items", said)
        options = replace(
            options,
            reserve=partial(self._dependencies.ledger.reserve, team),
            rule_meter=self._dependencies.ledger.rule_meter(team),
            trace=request.state.trace,
        )
        return _Call(str(request.state.request_id), team, parsed, candidates, scorer, judge, options, small=False)

    async def _record(self, call: _Call, scored: Sequence[Scored], usage: Usage) -> RequestSummary:
        options = call.options
        if (ledger := self._dependencies.verdict_ledger) is not None:
            ledger.record(call.team.name, call.judge.fingerprint, options.mode, call.parsed.request.items, scored)
        telemetry = self._dependencies.telemetry
        if call.judge.identity.engine == "panel":
            record_panel(telemetry, call.judge.name or "", scored)
        return await record(telemetry, call.team.name, options.mode, options.threshold, scored, usage)

    async def _whole(self, request: Request, call: _Call, running: Running | None) -> Response:
        scored, usage = await unless_disconnected(request.receive, self._score(call))
        request.state.summary = await self._record(call, scored, usage)
        small = call.small and sum(len(one.judgements) for one in scored) <= SMALL_ANSWER
        write = partial(_write, call, call.scorer.trust_of(call.judge), scored, usage)
        body = await self._threads.run(call.team.name, write, small=small)
        if running is not None:
            await running.finish(body)
        return Response(body, media_type=JSON, headers={"Server-Timing": timing(usage)})

    async def _score(self, call: _Call) -> tuple[list[Scored], Usage]:
        job = await call.scorer.start(call.candidates, call.options)
        found: dict[int, Scored] = {}
        async with aclosing(self._scored(call, job)) as results:
            async for index, one in results:
                found[index] = one
        return [found[index] for index in range(len(call.candidates))], job.usage

    async def _scored(self, call: _Call, job: Job) -> AsyncGenerator[tuple[int, Scored], None]:
        """The job's results. What they took is the team's, also where the caller leaves before the last one."""
        responses = 0
        try:
            async with aclosing(job.scored()) as results:
                async for index, one in results:
                    responses += 1
                    yield index, one
        finally:
            count_use(self._dependencies.uses.of(call.team.name), responses, job.usage)

    async def _lines(self, request: Request, call: _Call, running: Running | None) -> Response:
        work = call.scorer.start(call.candidates, call.options)
        job = await unless_disconnected(request.receive, work)  # a refusal is a status, not a line

        async def ended() -> None:
            job.close()
            if running is not None:
                await running.give_up()

        # The headers go out before the first line: of the three they know what has been rendered.
        headers = {"Server-Timing": f"render;dur={job.usage.render_s * 1000:.1f}"}
        return LineResponse(self._write_lines(request, call, job, running), NDJSON, ended, headers)

    async def _write_lines(
        self, request: Request, call: _Call, job: Job, running: Running | None
    ) -> AsyncGenerator[bytes, None]:
        """A line for each result, then the last one; kept for a replay once it is whole."""
        found: dict[int, Scored] = {}
        sent: list[bytes] = []
        async with aclosing(self._scored(call, job)) as results:
            async for index, one in results:
                found[index] = one
                line = translate.line(index, one, call.judge).model_dump_json().encode() + b"\n"
                if running is not None:  # else nobody can ask for them again
                    sent.append(line)
                yield line
        scored = [found[index] for index in sorted(found)]
        request.state.summary = await self._record(call, scored, job.usage)
        end = translate.end(call.id, call.judge, call.scorer.trust_of(call.judge), scored, job.usage)
        last = end.model_dump_json().encode() + b"\n"
        if running is not None:
            await running.finish(b"".join([*sent, last]))
        yield last


def timing(usage: Usage) -> str:
    """In milliseconds. What came from a cache, or was judged for another request, took none of it here."""
    queue, render, engine = usage.queue_s * 1000, usage.render_s * 1000, usage.engine_s * 1000
    return f"queue;dur={queue:.1f}, render;dur={render:.1f}, engine;dur={engine:.1f}"


def digest_of(dialect: bytes, body: bytes) -> bytes:
    """What an `Idempotency-Key` is kept with."""
    digest = hashlib.sha256(dialect)
    digest.update(body)
    return digest.digest()


def _parse(parse: RequestParser, body: bytes) -> tuple[ParsedRequest, list[Candidate] | None]:
    """No candidates where a rubric of the request must be looked up first."""
    parsed = parse(body)
    refers = any(refs_in(item.rubric for item in parsed.request.items))
    return parsed, None if refers else translate.candidates(parsed.request)


def _write(call: _Call, trust: Trust, scored: Sequence[Scored], usage: Usage) -> bytes:
    return call.parsed.write(translate.response(call.id, call.judge, trust, scored, usage))


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The work's result. Raises ClientDisconnect where the caller disconnects before; then the work is cancelled."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class LineResponse(Response):
    """Sends each line as soon as it exists. `ended` is called once, also where nothing was sent."""

    def __init__(
        self,
        lines: AsyncGenerator[bytes, None],
        media_type: str,
        ended: Callable[[], Awaitable[None]],
        headers: Mapping[str, str],
    ) -> None:
        self._lines = lines
        self._ended = ended
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_disconnected(receive, self._send(send))
        except ClientDisconnect:
            return
        finally:
            await self._ended()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._lines) as lines:
            async for line in lines:
                await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
