"""Turns an HTTP answer into a wire model or a typed error, and checks that it answers its request.

Guarantees: an answer, or a line of a streamed one, is used whole or not at all. It has strict types, finite numbers,
distinct keys, the requested results and criteria in the requested order (streamed results come in any order), and the
expected judge; anything else is a ContractError.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from trainer_client import wire
from trainer_client.errors import ContractError, Refused, RubricdClientError, Unavailable, refused

_Answer = TypeVar("_Answer", bound=wire.Answer)

NDJSON = "application/x-ndjson"
_TYPE = "urn:rubricd:problem:"
_SECONDS = re.compile(r"\d{1,9}(\.\d+)?")
_SLACK = 1e-9
_ROUTE_TWICE = re.compile(r"(/v1(?:/.*|)|/score)(?=/v1/)")
"""A route of the service that the caller's url already had."""
# Statuses that one item may cause for the whole request: a body that is too large, a request that is not valid.
_ABOUT_ITEMS = (413, 422)


def read(response: httpx.Response, kind: type[_Answer]) -> _Answer:
    """The answer as `kind`. Raises Refused for a problem, ContractError for anything that is not `kind`."""
    request_id = response.headers.get("x-request-id")
    if response.status_code != 200:
        raise refusal(response)
    return _parsed(response.content, kind, request_id)


def _parsed(content: bytes, kind: type[_Answer], request_id: str | None) -> _Answer:
    try:
        wire.check_keys(content)  # pydantic would take the last one
        return kind.model_validate_json(content, strict=True)
    except wire.JsonFault as fault:
        place = ".".join(map(str, fault.path)) or "body"
        raise ContractError(f"the answer is not a {kind.__name__}: {place}: {fault}", request_id=request_id) from None
    except ValidationError as error:
        raise ContractError(_first_error(error, kind), request_id=request_id) from None


def read_rubric(response: httpx.Response, ref: str) -> wire.Rubric:
    """The stored rubric that `ref` names. Raises Refused for a problem, ContractError for anything else."""
    if response.status_code != 200:
        raise refusal(response)
    try:
        rubric = wire.Rubric.model_validate(wire.read_json(response.content))
    except (wire.JsonFault, ValidationError):
        rubric = None
    if rubric is None or rubric.ref != ref or not rubric.criteria:
        raise ContractError(f"the answer is not the rubric {ref}", request_id=response.headers.get("x-request-id"))
    return rubric


def refusal(response: httpx.Response) -> RubricdClientError:
    """The error of an answer other than 200. A problem document names its code; a proxy's page only has a status."""
    status, request_id = response.status_code, response.headers.get("x-request-id")
    facts: dict[str, Any] = {"request_id": request_id, "retry_after_s": _retry_after_s(response)}
    try:
        problem = wire.Problem.model_validate_json(response.content)
    except ValidationError:
        if (where := _redirected_to(response)) is not None:
            return ContractError(
                f"answered {status}: it sends to {where}; write that as its url", request_id=request_id
            )
        if status < 400 or status in (404, 405):
            detail = f"{response.request.url.path} answered {status}: there is no rubric judge at this address"
            return ContractError(f"{detail}; {_remedy(response.request.url.path)}", request_id=request_id)
        detail = f"answered {status} without a problem document"
        if status == 500:  # The service's own errors are documents: this is a proxy's, whose replica died meanwhile.
            return Unavailable(detail, status=status, **facts)
        return refused(None, status, detail, **facts)
    code = problem.type.removeprefix(_TYPE) if problem.type.startswith(_TYPE) else None
    facts["request_id"] = request_id or problem.request_id
    errors = tuple((tuple(place.loc), place.msg) for place in problem.errors)
    return refused(code, status, problem.detail or problem.title, errors=errors, **facts)


def _redirected_to(response: httpx.Response) -> str | None:
    """Another server that an answer sends to. It is not followed: the key would go where nobody has looked, and a POST
    would become a GET."""
    if not response.has_redirect_location:
        return None
    asked = response.request.url
    target = asked.join(response.headers["location"])
    same = (target.scheme, target.netloc) == (asked.scheme, asked.netloc)
    return None if same else f"{target.scheme}://{target.netloc.decode()}"


def _remedy(path: str) -> str:
    """What to change in an address at which the service's own path led nowhere."""
    extra = _ROUTE_TWICE.search(path)
    if extra is not None:
        return f"leave `{extra[1]}` off its url"
    return "write the url of the service alone, like http://host:port"


def check(request: wire.ScoreRequest, answer: wire.ScoreResponse) -> None:
    """Raises ContractError unless `answer` answers `request`: all of it, in order, by the expected judge."""
    try:
        _check_judge(request, answer.judge)
        expected = _expected(request)
        if len(expected) != len(answer.results):
            raise ContractError(f"requested {len(expected)} results, got {len(answer.results)}")
        for place, ((item, id), result) in enumerate(zip(expected, answer.results, strict=True)):
            _check_result(request, item, id, result, f"result {place}")
    except ContractError as error:
        error.request_id = answer.id
        raise


class StreamReader:
    """Reads a streamed answer to `request`, a line at a time. `response` has its status and headers, no body yet.

    Raises the error of a refusal, and ContractError where the answer is not streamed.
    """

    def __init__(self, request: wire.ScoreRequest, response: httpx.Response) -> None:
        if response.status_code != 200:
            raise refusal(response)
        self._request = request
        self._expected = _expected(request)
        self._id = response.headers.get("x-request-id")
        self._seen: set[int] = set()
        self.ended = False
        self.usage: wire.Usage | None = None
        if not response.headers.get("content-type", "").startswith(NDJSON):
            raise ContractError("requested an answer in lines, got another media type", request_id=self._id)

    def read(self, line: bytes) -> wire.StreamedResult | None:
        """Returns the result in a line; None for the last line, which comes after every result."""
        try:
            if self.ended:
                raise ContractError("a line came after the last one")
            if len(self._seen) == len(self._expected):
                end = _parsed(line, wire.StreamEnd, self._id)
                _check_judge(self._request, end.judge)
                self.ended, self.usage = True, end.usage
                return None
            result = _parsed(line, wire.StreamedResult, self._id)
            self._check(result)
        except ContractError as error:
            error.request_id = self._id
            raise
        self._seen.add(result.index)
        return result

    def _check(self, result: wire.StreamedResult) -> None:
        if result.index >= len(self._expected):
            raise ContractError(f"requested {len(self._expected)} results, got number {result.index}")
        if result.index in self._seen:
            raise ContractError(f"result {result.index} came twice")
        _check_result(self._request, *self._expected[result.index], result, f"result {result.index}")


def _expected(request: wire.ScoreRequest) -> list[tuple[wire.Item, str]]:
    """Item and id of each requested result."""
    return [(item, id) for index, item in enumerate(request.items) for id in item.result_ids(index)]


def _check_judge(request: wire.ScoreRequest, judge: wire.Judge) -> None:
    if request.expect_judge is not None and judge.fingerprint != request.expect_judge:
        raise ContractError(f"expected judge {request.expect_judge}, and {judge.fingerprint} answered")
    if request.judge not in (None, judge.name):
        raise ContractError(f"requested judge `{request.judge}`, and {judge.name or judge.model} answered")
    if not is_asked(request, judge):
        raise ContractError(
            f"requested {asked_in(request)}; answered in {judge.mode}, {judge.layout}, {judge.prompt or 'no prompt'}"
        )


def is_asked(request: wire.ScoreRequest, judge: wire.Judge) -> bool:
    """Whether the judge is asked as the request says; one without a prompt takes the default."""
    same_prompt = request.judge_prompt in (None, judge.prompt)
    return same_prompt and (judge.mode, judge.layout, judge.batch) == (request.mode, request.layout, request.batch)


def asked_in(request: wire.ScoreRequest) -> str:
    prompt = "" if request.judge_prompt is None else f", prompt {request.judge_prompt}"
    batch = "" if request.batch is None else f", batch {request.batch}"
    return f"mode {request.mode}, layout {request.layout}{prompt}{batch}"


def _check_result(request: wire.ScoreRequest, item: wire.Item, id: str, result: wire.Result, place: str) -> None:
    if result.id != id:
        raise ContractError(f"{place} is another item's")
    if not _is_share(result.coverage):
        raise ContractError(f"{place} has a `coverage` that is no share")
    if result.score is not None and result.coverage < request.min_coverage - _SLACK:
        raise ContractError(f"{place} has a score although its coverage is below `min_coverage`")
    if result.score is not None and result.status != "ok":
        _check_partial(request, result, result.score, place)
    if request.mode in ("implicit", "likert"):
        _check_rating(result, place)
        return
    rubric = item.rubric
    if rubric is not None and rubric.criteria and [one.id for one in result.criteria] != list(rubric.ids()):
        raise ContractError(f"{place} has other criteria than its rubric")
    for criterion in result.criteria:
        if (criterion.met is not None) != (criterion.status == "ok"):
            raise ContractError(f"{place} has a criterion whose `met` and `status` disagree")
        if criterion.p is not None and not _is_share(criterion.p):
            raise ContractError(f"{place} has a criterion whose `p` is no probability")


def _is_share(value: float) -> bool:
    return -_SLACK <= value <= 1.0 + _SLACK


def _check_partial(request: wire.ScoreRequest, result: wire.Result, score: float, place: str) -> None:
    """Checks the score of a rubric that was judged in part."""
    if request.unjudged is None or result.status != "partial" or result.score_bounds is None:
        raise ContractError(f"{place} has a score although not every counted criterion was judged")
    low, high = result.score_bounds
    if score != low if request.unjudged == "lower" else not low <= score <= high:
        raise ContractError(f"{place} has another score than `unjudged` says")


def _check_rating(result: wire.Result, place: str) -> None:
    """Checks the result of a rating mode: its one entry is `rating`, and `met` is null."""
    if [criterion.id for criterion in result.criteria] != ["rating"] or result.criteria[0].met is not None:
        raise ContractError(f"{place} is a rating with other criteria than its one entry `rating`")
    rated = result.criteria[0].status == "ok"
    if rated != (result.score is not None) or rated != (result.rating is not None):
        raise ContractError(f"{place} is a rating whose `score`, `rating` and `status` disagree")


def with_places(error: RubricdClientError, places: Sequence[int]) -> RubricdClientError:
    """Changes a refusal's locations to those of the caller's list, whose items at `places` made up the request."""
    if isinstance(error, Refused):
        error.errors = tuple((_relocated(loc, places), msg) for loc, msg in error.errors)
    return error


def items_at_fault(error: RubricdClientError, items: int) -> frozenset[int] | None:
    """The places of the items that a refusal of `items` items names as its cause; empty where it names none; None where
    fewer items would be refused as well."""
    if not isinstance(error, Refused) or error.status not in _ABOUT_ITEMS or items < 2:
        return None
    found = set()
    for loc, _ in error.errors:
        place = _item_at(loc)
        if place is not None and place < items:
            found.add(place)
        elif loc and loc[-1] != "items":
            return None
    return frozenset(found)


def restricted_to(error: RubricdClientError, place: int) -> RubricdClientError:
    """The part of a refusal that is about the item at `place` of the caller's list."""
    if not isinstance(error, Refused):
        return error
    own = tuple(one for one in error.errors if _item_at(one[0]) == place)
    part = type(error)(
        str(error.args[0]), code=error.code, status=error.status, errors=own, request_id=error.request_id
    )
    part.attempts = error.attempts
    return part


def _item_at(loc: tuple[str | int, ...]) -> int | None:
    """The item that a location in a request is about."""
    index = loc[loc.index("items") + 1] if "items" in loc[:-1] else None
    return index if isinstance(index, int) and index >= 0 else None


def _relocated(loc: tuple[str | int, ...], places: Sequence[int]) -> tuple[str | int, ...]:
    index = _item_at(loc)
    if index is None or index >= len(places):
        return loc
    at = loc.index("items") + 1
    return (*loc[:at], places[index], *loc[at + 1 :])


def _first_error(error: ValidationError, kind: type[BaseModel]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"])) or "body"
    return f"the answer is not a {kind.__name__}: {place}: {first['msg']}"


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds. A date is ignored, because it would need two clocks that agree."""
    value = response.headers.get("retry-after", "").strip()
    return float(value) if _SECONDS.fullmatch(value) else None
