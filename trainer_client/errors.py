"""Defines every error between a training job and its judge, as one tree. It imports nothing of the package.

    RubricdClientError
    ├── Refused                the service refused the request
    │   ├── InvalidRequest       it cannot be served as written; `errors` says where
    │   ├── UnknownRubric        a reference names no rubric that the team has stored
    │   ├── RubricNotFound       the team has stored no rubric under this name and version
    │   ├── BodyTooLarge
    │   ├── Unauthorized         no key, or none that is known
    │   ├── Forbidden            the key is known, and is not allowed this request
    │   ├── JudgeMismatch        `expect_judge` names another judge
    │   ├── KeyReused            the `Idempotency-Key` came with another request before
    │   ├── StillRunning         a request with this `Idempotency-Key` is under way           may be retried
    │   ├── QuotaExceeded        the team has used its quota               may be retried
    │   ├── Overloaded           the service's queues are full             may be retried
    │   ├── Unavailable          no judge: loading, draining or dead       may be retried
    │   ├── AnswerLost           a proxy lost the replica that had it      may be retried
    │   └── InternalError        a defect of the service
    ├── TransportError         no complete answer arrived                  may be retried
    │   ├── ConnectFailed
    │   ├── AnswerTimedOut
    │   └── ConnectionBroken
    ├── LostTwice              twice a connection broke while the judge had the request
    ├── Incomplete             an answer lacks verdicts for the moment     may be retried
    ├── DeadlineExceeded       the caller's time is used up
    ├── ContractError          the answer does not follow the contract, so no part of it is used
    └── DataError              a file holds something that cannot be scored

Guarantees: an error carries no score. `code` is stable and public; `retryable` tells whether the same call may succeed
later.
"""

from typing import Any

Place = tuple[tuple[str | int, ...], str]


class RubricdClientError(Exception):
    """Root of the tree. `request_id` is the service's; `retry_after_s` is the pause that the service asked for, in
    seconds; `attempts` counts how often the call was made; `elsewhere` tells that another address of the service may be
    asked at once."""

    code: str = "client_error"
    retryable: bool = False

    def __init__(self, detail: str, *, request_id: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.attempts = 0
        self.elsewhere = False

    def __str__(self) -> str:
        """The message, and the id under which the service's log has the request."""
        return self._said() if self.request_id is None else f"{self._said()} (request {self.request_id})"

    def _said(self) -> str:
        return super().__str__()


class Refused(RubricdClientError):
    """The service answered with a problem. `errors` are pairs of a location in the request and what to change."""

    code = "refused"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        status: int = 0,
        errors: tuple[Place, ...] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, request_id=request_id, retry_after_s=retry_after_s)
        self.code = code or type(self).code
        self.status = status
        self.errors = errors

    def _said(self) -> str:
        detail, shown = str(self.args[0]), self.errors[:3]
        places = [f"{'.'.join(map(str, loc))}: {msg}" for loc, msg in shown]
        more = [f"and {len(self.errors) - 3} more"] if len(self.errors) > 3 else []
        whole = [] if any(msg == detail for _, msg in shown) else [detail]  # which is said with its place
        return "; ".join([*whole, *places, *more])


class InvalidRequest(Refused):
    code = "invalid_request"


class UnknownRubric(Refused):
    code = "unknown_rubric"


class RubricNotFound(Refused):
    code = "rubric_not_found"


class BodyTooLarge(Refused):
    code = "body_too_large"


class Unauthorized(Refused):
    code = "unauthorized"


class Forbidden(Refused):
    code = "forbidden"


class JudgeMismatch(Refused):
    code = "judge_mismatch"


class KeyReused(Refused):
    code = "idempotency_key_reused"


class StillRunning(Refused):
    """`retry_after_s` is about this request alone; the service is not overloaded."""

    code = "still_running"
    retryable = True


class QuotaExceeded(Refused):
    code = "quota_exceeded"
    retryable = True


class Overloaded(Refused):
    code = "overloaded"
    retryable = True


class Unavailable(Refused):
    code = "unavailable"
    retryable = True


class AnswerLost(Refused):
    """A proxy says that a replica had the request and that the connection to it broke."""

    code = "answer_lost"
    retryable = True


class InternalError(Refused):
    code = "internal"


class TransportError(RubricdClientError):
    """No complete answer arrived. Another attempt is safe: a judgement has no side effect."""

    code = "transport"
    retryable = True


class ConnectFailed(TransportError):
    code = "connect_failed"


class AnswerTimedOut(TransportError):
    code = "answer_timed_out"


class ConnectionBroken(TransportError):
    """`began` says that a part of the answer had come: the judge had taken the request, and lived."""

    code = "connection_broken"
    began = False


class LostTwice(RubricdClientError):
    """Twice a connection broke while the judge had the request. It may be what ends the judge, so it is not sent
    again."""

    code = "lost_twice"


class Incomplete(RubricdClientError):
    """An answer arrived and lacks verdicts that another attempt may bring. A caller gets the answer, not this error."""

    code = "incomplete"
    retryable = True


class DeadlineExceeded(RubricdClientError):
    code = "deadline_exceeded"


class ContractError(RubricdClientError):
    code = "contract"


class DataError(RubricdClientError, ValueError):
    """A file holds something that cannot be scored. The message names the file, the line or row, and the field."""

    code = "data"


_BY_CODE: dict[str, type[Refused]] = {
    error_class.code: error_class
    for error_class in (
        InvalidRequest,
        UnknownRubric,
        RubricNotFound,
        BodyTooLarge,
        Unauthorized,
        Forbidden,
        JudgeMismatch,
        KeyReused,
        StillRunning,
        QuotaExceeded,
        Overloaded,
        Unavailable,
        AnswerLost,
        InternalError,
    )
}
_BY_STATUS: dict[int, type[Refused]] = {
    401: Unauthorized,
    403: Forbidden,
    408: Unavailable,  # of a proxy that did not get the whole request in time
    413: BodyTooLarge,
    429: Overloaded,
    **dict.fromkeys((502, 503, 504), Unavailable),
    **dict.fromkeys((520, 521, 522, 523, 524), Unavailable),  # Cloudflare's words for 502 and 504
}


def refused(code: str | None, status: int, detail: str, **details: Any) -> Refused:
    """The error of a refusal: by its code; by its status where the code is missing or newer than this client."""
    error_class = _BY_CODE.get(code or "") or _BY_STATUS.get(status)
    if error_class is None:
        error_class = InternalError if status >= 500 else InvalidRequest
    return error_class(detail, code=code, status=status, **details)
