"""From an HTTP answer to a wire model or a typed error. Pure.

Always true: an answer, or a line of a streamed one, is used whole or not at all. Strict types, finite numbers, the
results and criteria that were asked for in the order they were asked for (streamed results come in any), and the judge
that was expected; anything else is a ContractError.
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
# Statuses that one item may have brought upon all: a body too large, a request not valid.
_ABOUT_ITEMS = (413, 422)


def read(response: httpx.Response, kind: type[_Answer]) -> _Answer:
    """The answer as `kind`. Raises Refused for a problem, ContractError for anything that is not `kind`."""
    request_id = response.headers.get("x-request-id")
    if response.status_code != 200:
        raise refusal(response)
    return _parsed(response.content, kind, request_id)


def _parsed(content: bytes, kind: type[_Answer], request_id: str | None) -> _Answer:
    try:
        return kind.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise ContractError(_first_slip(error, kind), request_id=request_id) from None


def refusal(response: httpx.Response) -> RubricdClientError:
    """The error of an answer other than 200. A problem document says it all; a proxy's page only has its status."""
    status, request_id = response.status_code, response.headers.get("x-request-id")
    facts: dict[str, Any] = {"request_id": request_id, "retry_after_s": _retry_after_s(response)}
    try:
        problem = wire.Problem.model_validate_json(response.content)
    except ValidationError:
        if status < 400 or status in (404, 405):
            said = f"{response.request.url.path} answered {status}: there is no rubric judge at this address"
            return ContractError(said, request_id=request_id)
        said = f"answered {status} without a problem document"
        if status == 500:  # not the service's own, which are documents: a proxy's whose replica died under the request
            return Unavailable(said, status=status, **facts)
        return refused(None, status, said, **facts)
    code = problem.type.removeprefix(_TYPE) if problem.type.startswith(_TYPE) else None
    facts["request_id"] = request_id or problem.request_id
    errors = tuple((tuple(place.loc), place.msg) for place in problem.errors)
    return refused(code, status, problem.detail or problem.title, errors=errors, **facts)


def check(request: wire.ScoreRequest, answer: wire.ScoreResponse) -> None:
    """Raises ContractError unless `answer` answers `request`: all of it, in order, by the judge that was asked."""
    try:
        _check_judge(request, answer.judge)
        asked = _asked(request)
        if len(asked) != len(answer.results):
            raise ContractError(f"asked for {len(asked)} results, got {len(answer.results)}")
        for place, ((item, id), result) in enumerate(zip(asked, answer.results, strict=True)):
            _check_result(request, item, id, result, f"result {place}")
    except ContractError as error:
        error.request_id = answer.id
        raise


class Lines:
    """A streamed answer to `request`, a line at a time. `response` has its status and headers, no body yet.

    Raises what the response is refused with, ContractError where it is not streamed.
    """

    def __init__(self, request: wire.ScoreRequest, response: httpx.Response) -> None:
        if response.status_code != 200:
            raise refusal(response)
        self._request = request
        self._asked = _asked(request)
        self._id = response.headers.get("x-request-id")
        self._seen: set[int] = set()
        self.ended = False
        if not response.headers.get("content-type", "").startswith(NDJSON):
            raise ContractError("asked for an answer in lines, got another media type", request_id=self._id)

    def read(self, line: bytes) -> wire.StreamedResult | None:
        """The result in a line; None where it is the last line, which comes when every result has come."""
        try:
            if self.ended:
                raise ContractError("a line came after the last one")
            if len(self._seen) == len(self._asked):
                _check_judge(self._request, _parsed(line, wire.StreamEnd, self._id).judge)
                self.ended = True
                return None
            result = _parsed(line, wire.StreamedResult, self._id)
            self._check(result)
        except ContractError as error:
            error.request_id = self._id
            raise
        self._seen.add(result.index)
        return result

    def _check(self, result: wire.StreamedResult) -> None:
        if result.index >= len(self._asked):
            raise ContractError(f"asked for {len(self._asked)} results, got number {result.index}")
        if result.index in self._seen:
            raise ContractError(f"result {result.index} came twice")
        _check_result(self._request, *self._asked[result.index], result, f"result {result.index}")


def _asked(request: wire.ScoreRequest) -> list[tuple[wire.Item, str]]:
    """What is asked for: each result's item and id."""
    return [(item, id) for index, item in enumerate(request.items) for id in item.result_ids(index)]


def _check_judge(request: wire.ScoreRequest, judge: wire.Judge) -> None:
    if request.expect_judge is not None and judge.fingerprint != request.expect_judge:
        raise ContractError(f"expected judge {request.expect_judge}, was answered by {judge.fingerprint}")
    if (judge.mode, judge.layout) != (request.mode, request.layout):
        raise ContractError(
            f"asked in mode {request.mode}, layout {request.layout}; answered in {judge.mode}, {judge.layout}"
        )


def _check_result(request: wire.ScoreRequest, item: wire.Item, id: str, result: wire.Result, place: str) -> None:
    if result.id != id:
        raise ContractError(f"{place} is another item's")
    if result.score is not None and result.coverage < request.min_coverage - _SLACK:
        raise ContractError(f"{place} has a score although its coverage is below `min_coverage`")
    if request.mode in ("implicit", "likert"):
        _check_rating(result, place)
        return
    if item.rubric is not None and [criterion.id for criterion in result.criteria] != list(item.rubric.ids()):
        raise ContractError(f"{place} has other criteria than its rubric")
    for criterion in result.criteria:
        if (criterion.met is not None) != (criterion.status == "ok"):
            raise ContractError(f"{place} has a criterion whose `met` and `status` disagree")


def _check_rating(result: wire.Result, place: str) -> None:
    """A rating judges the response as a whole: one entry `rating`, which is met or not met in no case."""
    if [criterion.id for criterion in result.criteria] != ["rating"] or result.criteria[0].met is not None:
        raise ContractError(f"{place} is a rating with other criteria than its one entry `rating`")
    rated = result.criteria[0].status == "ok"
    if rated != (result.score is not None) or rated != (result.rating is not None):
        raise ContractError(f"{place} is a rating whose `score`, `rating` and `status` disagree")


def relocated(error: RubricdClientError, places: Sequence[int]) -> RubricdClientError:
    """Let a refusal's locations count in the caller's list, whose items at `places` made up the request."""
    if isinstance(error, Refused):
        error.errors = tuple((_relocated(loc, places), msg) for loc, msg in error.errors)
    return error


def blamed(error: RubricdClientError, items: int) -> frozenset[int] | None:
    """The places of the items that a refusal of so many blames; none where it does not say which; None where fewer
    items would fare no better."""
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


def only(error: RubricdClientError, place: int) -> RubricdClientError:
    """What a refusal says of the item at `place` of the caller's list."""
    if not isinstance(error, Refused):
        return error
    own = tuple(one for one in error.errors if _item_at(one[0]) == place)
    told = type(error)(
        str(error.args[0]), code=error.code, status=error.status, errors=own, request_id=error.request_id
    )
    told.attempts = error.attempts
    return told


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


def _first_slip(error: ValidationError, kind: type[BaseModel]) -> str:
    slip = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, slip["loc"])) or "body"
    return f"the answer is not a {kind.__name__}: {place}: {slip['msg']}"


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds; a date is not read, for it would need the two clocks to agree."""
    said = response.headers.get("retry-after", "").strip()
    return float(said) if _SECONDS.fullmatch(said) else None
