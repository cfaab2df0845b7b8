"""Everything that can go wrong, as one tree. Imports nothing, so every floor may raise from it.

    RubricdError
    ├── RequestError             the whole request is refused, before any judging
    │   ├── InvalidRequest         it cannot be understood or served as asked
    │   ├── BodyTooLarge
    │   ├── Unauthorized           no key, or none that is known
    │   ├── Forbidden              this team may not ask so
    │   ├── JudgeMismatch          `expect_judge` names another judge
    │   ├── KeyReused              an `Idempotency-Key` came with another body before
    │   ├── StillRunning           the request of this `Idempotency-Key` is being answered; carries `retry_after_s`
    │   ├── QuotaExceeded          the team has used its share; carries `retry_after_s`
    │   ├── Overloaded             bounded queues are full; carries `retry_after_s`
    │   ├── Unavailable            no judge: loading, draining or dead
    │   └── NotJudged              the route's protocol knows numbers only, and there is none; may carry `retry_after_s`
    ├── JudgementError           one judgement has no verdict; ends as `criteria[].status`, never as a number
    │   ├── TimedOut  Crowded  TooLong  Unparseable  VerifierFailed  EngineFailed  Cancelled
    └── ConfigurationError       the service refuses to start, and says why

Only `api/problems.py` knows HTTP status numbers. Messages never carry text of a request.
"""

from typing import ClassVar


class RubricdError(Exception):
    """Root of the tree. `code` is stable and public; `retryable` says whether the same call may succeed later."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class RequestError(RubricdError):
    """The whole request is refused."""


class InvalidRequest(RequestError):
    """The request cannot be served as written. `errors` says where: pairs of a location and what to change."""

    code = "invalid_request"

    def __init__(self, detail: str, errors: tuple[tuple[tuple[str | int, ...], str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class BodyTooLarge(RequestError):
    code = "body_too_large"


class Unauthorized(RequestError):
    code = "unauthorized"


class Forbidden(RequestError):
    code = "forbidden"


class JudgeMismatch(RequestError):
    code = "judge_mismatch"


class KeyReused(RequestError):
    code = "idempotency_key_reused"


class Later(RequestError):
    """The same request may be served in `retry_after_s` seconds."""

    retryable = True

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class StillRunning(Later):
    code = "still_running"


class QuotaExceeded(Later):
    """`retry_after_s`: seconds until the team's quota allows it."""

    code = "quota_exceeded"


class Overloaded(Later):
    """The queue is full. `retry_after_s`: seconds until the measured drain rate makes room."""

    code = "overloaded"


class Unavailable(Later):
    """There is no judge to ask right now: it is loading, draining or dead."""

    code = "unavailable"


class NotJudged(RequestError):
    """Verdicts are missing, and who asks can only be told a number. `retry_after_s` where asking again may help."""

    code = "not_judged"

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class JudgementError(RubricdError):
    """One judgement has no verdict. `code` is the criterion's status on the wire."""


class TimedOut(JudgementError):
    code = "timeout"
    retryable = True


class SharedRequestRejected(JudgementError):
    """Whoever asked this first was refused at the door; asked again, it may be let in."""

    code = "overloaded"
    retryable = True


class TooLong(JudgementError):
    code = "too_long"


class Unparseable(JudgementError):
    code = "unparseable"


class VerifierFailed(JudgementError):
    code = "verifier_error"


class EngineFailed(JudgementError):
    code = "engine_error"
    retryable = True


class Cancelled(JudgementError):
    code = "cancelled"
    retryable = True


class ConfigurationError(RubricdError):
    code = "configuration"
