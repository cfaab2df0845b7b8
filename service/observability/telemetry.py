"""Telemetry counts and measures what the service does; the other modules call it and know no metric's name."""

import asyncio
import math
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Literal, Self

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from service.observability.gauges import Gauges, GaugeValues, VllmMetrics
from service.observability.metrics import Metrics

# Otherwise each counter has a second series with its creation time, which no dashboard or rule here uses.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class EngineBatch:
    """One batch that the engine computed. `planned_tokens` (before the batch ran) and `computed_tokens` (after it) are
    counts by team; `busy_s` is the batch's part of the time in which the engine was busy. `dollars` are what a server
    reports for the answers that it gave, and `unpriced` are those for which it reports nothing, by team."""

    query_type: Literal["label", "generation"]
    queries: int
    seconds: float
    busy_s: float
    planned_tokens: Mapping[str, int]
    computed_tokens: Mapping[str, int]
    shared_tokens: int = 0
    generated_tokens: int = 0
    dollars: Mapping[str, float] = field(default_factory=dict)
    unpriced: Mapping[str, int] = field(default_factory=dict)


OTHER_TEAM = "other"
"""The label of callers that sent no known key, and of teams beyond the limit."""
SERVICE_TEAM = "_service"
"""The label of the service's own queries, the canaries. No team can have this name."""

_LAG_INTERVAL_S = 0.25


class TeamLabels:
    """Label values for teams: the names of the first `max_teams` that are seen, `other` for all that come later."""

    def __init__(self, max_teams: int) -> None:
        self._max_teams = max_teams
        self._labelled: set[str] = set()

    def label(self, team: str) -> str:
        """`team` is a name from the teams file, or empty for queries of the service itself."""
        if not team:
            return SERVICE_TEAM
        if team not in self._labelled:
            if len(self._labelled) >= self._max_teams:
                return OTHER_TEAM
            self._labelled.add(team)
        return team


class Telemetry:
    """Each app has its own registry, so that two apps in one process do not share counts. `max_teams` teams have label
    values of their own."""

    def __init__(self, max_teams: int = 50) -> None:
        self._registry = CollectorRegistry()
        self._metrics = Metrics(self._registry)
        self._teams = TeamLabels(max_teams)
        self._judge = ""
        self._gauges = Gauges(self._teams.label)
        self._registry.register(self._gauges)
        self._registry.register(VllmMetrics())
        ProcessCollector(registry=self._registry)

    def of_judge(self, name: str) -> Self:
        """The same, for what is about the judge of this name; empty where the one judge has none."""
        found = copy(self)
        found._judge = name
        return found

    def set_gauge_source(self, read: Callable[[], GaugeValues]) -> None:
        """`read` is called at each scrape and returns the service's state at that moment."""
        self._gauges.read = read

    def set_judge_info(self, model: str, engine: str, fingerprint: str) -> None:
        self._metrics.judge.labels(model, engine, fingerprint, self._judge).set(1)
        for code in ("engine_error", "unavailable", "overloaded", "internal"):
            self._metrics.canary_failures.labels(code, self._judge)

    def count_request(self, route: str, status: int, seconds: float | None) -> None:
        """`seconds` is how long the response took; None where the route's latency is not recorded."""
        self._metrics.requests.labels(route, str(status)).inc()
        if seconds is not None:
            self._metrics.request_s.labels(route).observe(seconds)

    def count_connection(self, reason: str) -> None:
        """Counts a connection that was refused or closed by a limit."""
        self._metrics.connections_closed.labels(reason).inc()

    def set_connections(self, connections: int) -> None:
        self._metrics.connections.set(connections)

    def count_refusal(self, team: str | None, code: str, retry_after_s: float | None) -> None:
        """`team` is None for a caller that sent no known key."""
        self._metrics.refusals.labels(OTHER_TEAM if team is None else self._teams.label(team), code).inc()
        if retry_after_s is not None:
            self._metrics.retry_after_s.labels(code).observe(retry_after_s)

    def count_items(self, team: str, statuses: Iterable[str]) -> None:
        for status, count in Tally(statuses).items():
            self._metrics.items.labels(self._teams.label(team), status).inc(count)

    def count_reasoning(self, found: Iterable[str]) -> None:
        """`found` has one value for each response with reasoning."""
        for outcome, count in Tally(found).items():
            self._metrics.reasoning.labels(outcome).inc(count)

    def count_judgements(self, mode: str, outcomes: Iterable[tuple[str, str]]) -> None:
        """`outcomes` are pairs of source and outcome, one for each judged criterion."""
        for (source, outcome), count in Tally(outcomes).items():
            self._metrics.judgements.labels(source, mode, outcome).inc(count)

    def count_graded(self, outcomes: Iterable[str]) -> None:
        """`outcomes` has one value for each criterion with a level or an extracted value."""
        for outcome, count in Tally(outcomes).items():
            self._metrics.graded.labels(outcome).inc(count)

    def observe_probabilities(
        self, p_met: Sequence[float], label_mass: Sequence[float], disagreement: Sequence[float] = ()
    ) -> None:
        """Observes what the judge returned for criteria, before any threshold."""
        self._metrics.p_met.observe(p_met)
        self._metrics.label_mass.observe(label_mass)
        self._metrics.disagreement.observe(disagreement)

    def observe_panel(self, judge: str, disagreement: Sequence[float], members: Mapping[tuple[str, str], int]) -> None:
        """`members` counts by member and outcome."""
        self._metrics.panel_disagreement.observe(disagreement, judge)
        for (member, outcome), count in members.items():
            self._metrics.panel_members.labels(judge, member, outcome).inc(count)

    def declare_shadow(self, shadow: str) -> None:
        """Its series exist from now on, at zero."""
        for outcome in ("same", "differs", "unjudged"):
            self._metrics.shadow_judgements.labels(shadow, OTHER_TEAM, outcome)
        for reason in ("full", "too_long", "refused", "overloaded", "unavailable", "failed"):
            self._metrics.shadow_dropped.labels(shadow, reason)
        self._metrics.shadow_difference.observe([], shadow)

    def count_shadow(self, shadow: str, team: str, outcomes: Iterable[str], apart: Sequence[float]) -> None:
        """`outcomes` has one value for each criterion that this second judge was asked; `apart` are differences of
        P(met)."""
        for outcome, count in Tally(outcomes).items():
            self._metrics.shadow_judgements.labels(shadow, self._teams.label(team), outcome).inc(count)
        self._metrics.shadow_difference.observe(apart, shadow)

    def count_shadow_dropped(self, shadow: str, reason: str) -> None:
        self._metrics.shadow_dropped.labels(shadow, reason).inc()

    def observe_order_effects(self, effects: Sequence[float]) -> None:
        self._metrics.order_effect.observe(effects)

    def count_threshold_ties(self, ties: int) -> None:
        self._metrics.threshold_ties.inc(ties)

    def count_groups(self, spreads: Iterable[str], criterion_spreads: Iterable[str]) -> None:
        """`spreads` has one value for each group, `criterion_spreads` one for each criterion of each group."""
        for spread, count in Tally(spreads).items():
            self._metrics.groups.labels(spread).inc(count)
        for spread, count in Tally(criterion_spreads).items():
            self._metrics.group_criteria.labels(spread).inc(count)

    def count_cache_lookups(
        self, *, memory: int, redis: int, misses: int, joined_process: int, joined_replica: int
    ) -> None:
        """Each query is counted once: found in memory or in Redis, sent to the judge (a miss), or joined to the same
        query of another request in this process or in another replica."""
        self._metrics.cache_hits.labels("memory").inc(memory)
        self._metrics.cache_hits.labels("redis").inc(redis)
        self._metrics.cache_misses.inc(misses)
        self._metrics.joins.labels("process").inc(joined_process)
        self._metrics.joins.labels("replica").inc(joined_replica)

    def count_neutral_rewards(self, route: str, rewards: int) -> None:
        self._metrics.neutral.labels(route).inc(rewards)

    def count_ledger(self, outcome: str, verdicts: int) -> None:
        self._metrics.ledger.labels(outcome).inc(verdicts)

    def count_redis_fault(self, reason: str) -> None:
        self._metrics.redis_faults.labels(reason).inc()

    def count_quota_requests(self, team: str, requests: int) -> None:
        self._metrics.quota_requests.labels(self._teams.label(team)).inc(requests)

    def count_quota_tokens(self, team: str, tokens: int) -> None:
        self._metrics.quota_tokens.labels(self._teams.label(team)).inc(tokens)

    def count_quota_rule_s(self, team: str, seconds: float) -> None:
        self._metrics.quota_rule_s.labels(self._teams.label(team)).inc(seconds)

    def count_rule_check(self, team: str, rule: str, outcome: str, seconds: float) -> None:
        """One check in a process, which took so many seconds of it."""
        self._metrics.rule_checks.labels(rule, outcome).inc()
        self._metrics.rule_s.labels(self._teams.label(team)).inc(seconds)

    def count_teams_reload(self, ok: bool) -> None:
        self._metrics.teams_reloads.labels("ok" if ok else "failed").inc()

    def observe_queue_wait(self, team: str, class_: str, seconds: Sequence[float]) -> None:
        """`seconds` has one value for each query of the team and class, from its admission to the engine."""
        self._metrics.queue_wait_s.observe(seconds, self._teams.label(team), class_)

    def record_batch(self, batch: EngineBatch) -> None:
        metrics, query_type, planned = self._metrics, batch.query_type, sum(batch.planned_tokens.values())
        metrics.batch_tokens.labels(query_type).observe(planned)
        metrics.batch_queries.labels(query_type).observe(batch.queries)
        metrics.batch_s.labels(query_type).observe(batch.seconds)
        metrics.prompt_tokens.labels("computed").inc(sum(batch.computed_tokens.values()) - batch.generated_tokens)
        metrics.prompt_tokens.labels("shared").inc(batch.shared_tokens)
        metrics.generated_tokens.inc(batch.generated_tokens)
        for team, tokens in batch.computed_tokens.items():
            metrics.team_tokens.labels(self._teams.label(team)).inc(tokens)
        for team, tokens in batch.planned_tokens.items():
            metrics.team_judge_s.labels(self._teams.label(team)).inc(batch.busy_s * tokens / planned)
        for team in {**batch.dollars, **batch.unpriced}:
            self.count_cost(team, batch.dollars.get(team, 0.0), batch.unpriced.get(team, 0))

    def count_cost(self, team: str, dollars: float, unpriced: int) -> None:
        """What a judge's server reports for answers, and to how many it gives no price."""
        label = self._teams.label(team)
        if dollars:
            self._metrics.team_cost.labels(label).inc(dollars)
        if unpriced:
            self._metrics.team_unpriced.labels(label).inc(unpriced)

    def count_failed_batch(self) -> None:
        self._metrics.failed_batches.inc()

    def set_canary_drift(self, drift: float) -> None:
        self._metrics.canary_drift.labels(self._judge).set(drift)

    def record_exam(self, way: tuple[str, str, str], accuracy: float, *, proven: bool) -> None:
        """`way` is mode, layout and prompt; no prompt is an empty text, and a document for all criteria has its own."""
        self._metrics.exam_accuracy.labels(*way, self._judge).set(accuracy)
        self._metrics.judge_proven.labels(*way, self._judge).set(proven)

    def record_labelled_canaries(self, figures: Mapping[str, float], change: float | None) -> None:
        """`change` is that of their log loss since the first answers; None where there is none to compare."""
        for figure, value in figures.items():
            self._metrics.labelled_canaries.labels(figure, self._judge).set(value)
        if change is not None:
            self._metrics.log_loss_change.labels(self._judge).set(change)

    def count_canary_failure(self, code: str) -> None:
        self._metrics.canary_failures.labels(code, self._judge).inc()

    def observe_event_loop_lag(self, seconds: float) -> None:
        self._metrics.loop_lag_s.observe(seconds)

    def samples(self, names: Collection[str]) -> dict[str, list[tuple[dict[str, str], float]]]:
        """The samples of these metrics now, by the samples' names: their labels and values."""
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in self._registry.collect():
            for sample in family.samples if family.name in names else ():
                if math.isfinite(sample.value):
                    found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def exposition(self) -> bytes:
        return generate_latest(self._registry)


async def monitor_event_loop(observe: Callable[[float], None]) -> None:
    """Calls `observe` four times a second with the seconds by which the event loop woke up late. Runs until it is
    cancelled. Every request waits at least as long as the loop is late."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        due_s = max(due_s, loop.time()) + _LAG_INTERVAL_S
        await asyncio.sleep(due_s - loop.time())
        observe(max(0.0, loop.time() - due_s))
