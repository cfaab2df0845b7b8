"""Serves people who write a rubric: `POST /v1/rubrics/read` reads a pasted one, `POST /v1/rubrics/fix` tidies its form.

Guarantees: nothing is judged or stored. What cannot be read is answered as such and not refused, because the sentence
that says why may quote the caller's text, and a problem document never does.
"""

from functools import partial

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from service.api.bodies.parsing import parse_fix_request, parse_read_request
from service.api.bodies.worker_threads import WorkerThreads
from service.api.dependencies import Dependencies
from service.api.metering import charged_body, identified
from trainer_client import wire
from trainer_client.data import pasted
from trainer_client.data.records import RowError
from trainer_client.lint.fixing import fixed

_SMALL_BYTES = 16_384


class RubricEditing:
    """One method for each route; app.py gives them to FastAPI."""

    def __init__(self, dependencies: Dependencies, threads: WorkerThreads) -> None:
        self._dependencies = dependencies
        self._threads = threads

    async def read(self, request: Request) -> Response:
        """Read a rubric that a person pasted: JSON, a row of a data set, or lines of points and text."""
        with identified(self._dependencies, request) as team:
            body = await charged_body(self._dependencies, request, team)
            work = partial(_read, body, self._dependencies)
            return _json(await self._threads.run(team.name, work, small=len(body) <= _SMALL_BYTES))

    async def fix(self, request: Request) -> Response:
        """Fix what is mechanical in a rubric's form, as `rubricd lint --fix` does."""
        with identified(self._dependencies, request) as team:
            body = await charged_body(self._dependencies, request, team)
            work = partial(_fix, body, self._dependencies)
            return _json(await self._threads.run(team.name, work, small=len(body) <= _SMALL_BYTES))


def _read(body: bytes, dependencies: Dependencies) -> wire.ReadRubric:
    wanted = parse_read_request(body)
    try:
        found = pasted.read(wanted.text, wanted.pitfalls)
    except RowError as error:
        return wire.ReadRubric(format=None, criteria=[], refused=str(error))
    item, most = found.item, dependencies.settings.max_criteria
    criteria = [] if item.rubric is None else item.rubric.criteria
    if len(criteria) > most:
        return wire.ReadRubric(
            format=None, criteria=[], refused=f"{len(criteria)} criteria; this service takes at most {most} a rubric"
        )
    return wire.ReadRubric(
        format=found.format,
        criteria=criteria,
        prompt=item.prompt if found.has_prompt else None,
        responses=item.responses or ([] if item.response is None else [item.response]),
        reference=item.reference,
        notes=list(found.notes),
    )


def _fix(body: bytes, dependencies: Dependencies) -> wire.FixResponse:
    rubric = parse_fix_request(body, dependencies.settings).rubric
    sent = [one.model_dump(mode="json", exclude_defaults=True, by_alias=True) for one in rubric.criteria]
    kept, fixes = fixed(sent)
    codes: dict[int, list[str]] = {}
    for fix in fixes:
        codes.setdefault(fix.place, []).append(fix.code)
    left = iter(kept)
    now = [None if "duplicate_text" in codes.get(place, ()) else next(left) for place in range(len(sent))]
    return wire.FixResponse(
        fixes=[wire.Fix(index=place, codes=found, criterion=now[place]) for place, found in sorted(codes.items())]
    )


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(exclude_none=True, by_alias=True), media_type="application/json")
