"""Serves the smaller routes of the contract: lint, the judge's description, health and readiness.

Guarantees: with a teams file every route under `/v1/` needs a key and is charged to its team's quota of requests; the
routes for supervisors need none.
"""

from functools import partial

from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api import problems, translate
from service.api.bodies.parsing import parse_lint_request
from service.api.bodies.worker_threads import WorkerThreads
from service.api.dependencies import Dependencies
from service.api.judges import info_of
from service.api.metering import charged_body, identified
from service.api.rubrics.stored import StoredRubrics
from service.errors import InvalidRequest, Unavailable
from service.settings.version import installed_version
from trainer_client import wire
from trainer_client.lint.rules import lint

_SMALL_LINT = 16_384


class Routes:
    """One method for each route; app.py gives them to FastAPI."""

    def __init__(self, dependencies: Dependencies, threads: WorkerThreads, stored: StoredRubrics) -> None:
        self._dependencies = dependencies
        self._threads = threads
        self._stored = stored

    async def lint(self, request: Request) -> Response:
        """Find problems in a rubric, without judging anything."""
        with identified(self._dependencies, request) as team:
            body = await charged_body(self._dependencies, request, team)
            small = len(body) <= _SMALL_LINT
            parse = partial(parse_lint_request, body, self._dependencies.settings)
            wanted = await self._threads.run(team.name, parse, small=small)
            rubric = await self._stored.known(team.name, wanted.rubric)
            work = partial(_lint, rubric, wanted)
            return _json(await self._threads.run(team.name, work, small=small))

    async def judge(self, request: Request) -> Response:
        """Describe the judge that serves, or the one of `?judge=NAME`, its ways, and the limits of a request."""
        with identified(self._dependencies, request) as team:
            await self._dependencies.ledger.admit(team)
            judges = self._dependencies.lifecycle.judge()
            return _json(info_of(judges, _asked_judge(request.query_params), self._limits))

    async def usage(self, request: Request) -> Response:
        """Return the quota of the key's team, and what it used in this process since the start."""
        with identified(self._dependencies, request) as team:
            await self._dependencies.ledger.admit(team)
            reserved = self._dependencies.ledger.reserved().get(team.name, 0)
            return _json(translate.team_usage(team, self._dependencies.uses.of(team.name), reserved))

    async def healthz(self, request: Request) -> Response:
        """Return 200 while the process can judge, or recover by itself; 503 when it must be restarted."""
        if not self._dependencies.lifecycle.dead:
            known = installed_version()
            return JSONResponse({"status": "alive"} | ({} if known is None else {"version": known}))
        detail = "the judge's scheduler died; restart the service"
        status = problems.STATUS[Unavailable]  # without a Retry-After, as no time makes this process work again
        return problems.problem(code=Unavailable.code, status=status, detail=detail, request_id=_id(request))

    async def readyz(self, request: Request) -> Response:
        """Return 200 when a request would be judged, after a real verdict on a canary; else 503 with the reason."""
        reason = self._dependencies.lifecycle.why_not_ready
        if reason is None:
            degraded = self._dependencies.lifecycle.judge().degraded
            return JSONResponse({"status": "ready", **({"degraded": degraded} if degraded else {})})
        return problems.of_error(Unavailable(reason), _id(request))

    def _limits(self, max_model_len: int) -> wire.Limits:
        settings = self._dependencies.settings
        return wire.Limits(
            max_items=settings.max_items,
            max_criteria=settings.max_criteria,
            max_judgements=settings.max_judgements,
            max_body_bytes=settings.max_body_bytes,
            max_model_len=max_model_len,
            max_queued_tokens=self._dependencies.scheduling.max_queued_tokens,
        )


def _asked_judge(query: QueryParams) -> str | None:
    """Raises InvalidRequest for any other parameter: a misspelt one would describe another judge than was meant."""
    if query.keys() - {"judge"}:
        raise InvalidRequest("the one parameter of this route is `judge`", ((("query",), "leave the others out"),))
    return query.get("judge")


def _lint(rubric: wire.Rubric, wanted: wire.LintRequest) -> wire.LintResponse:
    return wire.LintResponse(findings=lint(rubric, wanted.aggregation, wanted.reference))


def _id(request: Request) -> str:
    return str(request.state.request_id)


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")
