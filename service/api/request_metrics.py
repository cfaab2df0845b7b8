"""Records a request that was scored: in the metrics, and as the summary for its log line and its trace.

Guarantees: an outcome is counted as what it was; a criterion without a verdict is neither met nor unmet. A summary
holds names from configuration and numbers.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from service.observability import Telemetry
from service.rubrics.judgement import Judgement
from service.rubrics.levels import bimodal
from service.scoring.request import Usage
from service.scoring.results import Scored, by_group, criteria_spreads, spread
from service.tenancy.usage import TeamUse

_AT_A_TIME = 4_000
"""Judgements that are counted within a few milliseconds."""


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """A request's log line and trace show these facts beside its time. `numbers` is empty where nothing was judged."""

    team: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)


async def record(
    telemetry: Telemetry, team: str, mode: str, threshold: float, scored: Sequence[Scored], usage: Usage
) -> RequestSummary:
    """Counts a request's results, a part at a time: the event loop goes on between them. In the summary `tokens` are
    those that the judge computed and wrote for it."""
    parts = list(_parts(scored))
    for n, part in enumerate(parts):
        if n:
            await asyncio.sleep(0)
        _count(telemetry, team, mode, threshold, part)
    for members in by_group(scored).values():
        if len(members) > 1:  # one response has no spread
            telemetry.count_groups([spread(members)], criteria_spreads(members))
            if len(parts) > 1:
                await asyncio.sleep(0)
    return count_lookups(telemetry, team, len(scored), usage)


def count_lookups(telemetry: Telemetry, team: str, items: int, usage: Usage) -> RequestSummary:
    """Counts where a request's verdicts came from."""
    redis = usage.shared_hits
    telemetry.count_cache_lookups(
        memory=usage.cache_hits - redis,
        redis=redis,
        misses=usage.judgements,
        joined_process=usage.deduplicated - usage.awaited,
        joined_replica=usage.awaited,
    )
    numbers = {
        "items": items,
        "judgements": usage.judgements,
        "cache_hits": usage.cache_hits,
        "tokens": usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens,
    }
    return RequestSummary(team, numbers)


def count_use(use: TeamUse, responses: int, usage: Usage) -> None:
    """Adds a request that was scored to what its team has used."""
    use.responses += responses
    use.judgements += usage.judgements
    use.cache_hits += usage.cache_hits
    use.deduplicated += usage.deduplicated
    use.tokens += usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens
    use.dollars += usage.dollars
    use.priced += usage.priced
    use.unpriced += usage.unpriced


def _parts(scored: Sequence[Scored]) -> Iterator[Sequence[Scored]]:
    """All of them in order, a few thousand judgements at a time."""
    first, judgements = 0, 0
    for index, one in enumerate(scored):
        judgements += len(one.judgements)
        if judgements >= _AT_A_TIME:
            yield scored[first : index + 1]
            first, judgements = index + 1, 0
    if first < len(scored):
        yield scored[first:]


def _count(telemetry: Telemetry, team: str, mode: str, threshold: float, scored: Sequence[Scored]) -> None:
    outcomes: list[tuple[str, str]] = []
    p_raw: list[float] = []
    label_mass: list[float] = []
    disagreement: list[float] = []
    graded: list[str] = []
    ties = 0
    for one in scored:
        for place, judgement in enumerate(one.judgements):
            outcomes.append((judgement.source, outcome(judgement)))
            if judgement.p_levels is not None:
                torn = one.criteria[place].ordered and bimodal(judgement.p_levels) is not None
                graded.append("torn" if torn else "level")
            elif judgement.extracted is not None:
                graded.append("value")
            if judgement.source != "judge":  # a cached verdict was observed when it was judged
                continue
            ties += judgement.p == threshold and judgement.level is None
            if judgement.p_raw is not None:
                p_raw.append(judgement.p_raw)
            if judgement.label_mass is not None:
                label_mass.append(judgement.label_mass)
            if judgement.disagreement is not None and not judgement.members:
                disagreement.append(judgement.disagreement)
    telemetry.count_items(team, [one.score.status for one in scored])
    telemetry.count_reasoning([one.candidate.reasoning for one in scored if one.candidate.reasoning != "none"])
    telemetry.count_judgements(mode, outcomes)
    telemetry.count_graded(graded)
    telemetry.observe_probabilities(p_raw, label_mass, disagreement)
    telemetry.count_threshold_ties(ties)


def record_panel(telemetry: Telemetry, judge: str, scored: Sequence[Scored]) -> None:
    """Counts how a panel's members agree. Where the panel has no verdict nobody has agreed with it."""
    disagreement: list[float] = []
    members: Counter[tuple[str, str]] = Counter()
    for one in scored:
        for judgement in one.judgements:
            if judgement.disagreement is not None and judgement.members:
                disagreement.append(judgement.disagreement)
            for name, said in judgement.members:
                members[name, _beside(judgement, said)] += 1
    telemetry.observe_panel(judge, disagreement, members)


def _beside(judgement: Judgement, said: Judgement) -> str:
    if not said.ok:
        return "missing"
    return "agreed" if (said.met, said.level) == (judgement.met, judgement.level) else "differed"


def outcome(judgement: Judgement) -> str:
    """met, unmet, rated; or the status of what has no verdict."""
    if judgement.status != "ok":
        return judgement.status
    return "rated" if judgement.met is None else "met" if judgement.met else "unmet"
