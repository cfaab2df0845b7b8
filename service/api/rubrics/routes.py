"""Serves the store of rubrics: `PUT`, `GET` and `DELETE /v1/rubrics/...`, each for the rubrics of the key's team.

Guarantees: a rubric is stored as the contract reads it, so that one that cannot be judged is refused when it is stored
and not when it is used. What is answered names the version; there is no route for a latest one.
"""

from dataclasses import asdict
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.api.bodies.parsing import parse_rubric
from service.api.bodies.worker_threads import WorkerThreads
from service.api.dependencies import Dependencies
from service.api.metering import charged_body, identified
from service.api.rubrics.stored import StoredRubrics
from service.errors import InvalidRequest, RubricNotFound
from service.rubric_store.store import Entry
from trainer_client import wire

_SMALL_BYTES = 16_384
_MAX_BYTES = 1_048_576
"""Of one rubric."""


class RubricRoutes:
    """One method for each route; app.py gives them to FastAPI."""

    def __init__(self, dependencies: Dependencies, threads: WorkerThreads, stored: StoredRubrics) -> None:
        self._dependencies = dependencies
        self._threads = threads
        self._stored = stored

    async def put(self, request: Request) -> Response:
        """Store a rubric under a name. Its version is a digest of its content: the same rubric has one version."""
        with identified(self._dependencies, request) as team:
            body = await charged_body(self._dependencies, request, team)
            name = _name(request)
            read = partial(_content, body, self._dependencies.settings.max_criteria)
            content = await self._threads.run(team.name, read, small=len(body) <= _SMALL_BYTES)
            entry, created = await self._dependencies.rubric_store.put(team.name, name, content)
            answer = wire.PutRubric(**_fields(entry), digest=wire.rubric_digest(content), created=created)
            return _json(answer.model_dump_json())

    async def versions(self, request: Request) -> Response:
        """List the versions of one rubric of the team, the newest first."""
        return await self._list(request, _name(request))

    async def everything(self, request: Request) -> Response:
        """List the versions of all rubrics of the team, the newest first."""
        return await self._list(request, None)

    async def get(self, request: Request) -> Response:
        """Return a stored version: its criteria, and its reference."""
        with identified(self._dependencies, request) as team:
            await self._dependencies.ledger.admit(team)
            rubric = await self._stored.rubric(team.name, _ref(request))
            if rubric is None:
                raise _not_found()
            return _json(rubric.model_dump_json(exclude_none=True, by_alias=True))

    async def remove(self, request: Request) -> Response:
        """Remove a stored version. Processes that have read it may know it until they end."""
        with identified(self._dependencies, request) as team:
            await self._dependencies.ledger.admit(team)
            ref = _ref(request)
            self._stored.forget(team.name, ref)
            if not await self._dependencies.rubric_store.remove(team.name, *wire.split_ref(ref)):
                raise _not_found()
            return Response(status_code=204)

    async def _list(self, request: Request, name: str | None) -> Response:
        with identified(self._dependencies, request) as team:
            await self._dependencies.ledger.admit(team)
            entries = await self._dependencies.rubric_store.entries(team.name)
            shown = [one for one in entries if name in (None, one.name)]
            if name is not None and not shown:
                raise _not_found()
            room = self._dependencies.room
            answer = wire.StoredVersions(
                versions=[wire.StoredVersion(**_fields(one)) for one in shown],
                stored=len(entries),
                stored_bytes=sum(one.bytes for one in entries),
                max_stored=room.versions,
                max_stored_bytes=room.bytes,
            )
            return _json(answer.model_dump_json())


def _content(body: bytes, max_criteria: int) -> bytes:
    rubric = parse_rubric(body, max_criteria)
    try:
        wire.check_storable(rubric)
    except ValueError as error:
        raise InvalidRequest(str(error), ((("criteria",), str(error)),)) from None
    content = wire.rubric_content(rubric)
    if len(content) > _MAX_BYTES:
        raise InvalidRequest(f"a stored rubric has at most {_MAX_BYTES} bytes; this one has {len(content)}")
    return content


def _name(request: Request) -> str:
    """Raises InvalidRequest."""
    try:
        return wire.check_name(request.path_params["name"])
    except ValueError as error:
        raise InvalidRequest(str(error), ((("name",), str(error)),)) from None


def _ref(request: Request) -> str:
    """Raises InvalidRequest."""
    ref = f"{request.path_params['name']}@{request.path_params['version']}"
    try:
        wire.split_ref(ref)
    except ValueError as error:
        raise InvalidRequest(str(error), ((("ref",), str(error)),)) from None
    return ref


def _not_found() -> RubricNotFound:
    return RubricNotFound(
        "this team has stored no such rubric; GET /v1/rubrics lists what it has, PUT /v1/rubrics/NAME stores one"
    )


def _fields(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "ref": f"{entry.name}@{entry.version}"}


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
