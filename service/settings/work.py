"""The settings of the work between a request and the engine: queue and batches, kept verdicts, rules."""

from pydantic import Field

from service.settings.floor import Floor


class SchedulingSettings(Floor):
    """The bounded queue before the engine, and the batches that the engine gets. Tokens are those that the engine will
    compute."""

    max_batch_tokens: int = Field(
        default=8192,
        gt=0,
        description="A micro-batch has at most this many tokens; or a quarter of them more than its first prompt has, "
        "where the others continue the prefix of that.",
    )
    max_queued_tokens: int = Field(
        default=1_000_000,
        gt=0,
        description="New work is refused with 503 and Retry-After when more tokens than this would wait.",
    )
    max_in_flight: int = Field(default=2, gt=0, description="The engine has at most this many micro-batches at a time.")
    max_concurrent_generations: int = Field(
        default=64, gt=0, description="The engine generates at most this many answers (mode `reasoned`) at a time."
    )
    max_queue_s: float = Field(
        default=120.0,
        gt=0,
        description="New work is refused too when it would wait longer than this at the measured rate, in seconds.",
    )


class CacheSettings(Floor):
    """The verdicts that are kept, and the Redis that processes share."""

    cache_entries: int = Field(default=1_000_000, ge=0, description="Each process keeps at most this many verdicts.")
    cache_ttl_s: int = Field(
        default=7 * 86_400, gt=0, description="Redis keeps a verdict for this many seconds. Its key names its judge."
    )
    redis_url: str | None = Field(
        default=None,
        description="Processes share verdicts, quotas, replayed answers and stored rubrics in this Redis: `redis://`, "
        "`rediss://`, `unix://`, `redis+cluster://host:port`, `redis+sentinel://host:port,host:port/name`. Each "
        "process uses its own memory if not set.",
        repr=False,
    )
    redis_timeout_s: float = Field(
        default=0.1,
        gt=0,
        description="A call of Redis that takes longer is a fault: the circuit breaker opens, and Redis is not used "
        "until it answers a ping.",
    )


class RuleSettings(Floor):
    """The processes that run rule verifiers. A check here is one that needs a process: the cheap rules (rules.md) on
    short responses need none, and on long ones a process checks many of them as one."""

    rule_workers: int = Field(
        default=2,
        gt=0,
        description="This many processes run rule verifiers, and one more for a team that would wait for others.",
    )
    max_request_checks: int = Field(
        default=10_000, gt=0, description="Requests with more rule checks than this are refused with 422."
    )
    max_team_queued_checks: int = Field(
        default=10_000,
        gt=0,
        description="A team's requests with rules are refused with 503 when more of its rule checks than this would "
        "wait.",
    )
    max_queued_checks: int = Field(
        default=20_000,
        gt=0,
        description="When more rule checks than this would wait in all, a team that has more than an equal division of "
        "them waiting is refused with 503.",
    )
    rule_timeout_s: float = Field(default=5.0, gt=0, description="One rule check may take this many seconds.")
    max_rule_chars: int = Field(
        default=1_000_000,
        gt=0,
        description="A rule on a response with more characters than this has status `too_long`.",
    )
