"""The errors are one tree. This module imports nothing of the service, so that every floor may raise from it.

    RubricdError
    ├── RequestError             the whole request is refused, before anything is judged
    │   ├── InvalidRequest         it is malformed, or asks for something that is not served
    │   │   └── UnknownRubric        it refers to a rubric that its team has not stored
    │   ├── RubricNotFound         no such rubric is stored
    │   ├── BodyTooLarge
    │   ├── Unauthorized           no key came, or an unknown one
    │   ├── Forbidden              this team may not send such a request
    │   ├── JudgeMismatch          `expect_judge` names another judge
    │   ├── KeyReused              an `Idempotency-Key` came with another body before
    │   ├── StillRunning           the first request of this `Idempotency-Key` still runs; carries `retry_after_s`
    │   ├── QuotaExceeded          the team has used its quota; carries `retry_after_s`
    │   ├── Overloaded             the bounded queues are full; carries `retry_after_s`
    │   ├── Unavailable            there is no judge: it is loading, draining or dead
    │   └── NotJudged              the route can answer a number only, and there is none; may carry `retry_after_s`
    ├── JudgementError           one judgement has no verdict; it becomes a `criteria[].status`, never a number
    │   ├── TimedOut  Refused  SharedRequestRejected  TooLong  Unparseable  VerifierFailed  EngineFailed  JudgeBusy
    │   └── Cancelled
    └── ConfigurationError       the service cannot start, and says why

`api/problems.py` maps the codes to HTTP status numbers. Messages carry no text of a request.
"""

from dataclasses import dataclass
from typing import ClassVar, Self


class RubricdError(Exception):
    """The root of the tree. `code` is stable and public. `retryable` says whether the same call may succeed later."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class RequestError(RubricdError):
    """The whole request is refused."""


class InvalidRequest(RequestError):
    """The request cannot be served as written. `errors` has pairs of a location and what to change there."""

    code = "invalid_request"

    def __init__(self, detail: str, errors: tuple[tuple[tuple[str | int, ...], str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class UnknownRubric(InvalidRequest):
    """A reference names no stored rubric of the team. Storing it and sending the same request again helps."""

    code = "unknown_rubric"


class RubricNotFound(RequestError):
    code = "rubric_not_found"


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
    """`retry_after_s` is the time until the team's quota allows the request."""

    code = "quota_exceeded"


class Overloaded(Later):
    """The queue is full. `retry_after_s` is the time until there is room, at the measured throughput."""

    code = "overloaded"


class Unavailable(Later):
    """There is no judge now: it is loading, draining or dead."""

    code = "unavailable"


class NotJudged(RequestError):
    """Verdicts are missing, and the caller's protocol can carry a number only. `retry_after_s` is set where the same
    request may be judged later."""

    code = "not_judged"

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Spent:
    """What a judge's server says that an answer took. `cost` is in US dollars, None where it names none."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    cost: float | None = None

    @property
    def computed_tokens(self) -> int:
        """Those that were read and written now."""
        return self.prompt_tokens - self.cached_tokens + self.generated_tokens


class JudgementError(RubricdError):
    """One judgement has no verdict. `code` is the criterion's status on the wire. `spent` is what the server took for
    it all the same, None where nobody says."""

    spent: Spent | None = None

    def after(self, spent: Spent) -> Self:
        """This error, of an answer that took so much."""
        self.spent = spent
        return self


class TimedOut(JudgementError):
    code = "timeout"
    retryable = True


class SharedRequestRejected(JudgementError):
    """Another request had begun the same judgement and was refused by admission control. A new request may be
    admitted."""

    code = "overloaded"
    retryable = True


class RuleQuotaUsedUp(JudgementError):
    """The team's quota of rule seconds was used up while the request's rules were checked."""

    code = "overloaded"
    retryable = True


class TooLong(JudgementError):
    code = "too_long"


class Unparseable(JudgementError):
    code = "unparseable"


class Refused(JudgementError):
    """The judge's server answers other questions, and refuses this one."""

    code = "abstained"


class VerifierFailed(JudgementError):
    code = "verifier_error"


class EngineFailed(JudgementError):
    code = "engine_error"
    retryable = True


class JudgeBusy(JudgementError):
    """The judge's own server refused the judgement for load, after this service had accepted it."""

    code = "overloaded"
    retryable = True


class Cancelled(JudgementError):
    code = "cancelled"
    retryable = True


class ConfigurationError(RubricdError):
    """The service cannot start so. The message says what to change."""

    code = "configuration"
