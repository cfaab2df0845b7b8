"""Records a request that was scored: in the metrics, and as the summary for its log line and its trace.

Guarantees: an outcome is counted as what it was; a criterion without a verdict is neither met nor unmet. A summary
holds names from configuration and numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.observability import Telemetry
from service.rubrics.judgement import Judgement
from service.scoring.request import Usage
from service.scoring.results import Scored, by_group, criteria_spreads, spread


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """A request's log line and trace show these facts beside its time. `numbers` is empty where nothing was judged."""

    team: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)


def record(telemetry: Telemetry, team: str, mode: str, scored: Sequence[Scored], usage: Usage) -> RequestSummary:
    """Counts a request's results. In the summary `tokens` are those that the judge computed and wrote for it."""
    outcomes: list[tuple[str, str]] = []
    p_raw: list[float] = []
    label_mass: list[float] = []
    for one in scored:
        for judgement in one.judgements:
            outcomes.append((judgement.source, outcome(judgement)))
            if judgement.source != "judge":  # a cached verdict was observed when it was judged
                continue
            if judgement.p_raw is not None:
                p_raw.append(judgement.p_raw)
            if judgement.label_mass is not None:
                label_mass.append(judgement.label_mass)
    telemetry.count_items(team, [one.score.status for one in scored])
    telemetry.count_judgements(mode, outcomes)
    telemetry.observe_probabilities(p_raw, label_mass)
    groups = [members for members in by_group(scored).values() if len(members) > 1]  # one response has no spread
    if groups:
        criteria = (each for members in groups for each in criteria_spreads(members))
        telemetry.count_groups(map(spread, groups), criteria)
    redis = usage.shared_hits
    telemetry.count_cache_lookups(
        memory=usage.cache_hits - redis,
        redis=redis,
        misses=usage.judgements,
        joined_process=usage.deduplicated - usage.awaited,
        joined_replica=usage.awaited,
    )
    numbers = {
        "items": len(scored),
        "judgements": usage.judgements,
        "cache_hits": usage.cache_hits,
        "tokens": usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens,
    }
    return RequestSummary(team, numbers)


def outcome(judgement: Judgement) -> str:
    """met, unmet, rated; or the status of what has no verdict."""
    if judgement.status != "ok":
        return judgement.status
    return "rated" if judgement.met is None else "met" if judgement.met else "unmet"
