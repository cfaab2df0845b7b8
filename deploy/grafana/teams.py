"""The dashboard *Teams* shows what each team uses of the judge, how long it waits, its refusals and its cost."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import VariableModel, VariableOption

from deploy.grafana.board import Board, Row, query_variable, with_all
from deploy.grafana.panels import Lines, Panel, Query, Stat, Table
from deploy.grafana.queries import increase, mean, quantile, rate, select, total

TEAM, CLASS, NOT_WHOLE = 'team=~"$team"', 'class=~"$class"', 'status!="ok"'
CLASSES = ("interactive", "train", "eval")


MINUTES = 10
"""What is used is compared with what a quota allows in so many minutes: what comes in, and the one minute that a team
may have saved. Within a single minute a team may use twice its quota, all of the saved one and all that comes in."""


def _of_quota(used: str, quota: str, minutes: int = 1) -> str:
    """The fraction that each team uses; a quota applies to all replicas together."""
    matcher = f'quota="{quota}"'
    limit = f"max by (team) ({select('rubricd_quota_limit', TEAM, matcher)})"
    return f"{used} / {limit}" if minutes == 1 else f"{used} / ({limit} * {minutes})"


def _of_minutes(counter: str, quota: str) -> str:
    return _of_quota(increase(counter, TEAM, by="team", within=f"{MINUTES}m"), quota, MINUTES + 1)


_TOKENS = _of_minutes("rubricd_quota_tokens_total", "tokens_per_minute")
_REQUESTS = _of_minutes("rubricd_quota_requests_total", "requests_per_minute")
_RULES = _of_minutes("rubricd_quota_rule_seconds_total", "rule_seconds_per_minute")
_RESERVED = _of_quota(total("rubricd_quota_reserved_tokens", TEAM, by="team"), "concurrent_tokens")
USED_UP = MINUTES / (MINUTES + 1)
"""The reading of a team that uses all that comes in, and has saved nothing."""

_OVERVIEW: tuple[Panel, ...] = (
    Stat(
        "Active teams",
        "Number of chosen teams that had responses scored just now.",
        (Query(f"count({rate('rubricd_items_total', TEAM, by='team')} > 0) or vector(0)"),),
        width=6,
    ),
    Stat(
        "Largest share",
        "Fraction of the judge's tokens that the largest team uses. It does no harm while nobody waits; while somebody "
        "does, the shares follow the weights of the teams.",
        (Query(f"max({rate('rubricd_team_tokens_total', TEAM, by='team')}) / {rate('rubricd_team_tokens_total')}"),),
        unit="percentunit",
        decimals=0,
        width=6,
    ),
    Stat(
        "Longest queue wait (p95)",
        "The queue wait of the team that waits longest, at the 95th percentile. If one team waits, it sends more than "
        "its share; if all do, the judge is too small.",
        (Query(f"max({quantile(0.95, 'rubricd_queue_wait_seconds', TEAM, CLASS, by='team')})"),),
        unit="s",
        width=6,
        runbook=("RubricdQueueWaitHigh",),
    ),
    Stat(
        "Fullest quota",
        "Tokens of the last ten minutes of the team that is nearest to its limit, of what its quota allows in them: "
        "what comes in, and one saved minute. From 91 % on the team uses all that comes in, and is refused the rest.",
        (Query(f"max({_TOKENS})"),),
        unit="percentunit",
        decimals=0,
        steps=(0.75, USED_UP),
        width=6,
    ),
)

_SHARE: tuple[Panel, ...] = (
    Lines(
        "Share of the judge",
        "Tokens that the judge computes, by team. Cached verdicts cost nothing and are not counted.",
        (Query(rate("rubricd_team_tokens_total", TEAM, by="team"), "{{team}}"),),
        unit="suffix: tok/s",
        stacked="percent",
    ),
    Lines(
        "Responses scored",
        "Responses scored per second, by team, including those from the cache.",
        (Query(rate("rubricd_items_total", TEAM, by="team"), "{{team}}"),),
        unit="cps",
    ),
    Lines(
        "Incomplete scores",
        "Fraction of a team's responses that are `partial` or `failed`. If it is high for one team, its deadlines are "
        "too short, its prompts too long, or the judge abstains from its criteria.",
        (
            Query(
                f"{rate('rubricd_items_total', TEAM, NOT_WHOLE, by='team')} / "
                f"{rate('rubricd_items_total', TEAM, by='team')}",
                "{{team}}",
            ),
        ),
        unit="percentunit",
        max=1,
    ),
)

_WAIT: tuple[Panel, ...] = (
    Lines(
        "Queue wait (p95)",
        "95 % of a team's queries wait at most this long for the engine.",
        (Query(quantile(0.95, "rubricd_queue_wait_seconds", TEAM, CLASS, by="team"), "{{team}}"),),
        unit="s",
        runbook=("RubricdQueueWaitHigh",),
    ),
    Lines(
        "Queued tokens",
        "Tokens in the queue, by team and class. One team may fill the queue alone; it is the first to be refused when "
        "another team sends requests.",
        (Query(total("rubricd_team_queued_tokens", TEAM, CLASS, by="team, class"), "{{team}}, {{class}}"),),
        unit="suffix: tok",
        stacked="normal",
    ),
    Lines(
        "Retry-After",
        "Mean `Retry-After` of refused requests in seconds, over all teams. It is computed from the measured "
        "throughput, or from the quota.",
        (Query(mean("rubricd_retry_after_seconds", by="code"), "{{code}}"),),
        unit="s",
    ),
)

_QUOTA: tuple[Panel, ...] = (
    Lines(
        "Quota used",
        "Use of each quota by team: tokens, requests and rule seconds of the last ten minutes, of what the quota "
        "allows in them (what comes in, and one saved minute), and tokens that are reserved now on all replicas. At "
        "the line the team uses all that comes in and gets 429: raise its quota, or have it send less.",
        (
            Query(_TOKENS, "{{team}}, tokens per minute"),
            Query(_REQUESTS, "{{team}}, requests per minute"),
            Query(_RESERVED, "{{team}}, concurrent tokens"),
            Query(_RULES, "{{team}}, rule seconds per minute"),
        ),
        unit="percentunit",
        limit=USED_UP,
        width=12,
        runbook=("RubricdQuotaExhausted",),
    ),
    Lines(
        "Refusals by team",
        "`quota_exceeded` is a limit of the team itself; `overloaded` means that it already has its share of a full "
        "queue.",
        (Query(rate("rubricd_refusals_total", TEAM, by="team, code"), "{{team}}, {{code}}"),),
        unit="reqps",
        stacked="normal",
        width=12,
        runbook=("RubricdOverloaded",),
    ),
)

_SECONDS = increase("rubricd_team_judge_seconds_total", TEAM, by="team", within="$__range")

_COST: tuple[Panel, ...] = (
    Lines(
        "Judges in use",
        "Engine time per second, divided among teams by their tokens: 1 is one judge that is always busy. Idle time "
        "belongs to no team; `_service` are the canaries.",
        (Query(rate("rubricd_team_judge_seconds_total", TEAM, by="team"), "{{team}}"),),
        stacked="normal",
        width=10,
    ),
    Table(
        "Cost by team in the time range",
        "Judge time is engine time, divided among teams by their tokens. Cost is judge time multiplied by the price of "
        "one judge-hour, which you enter above; without a price there is no cost. Idle time is in no row, so the rows "
        "add up to less than the bill. Dollars are what judges' servers report; they are not all of the cost where "
        "there are answers without a price.",
        (
            Query(_SECONDS, "Judge time", right="s"),
            Query(increase("rubricd_team_tokens_total", TEAM, by="team", within="$__range"), "Tokens", right="short"),
            Query(increase("rubricd_items_total", TEAM, by="team", within="$__range"), "Responses", right="short"),
            Query(f"{_SECONDS} / 3600 * $price and on () vector($price) > 0", "Cost"),
            Query(increase("rubricd_team_cost_dollars_total", TEAM, by="team", within="$__range"), "Dollars"),
            Query(
                increase("rubricd_team_unpriced_judgements_total", TEAM, by="team", within="$__range"),
                "Without a price",
                right="short",
            ),
        ),
        key="team",
        width=14,
    ),
)


def _classes() -> VariableModel:
    return with_all(builders.CustomVariable("class").label("Class").values(",".join(CLASSES)))


def _price() -> VariableModel:
    zero = VariableOption(selected=True, text="0", value="0")
    price = builders.TextBoxVariable("price").label("Price of one judge-hour").default_value("0").current(zero)
    return (
        price.options([zero])
        .description("All GPUs of one replica for one hour, in your currency; 0: not known.")
        .build()
    )


BOARD = Board(
    "rubricd-teams",
    "rubricd: Teams",
    "Share, queue wait, quota and cost of each team.",
    (
        Row("Overview", _OVERVIEW),
        Row("Share", _SHARE),
        Row("Queue wait", _WAIT),
        Row("Quota", _QUOTA),
        Row("Cost", _COST),
    ),
    (
        with_all(query_variable("team", "Team", 'label_values(rubricd_items_total{job="$job"}, team)')),
        _classes(),
        _price(),
    ),
)
