"""Makes the OpenAPI document: FastAPI's routes with the wire models as bodies, since routes parse bodies themselves."""

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from service.api.problems import TITLES
from trainer_client import wire

_REF = "#/components/schemas/{model}"
_BODIES: dict[tuple[str, str], tuple[type[BaseModel] | None, type[BaseModel] | None, tuple[int, ...]]] = {
    ("/v1/score", "post"): (wire.ScoreRequest, wire.ScoreResponse, (401, 403, 409, 413, 422, 429, 503)),
    ("/v1/compare", "post"): (wire.CompareRequest, wire.CompareResponse, (401, 403, 409, 413, 422, 429, 503)),
    ("/v1/rubrics/lint", "post"): (wire.LintRequest, wire.LintResponse, (401, 413, 422, 429)),
    ("/v1/rubrics/read", "post"): (wire.ReadRequest, wire.ReadRubric, (401, 413, 422, 429)),
    ("/v1/rubrics/fix", "post"): (wire.FixRequest, wire.FixResponse, (401, 413, 422, 429)),
    ("/v1/rubrics", "get"): (None, wire.StoredVersions, (401, 429, 503)),
    ("/v1/rubrics/{name}", "get"): (None, wire.StoredVersions, (401, 404, 422, 429, 503)),
    ("/v1/rubrics/{name}", "put"): (wire.Rubric, wire.PutRubric, (401, 403, 413, 422, 429, 503)),
    ("/v1/rubrics/{name}@{version}", "get"): (None, wire.Rubric, (401, 404, 422, 429, 503)),
    ("/v1/rubrics/{name}@{version}", "delete"): (None, None, (401, 404, 422, 429, 503)),
    ("/v1/judge", "get"): (None, wire.JudgeInfo, (401, 429, 503)),
    ("/v1/usage", "get"): (None, wire.TeamUsage, (401, 429)),
}
_KEY = {"team": {"type": "http", "scheme": "bearer", "description": "`rbd_…`; required where there is a teams file."}}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same bytes come back for the same body; 422 for another, 409 while the first is answered.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_LINES = {
    "schema": {"anyOf": [{"$ref": _REF.format(model=name)} for name in ("StreamedResult", "StreamEnd")]},
    "description": "One line for each result in the order of finishing, then one StreamEnd.",
}


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, made once for each app."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        for (path, method), (request, response, errors) in _BODIES.items():
            _describe(document["paths"][path][method], request, response, errors)
        for probe in ("/healthz", "/readyz"):
            _describe_probe(document["paths"][probe]["get"])
        _describe_score(document["paths"]["/v1/score"]["post"])
        document["paths"]["/v1/compare"]["post"]["parameters"] = [_IDEMPOTENCY]
        document["components"] = {"schemas": _schemas(), "securitySchemes": _KEY}
        app.openapi_schema = document
    return app.openapi_schema


def openapi_route(app: FastAPI) -> Callable[[Request], Awaitable[Response]]:
    """The route that answers with the document. It is written once for a path below which the service is: writing it
    takes as long as judging a request."""

    @functools.lru_cache(maxsize=2)
    def written(root_path: str) -> bytes:
        servers = {"servers": [{"url": root_path}]} if root_path else {}
        return json.dumps({**openapi(app), **servers}, ensure_ascii=False).encode()

    async def document(request: Request) -> Response:
        return Response(written(request.scope.get("root_path", "").rstrip("/")), media_type="application/json")

    return document


def _describe(
    operation: dict[str, Any],
    request: type[BaseModel] | None,
    response: type[BaseModel] | None,
    errors: tuple[int, ...],
) -> None:
    """Without a `response` the answer is 204, without a body."""
    operation["security"] = [{}, {"team": []}]
    if request is not None:
        operation["requestBody"] = {"required": True, "content": _content("application/json", request)}
    answer: dict[str, Any] = {"204": {"description": "Done"}}
    if response is not None:
        answer = {"200": {"description": "OK", "content": _content("application/json", response)}}
    operation["responses"] = {
        **answer,
        **{str(status): _problem(status) for status in errors},
    }


def _describe_score(operation: dict[str, Any]) -> None:
    operation["parameters"] = [_IDEMPOTENCY]
    operation["responses"]["200"]["content"]["application/x-ndjson"] = _LINES


def _describe_probe(operation: dict[str, Any]) -> None:
    operation["responses"]["503"] = _problem(503)


def _problem(status: int) -> dict[str, Any]:
    return {"description": TITLES[status], "content": _content("application/problem+json", wire.Problem)}


def _content(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def _schemas() -> dict[str, Any]:
    requests: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (wire.ScoreRequest, "validation"),
        (wire.CompareRequest, "validation"),
        (wire.LintRequest, "validation"),
        (wire.ReadRequest, "validation"),
        (wire.FixRequest, "validation"),
    ]
    responses: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "serialization")
        for model in (
            wire.ScoreResponse,
            wire.CompareResponse,
            wire.StreamedResult,
            wire.StreamEnd,
            wire.LintResponse,
            wire.ReadRubric,
            wire.FixResponse,
            wire.JudgeInfo,
            wire.TeamUsage,
            wire.StoredVersions,
            wire.PutRubric,
            wire.Problem,
        )
    ]
    _, document = models_json_schema([*requests, *responses], ref_template=_REF)
    return dict(sorted(document["$defs"].items()))
