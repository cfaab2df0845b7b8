"""Everything that can go wrong between a training job and its judge, as one tree. Imports nothing.

    RubricdClientError
    ├── Refused                the service answered, and said no
    │   ├── InvalidRequest       it cannot be served as written; `errors` says where
    │   ├── BodyTooLarge
    │   ├── Unauthorized         no key, or none that is known
    │   ├── Forbidden            the key is known, and may not ask so
    │   ├── JudgeMismatch        `expect_judge` names another judge
    │   ├── KeyReused            the `Idempotency-Key` came with another request before
    │   ├── StillRunning         the request of this `Idempotency-Key` is being answered      may be retried
    │   ├── QuotaExceeded        the team has used its share               may be retried
    │   ├── Overloaded           the service's queues are full             may be retried
    │   ├── Unavailable          no judge: loading, draining or dead       may be retried
    │   └── InternalError        a defect of the service
    ├── TransportError         no whole answer came                        may be retried
    │   ├── ConnectFailed
    │   ├── AnswerTimedOut
    │   └── ConnectionBroken
    ├── DeadlineExceeded       the caller's time is used up
    ├── ContractError          the answer is not what the contract says, so no part of it is used
    └── DataError              a file does not hold what can be scored

Always true: an error stands where a score would stand and carries no score. `code` is stable and public; `retryable`
says whether the same call may succeed later.
"""

from typing import Any

Place = tuple[tuple[str | int, ...], str]


class RubricdClientError(Exception):
    """Root of the tree. `request_id` is the service's; `retry_after_s` is how long it asked to be left alone;
    `attempts` is how often the call was made."""

    code: str = "client_error"
    retryable: bool = False

    def __init__(self, detail: str, *, request_id: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.attempts = 0


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

    def __str__(self) -> str:
        places = [f"{'.'.join(map(str, loc))}: {msg}" for loc, msg in self.errors[:3]]
        more = [f"and {len(self.errors) - 3} more"] if len(self.errors) > 3 else []
        return "; ".join([str(self.args[0]), *places, *more])


class InvalidRequest(Refused):
    code = "invalid_request"


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


class InternalError(Refused):
    code = "internal"


class TransportError(RubricdClientError):
    """No whole answer came. Asking again is safe: a judgement has no side effect."""

    code = "transport"
    retryable = True


class ConnectFailed(TransportError):
    code = "connect_failed"


class AnswerTimedOut(TransportError):
    code = "answer_timed_out"


class ConnectionBroken(TransportError):
    code = "connection_broken"


class DeadlineExceeded(RubricdClientError):
    code = "deadline_exceeded"


class ContractError(RubricdClientError):
    code = "contract"


class DataError(RubricdClientError, ValueError):
    """A file does not hold what can be scored. The message names the file, the line or row, and the field."""

    code = "data"


_BY_CODE: dict[str, type[Refused]] = {
    kind.code: kind
    for kind in (
        InvalidRequest,
        BodyTooLarge,
        Unauthorized,
        Forbidden,
        JudgeMismatch,
        KeyReused,
        StillRunning,
        QuotaExceeded,
        Overloaded,
        Unavailable,
        InternalError,
    )
}
_BY_STATUS: dict[int, type[Refused]] = {
    401: Unauthorized,
    403: Forbidden,
    413: BodyTooLarge,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def refused(code: str | None, status: int, detail: str, **facts: Any) -> Refused:
    """The error of a refusal: by its code; by its status where the code is missing or newer than this client."""
    kind = _BY_CODE.get(code or "") or _BY_STATUS.get(status)
    if kind is None:
        kind = InternalError if status >= 500 else InvalidRequest
    return kind(detail, code=code, status=status, **facts)
