"""The routes of the contract: parse, ask, answer.

Always true: a body is parsed once, strictly, by the wire models; a caller that has left frees what it held.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from service.api import foreign, problems, translate
from service.api.served import Served
from service.errors import InvalidRequest, JudgeMismatch
from service.scoring.judge import Judge
from service.scoring.lint import lint
from service.scoring.scorer import Scorer
from trainer_client import wire

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Routes:
    """One method a route. FastAPI gets them in app.py."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def score(self, request: Request) -> Response:
        """Judge every criterion of every item and aggregate the verdicts into scores."""
        arrived_s = self._served.clock.now()
        scorer = self._served.scorer()
        asked = await _parse(request, wire.ScoreRequest)
        judge = self._check(asked, scorer)
        work = scorer.score(translate.candidates(asked), translate.options(asked, arrived_s))
        scored, usage = await _unless_left(request, work)
        telemetry = self._served.telemetry
        telemetry.count_judgements((j.source, j.status) for one in scored for j in one.judgements)
        telemetry.count_tokens(usage.prompt_tokens, usage.cached_tokens)
        return _json(translate.response(_id(request), judge, scored, usage))

    async def lint(self, request: Request) -> Response:
        """Findings about a rubric, without judging anything."""
        asked = await _parse(request, wire.LintRequest)
        findings = lint(translate.criteria(asked.rubric), asked.aggregation)
        return _json(translate.findings(findings))

    async def judge(self) -> Response:
        """Who judges here, how, and within which limits."""
        judges = [way.judge for way in self._served.scorer().ways.values()]
        return _json(translate.judge_info(judges, self._limits()))

    async def healthz(self) -> Response:
        """The process is alive."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """200 when a request would be judged; before, the judge has given a real verdict on a canary."""
        reason = self._served.why_not_ready
        if reason is None:
            return JSONResponse({"status": "ready"})
        return problems.problem(
            code="unavailable", status=503, detail=reason, request_id=_id(request), retry_after_s=1.0
        )

    async def metrics(self) -> Response:
        """Prometheus exposition."""
        return Response(self._served.telemetry.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _limits(self) -> wire.Limits:
        settings = self._served.settings
        return wire.Limits(
            max_items=settings.max_items,
            max_criteria=settings.max_criteria,
            max_body_bytes=settings.max_body_bytes,
            max_model_len=self._served.max_model_len,
            max_queued_tokens=settings.max_queued_tokens,
        )

    def _check(self, asked: wire.ScoreRequest, scorer: Scorer) -> Judge:
        """Who is asked. Raises for what the contract allows but this service, or this judge, does not serve."""
        settings = self._served.settings
        judge = scorer.way(asked.mode, asked.layout).judge
        if asked.expect_judge not in (None, judge.fingerprint):
            raise JudgeMismatch(f"the judge that serves here, asked so, is {judge.fingerprint}")
        results = sum(1 if item.responses is None else len(item.responses) for item in asked.items)
        if results > settings.max_items:
            raise _unserved("items", f"{results} responses in one request; at most {settings.max_items}")
        for index, item in enumerate(asked.items):
            if item.rubric is not None and len(item.rubric.criteria) > settings.max_criteria:
                raise _unserved("items", index, "rubric", f"more than {settings.max_criteria} criteria in one rubric")
        return judge


def _unserved(*place: str | int) -> InvalidRequest:
    """The last part is the message, the parts before it the place."""
    *loc, message = place
    return InvalidRequest(str(message), ((tuple(loc), str(message)),))


async def _parse(request: Request, model: type[M]) -> M:
    body = await request.body()
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        system = foreign.recognise(body)
        if system is None:
            raise problems.invalid(error) from None
        raise InvalidRequest(
            f"this body is shaped for {system}; this route takes `items` with `prompt`, `response` and `rubric`"
        ) from None


async def _unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; if the caller leaves before, the work is cancelled."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_left(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _id(request: Request) -> str:
    return str(request.state.request_id)


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")
