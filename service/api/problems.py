"""Writes errors as RFC 9457 problem documents, with the table from errors to HTTP statuses.

Guarantees: a problem document holds no text of the request: places are field names of the contract and numbers, and
messages are the service's own.
"""

import difflib
import functools
import math
import re
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.errors import (
    BodyTooLarge,
    Forbidden,
    InvalidRequest,
    JudgeMismatch,
    KeyReused,
    NotJudged,
    Overloaded,
    QuotaExceeded,
    RubricdError,
    RubricNotFound,
    StillRunning,
    Unauthorized,
    Unavailable,
    UnknownRubric,
)
from trainer_client import wire

STATUS: Mapping[type[RubricdError], int] = {
    InvalidRequest: 422,
    UnknownRubric: 422,
    RubricNotFound: 404,
    BodyTooLarge: 413,
    Unauthorized: 401,
    Forbidden: 403,
    JudgeMismatch: 409,
    StillRunning: 409,
    KeyReused: 422,
    QuotaExceeded: 429,
    Overloaded: 503,
    Unavailable: 503,
    NotJudged: 503,
}

TITLES: Mapping[int, str] = {
    401: "No or unknown key",
    403: "Not allowed",
    404: "No such route or rubric",
    405: "Method not allowed",
    409: "Not now, or not this judge",
    413: "Body too large",
    422: "Request not valid",
    429: "The team's quota is used up",
    500: "Internal error",
    503: "The judge cannot take this now",
}

Loc = tuple[str | int, ...]

_MOST_FINDINGS = 2_000
_NAME = re.compile(r"(?!rbd_)[A-Za-z0-9_.-]{1,64}")  # not what may be a key


def problem(
    *,
    code: str,
    status: int,
    detail: str,
    request_id: str,
    errors: Iterable[tuple[Loc, str]] = (),
    retry_after_s: float | None = None,
) -> Response:
    body = wire.Problem(
        type=f"urn:rubricd:problem:{code}",
        title=TITLES.get(status, "Error"),
        status=status,
        detail=detail,
        request_id=request_id,
        errors=[wire.Place(loc=list(loc), msg=msg) for loc, msg in errors],
    )
    headers = {} if retry_after_s is None else {"Retry-After": str(math.ceil(retry_after_s))}
    return Response(body.model_dump_json(), status, headers, media_type="application/problem+json")


def of_error(error: RubricdError, request_id: str) -> Response:
    """The problem document of any error of the tree; one that the table does not name is a 500."""
    status = STATUS.get(type(error), 500)
    return problem(
        code=error.code if status != 500 else "internal",
        status=status,
        detail=str(error) if status != 500 else "the service failed; its log has the request id",
        request_id=request_id,
        errors=error.errors if isinstance(error, InvalidRequest) else (),
        retry_after_s=getattr(error, "retry_after_s", None),
    )


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RubricdError):
        raise error
    return of_error(error, str(request.state.request_id))


async def _on_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    title = TITLES.get(status, "Error")
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "http")
    return problem(code=code, status=status, detail=title, request_id=str(request.state.request_id))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _on_bug(request: Request, error: Exception) -> Response:
    """This runs outside the middleware that adds the request's id, so these headers are added here."""
    response = of_error(RubricdError(), str(request.state.request_id))
    response.headers["X-Request-Id"] = str(request.state.request_id)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    RubricdError: _on_error,
    HTTPException: _on_http,
    ClientDisconnect: _on_disconnect,
    Exception: _on_bug,
}


def may_be_named(name: str) -> bool:
    """Whether a field of the caller's own may stand in a place: it is a name and no text, and may be no key."""
    return _NAME.fullmatch(name) is not None


def invalid(error: ValidationError, names: Collection[str] = ()) -> InvalidRequest:
    """Pydantic's findings as ours, at most 20, without a word of the input. `names` are fields, besides those of the
    contract, that a place may name."""
    if error.error_count() > _MOST_FINDINGS:  # pydantic lists all of them or none
        return InvalidRequest(
            f"{error.error_count()} places of the body are not as the contract says: too many to list"
        )
    findings = error.errors(include_url=False, include_input=False, include_context=False)
    known = FIELDS.union(names)
    return _misplaced(len(findings), [_place(finding, known) for finding in findings[:20]])


def not_json(fault: wire.JsonFault, names: Collection[str] = ()) -> InvalidRequest:
    """What the reader of JSON found: at a place, or about the body as a whole."""
    if fault.path:
        return _misplaced(1, [(known_place(fault.path, names), str(fault))])
    return InvalidRequest(f"the body is {fault} (UTF-8, RFC 8259, at most about 200 levels)", (((), str(fault)),))


def known_place(place: Loc, names: Collection[str] = ()) -> Loc:
    """The place with the keys left out that are no fields."""
    return _known(place, FIELDS.union(names))


def _misplaced(count: int, places: Sequence[tuple[Loc, str]]) -> InvalidRequest:
    return InvalidRequest(f"{count} place(s) of the body are not as the contract says; see `errors`", tuple(places))


def _place(finding: Mapping[str, Any], fields: Collection[str]) -> tuple[Loc, str]:
    kind, loc = finding["type"], wire.without_kind(finding["loc"])
    if kind == "extra_forbidden":
        name, message = _unknown(str(loc[-1]))
        return (*_known(loc[:-1], fields), name), message
    return _known(loc, fields), _MESSAGES.get(kind) or _own_words(finding["msg"])


# Pydantic's own messages for these repeat the input.
_MESSAGES = {
    "union_tag_invalid": "unknown `rule`; known: math_verify, regex, contains, choice, length, json_schema, exact",
    "union_tag_not_found": "a verifier needs a `rule`",
    "string_pattern_mismatch": "give one letter, A to Z",
}


def _own_words(message: str) -> str:
    return message.removeprefix("Value error, ")


def _unknown(name: str) -> tuple[str, str]:
    """A place and a message for an unknown field: named where its name is short and plain, with the nearest field."""
    if _NAME.fullmatch(name) is None:
        return "(unknown field)", "unknown field; leave it out"
    if name in FIELDS:
        return name, "no field of this place; leave it out"
    near = difflib.get_close_matches(name, FIELDS, n=1, cutoff=0.7)
    return name, f"unknown field; did you mean `{near[0]}`?" if near else "unknown field; leave it out"


def _known(loc: Iterable[str | int], fields: Collection[str]) -> Loc:
    return tuple(part if isinstance(part, int) or part in fields else "(key)" for part in loc)


@functools.cache
def names_of(model: type[BaseModel]) -> frozenset[str]:
    """Names and aliases of a model's fields and of all models inside it."""
    return frozenset(_fields(model, set()))


def _fields(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[str]:
    seen.add(model)
    names: set[str] = set()
    for name, field in model.model_fields.items():
        names |= {name, field.alias or name}
        inner = list(_models(field.annotation))
        for other in inner:
            if other not in seen:
                names |= _fields(other, seen)
    return names


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


_RULES = {"math_verify", "regex", "contains", "choice", "length", "json_schema", "exact"}
_ACCEPTED = {"category", "criterion", "title", "description", "weight"}
FIELDS = names_of(wire.ScoreRequest) | names_of(wire.CompareRequest) | names_of(wire.LintRequest) | _RULES | _ACCEPTED
