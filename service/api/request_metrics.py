"""A request that was answered, as the metrics see it.

Always true: an outcome is counted as what it was; a criterion without a verdict is neither met nor unmet.
"""

from collections.abc import Sequence

from service.observability import Telemetry
from service.rubrics.judgement import Judgement
from service.scoring.group_stats import criteria_spreads, groups, spread
from service.scoring.pending import Usage
from service.scoring.results import Scored


def account(telemetry: Telemetry, team: str, mode: str, scored: Sequence[Scored], usage: Usage) -> None:
    judgements = [judgement for one in scored for judgement in one.judgements]
    telemetry.count_items(team, (one.score.status for one in scored))
    telemetry.count_judgements(mode, ((one.source, outcome(one)) for one in judgements))
    said = [one for one in judgements if one.source == "judge"]
    telemetry.observe_probabilities(
        [one.p_raw for one in said if one.p_raw is not None],
        [one.label_mass for one in said if one.label_mass is not None],
    )
    found = groups(scored)
    telemetry.count_groups(map(spread, found), (each for group in found for each in criteria_spreads(group)))
    redis = usage.shared_hits
    telemetry.count_cache_lookups(
        memory=usage.cache_hits - redis,
        redis=redis,
        misses=usage.judgements,
        joined_process=usage.deduplicated - usage.awaited,
        joined_replica=usage.awaited,
    )


def outcome(judgement: Judgement) -> str:
    """met, unmet, rated; or the status of what has no verdict."""
    if not judgement.ok:
        return judgement.status
    return "rated" if judgement.met is None else "met" if judgement.met else "unmet"
