"""The dashboard *Teams*: who uses the judge, who waits, who is refused, and what each costs."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import VariableModel, VariableOption

from deploy.grafana.board import Board, Row, query_variable, with_all
from deploy.grafana.panels import Lines, Panel, Query, Stat, Table
from deploy.grafana.queries import increase, mean, quantile, rate, select, total

TEAM, CLASS, NOT_WHOLE = 'team=~"$team"', 'class=~"$class"', 'status!="ok"'
CLASSES = ("interactive", "train", "eval")


def _of_quota(used: str, quota: str) -> str:
    """What each team with this quota uses of it; one quota holds over all replicas."""
    matcher = f'quota="{quota}"'
    return f"{used} / max by (team) ({select('rubricd_quota_limit', TEAM, matcher)})"


_TOKENS = _of_quota(increase("rubricd_quota_tokens_total", TEAM, by="team", within="1m"), "tokens_per_minute")
_REQUESTS = _of_quota(increase("rubricd_quota_requests_total", TEAM, by="team", within="1m"), "requests_per_minute")
_RESERVED = _of_quota(total("rubricd_quota_reserved_tokens", TEAM, by="team"), "concurrent_tokens")

_OVERVIEW: tuple[Panel, ...] = (
    Stat(
        "Teams that ask",
        "Chosen teams that had candidates scored just now.",
        (Query(f"count({rate('rubricd_items_total', TEAM, by='team')} > 0) or vector(0)"),),
        width=6,
    ),
    Stat(
        "Largest share",
        "Share of the judge's tokens that go to the team with the most. It is no fault while nobody waits; while "
        "somebody does, shares follow the teams' weights.",
        (Query(f"max({rate('rubricd_team_tokens_total', TEAM, by='team')}) / {rate('rubricd_team_tokens_total')}"),),
        unit="percentunit",
        decimals=0,
        width=6,
    ),
    Stat(
        "Longest wait",
        "Of the teams' slowest twentieths the slowest. High for one team only: it asks for more than its share; for "
        "all: the judge is too small.",
        (Query(f"max({quantile(0.95, 'rubricd_queue_wait_seconds', TEAM, CLASS, by='team')})"),),
        unit="s",
        width=6,
        runbook=("RubricdQueueWaitHigh",),
    ),
    Stat(
        "Fullest quota",
        "Tokens a minute of the team that is nearest to its limit. Above 100 % for a moment is a burst that its quota "
        "allowed; staying at 100 % means that it is refused.",
        (Query(f"max({_TOKENS})"),),
        unit="percentunit",
        decimals=0,
        steps=(0.8, 1),
        width=6,
    ),
)

_SHARE: tuple[Panel, ...] = (
    Lines(
        "Share of the judge",
        "Whose tokens the judge computes. What is cached costs nothing and is not in it.",
        (Query(rate("rubricd_team_tokens_total", TEAM, by="team"), "{{team}}"),),
        unit="suffix: tok/s",
        stacked="percent",
    ),
    Lines(
        "Candidates scored",
        "Responses a second, by team; the cache's are in it.",
        (Query(rate("rubricd_items_total", TEAM, by="team"), "{{team}}"),),
        unit="cps",
    ),
    Lines(
        "Not scored whole",
        "Share of a team's candidates that are `partial` or `failed`. High for one team: deadlines too short, criteria "
        "that the judge abstains from, or prompts too long.",
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
        "Wait for the judge",
        "19 of 20 of a team's questions wait no longer before the engine has them.",
        (Query(quantile(0.95, "rubricd_queue_wait_seconds", TEAM, CLASS, by="team"), "{{team}}"),),
        unit="s",
        runbook=("RubricdQueueWaitHigh",),
    ),
    Lines(
        "Waiting now",
        "Tokens in the queue. A team may fill it alone: it is refused first when another one comes.",
        (Query(total("rubricd_team_queued_tokens", TEAM, CLASS, by="team, class"), "{{team}}, {{class}}"),),
        unit="suffix: tok",
        stacked="normal",
    ),
    Lines(
        "Retry-After told",
        "Mean seconds after which the refused are told to come back, over all teams. It is computed from the measured "
        "rate, or from the quota.",
        (Query(mean("rubricd_retry_after_seconds", by="code"), "{{code}}"),),
        unit="s",
    ),
)

_QUOTA: tuple[Panel, ...] = (
    Lines(
        "Quota used",
        "What each team uses of each quota it has: tokens and requests of the last minute, and tokens set aside "
        "now by all replicas. At the line it is refused with 429: raise the quota, or have it ask for less.",
        (
            Query(_TOKENS, "{{team}}, tokens a minute"),
            Query(_REQUESTS, "{{team}}, requests a minute"),
            Query(_RESERVED, "{{team}}, tokens at a time"),
        ),
        unit="percentunit",
        limit=1,
        width=12,
        runbook=("RubricdQuotaExhausted",),
    ),
    Lines(
        "Refusals by team",
        "`quota_exceeded` is the team's own limit; `overloaded` that it has its share of a full queue already.",
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
        "Judges kept busy",
        "Engine time a second, shared out by tokens: 1 is one judge busy all the time. Idle time is nobody's; "
        "`_service` are the canaries.",
        (Query(rate("rubricd_team_judge_seconds_total", TEAM, by="team"), "{{team}}"),),
        stacked="normal",
        width=10,
    ),
    Table(
        "What each team cost in the time shown",
        "Judge time is engine time, shared out by tokens. Cost is judge time times the price of one judge's hour, "
        "which you type above; without a price there is no cost. Idle time is in nobody's row, so that the rows sum to "
        "less than the bill.",
        (
            Query(_SECONDS, "Judge time", right="s"),
            Query(increase("rubricd_team_tokens_total", TEAM, by="team", within="$__range"), "Tokens", right="short"),
            Query(increase("rubricd_items_total", TEAM, by="team", within="$__range"), "Candidates", right="short"),
            Query(f"{_SECONDS} / 3600 * $price and on () vector($price) > 0", "Cost"),
        ),
        key="team",
        width=14,
    ),
)


def _classes() -> VariableModel:
    return with_all(builders.CustomVariable("class").label("Class").values(",".join(CLASSES)))


def _price() -> VariableModel:
    nothing = VariableOption(selected=True, text="0", value="0")
    price = builders.TextBoxVariable("price").label("Price of one judge's hour").default_value("0").current(nothing)
    return price.options([nothing]).description("Of all GPUs of one replica, in your currency; 0: not known.").build()


BOARD = Board(
    "rubricd-teams",
    "rubricd: Teams",
    "What each team gets of the judge: share, quota, wait, cost.",
    (
        Row("Is it fine?", _OVERVIEW),
        Row("Share", _SHARE),
        Row("Wait", _WAIT),
        Row("Quota", _QUOTA),
        Row("Cost", _COST),
    ),
    (
        with_all(query_variable("team", "Team", 'label_values(rubricd_items_total{job="$job"}, team)')),
        _classes(),
        _price(),
    ),
)
