"""What the rest of the service says to telemetry, in its own words; which metric that becomes is decided here."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from service.observability.gauges import Gauges, Reading
from service.observability.metrics import Metrics
from service.observability.teams import OTHER, TeamNames
from service.observability.vllms import VllmMetrics

# A second series for each counter, to say when it began, which nothing here asks.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class EngineBatch:
    """One batch that the engine had. `kind` is read or write; `costs` are tokens by team as they were planned,
    `computed` as they came about; `busy_s` is the batch's part of the time in which the engine was busy."""

    kind: str
    questions: int
    seconds: float
    busy_s: float
    costs: Mapping[str, int]
    computed: Mapping[str, int]
    shared_tokens: int = 0
    written_tokens: int = 0


class Telemetry:
    """One registry an app, so that two apps in a process do not share counts. `most_teams` have label values of their
    own."""

    def __init__(self, most_teams: int = 50) -> None:
        self._registry = CollectorRegistry()
        self._metrics = Metrics(self._registry)
        self._teams = TeamNames(most_teams)
        self._gauges = Gauges(self._teams)
        self._registry.register(self._gauges)
        self._registry.register(VllmMetrics())
        ProcessCollector(registry=self._registry)

    def watch(self, read: Callable[[], Reading]) -> None:
        """`read` tells how the service is, when Prometheus asks."""
        self._gauges.read = read

    def judge_serves(self, model: str, engine: str, fingerprint: str) -> None:
        self._metrics.judge.labels(model, engine, fingerprint).set(1)

    def count_request(self, route: str, status: int) -> None:
        self._metrics.requests.labels(route, str(status)).inc()

    def count_judged_request(self, route: str, seconds: float) -> None:
        self._metrics.request_s.labels(route).observe(seconds)

    def count_refusal(self, team: str | None, code: str, retry_after_s: float | None) -> None:
        """`team` is None for whoever sent no known key."""
        self._metrics.refusals.labels(OTHER if team is None else self._teams.of(team), code).inc()
        if retry_after_s is not None:
            self._metrics.retry_after_s.labels(code).observe(retry_after_s)

    def count_items(self, team: str, statuses: Iterable[str]) -> None:
        for status, count in Tally(statuses).items():
            self._metrics.items.labels(self._teams.of(team), status).inc(count)

    def count_judgements(self, mode: str, outcomes: Iterable[tuple[str, str]]) -> None:
        """Pairs of source and outcome."""
        for (source, outcome), count in Tally(outcomes).items():
            self._metrics.judgements.labels(source, mode, outcome).inc(count)

    def observe_reads(self, p_met: Sequence[float], label_mass: Sequence[float]) -> None:
        """What the judge said of criteria, before any threshold."""
        self._metrics.p_met.observe(p_met)
        self._metrics.label_mass.observe(label_mass)

    def count_groups(self, spreads: Iterable[str]) -> None:
        for spread, count in Tally(spreads).items():
            self._metrics.groups.labels(spread).inc(count)

    def count_group_criteria(self, spreads: Iterable[str]) -> None:
        for spread, count in Tally(spreads).items():
            self._metrics.group_criteria.labels(spread).inc(count)

    def count_known(self, *, memory: int, redis: int, unknown: int) -> None:
        self._metrics.cache_hits.labels("memory").inc(memory)
        self._metrics.cache_hits.labels("redis").inc(redis)
        self._metrics.cache_misses.inc(unknown)

    def count_joins(self, *, here: int, elsewhere: int) -> None:
        """Questions that waited for a judging that another request, or another process, had begun."""
        self._metrics.joins.labels("process").inc(here)
        self._metrics.joins.labels("replica").inc(elsewhere)

    def count_neutral(self, route: str, rewards: int) -> None:
        self._metrics.neutral.labels(route).inc(rewards)

    def count_redis_fault(self, kind: str) -> None:
        self._metrics.redis_faults.labels(kind).inc()

    def count_quota_request(self, team: str) -> None:
        self._metrics.quota_requests.labels(self._teams.of(team)).inc()

    def count_quota_tokens(self, team: str, tokens: int) -> None:
        self._metrics.quota_tokens.labels(self._teams.of(team)).inc(tokens)

    def teams_reloaded(self, ok: bool) -> None:
        self._metrics.teams_reloads.labels("ok" if ok else "failed").inc()

    def waited(self, team: str, kind: str, seconds: Sequence[float]) -> None:
        """Questions of one class, each from being let in to the engine."""
        self._metrics.queue_wait_s.observe(seconds, self._teams.of(team), kind)

    def engine_had(self, batch: EngineBatch) -> None:
        metrics, cost = self._metrics, sum(batch.costs.values())
        metrics.batch_tokens.labels(batch.kind).observe(cost)
        metrics.batch_questions.labels(batch.kind).observe(batch.questions)
        metrics.step_s.labels(batch.kind).observe(batch.seconds)
        metrics.prompt_tokens.labels("computed").inc(sum(batch.computed.values()) - batch.written_tokens)
        metrics.prompt_tokens.labels("shared").inc(batch.shared_tokens)
        metrics.written_tokens.inc(batch.written_tokens)
        for team, tokens in batch.computed.items():
            metrics.team_tokens.labels(self._teams.of(team)).inc(tokens)
        for team, tokens in batch.costs.items():
            metrics.team_judge_s.labels(self._teams.of(team)).inc(batch.busy_s * tokens / cost)

    def engine_failed(self) -> None:
        """A whole batch of it."""
        self._metrics.failed_batches.inc()

    def canary_drifted(self, drift: float) -> None:
        self._metrics.canary_drift.set(drift)

    def canary_failed(self, code: str) -> None:
        self._metrics.canary_failures.labels(code).inc()

    def loop_lagged(self, seconds: float) -> None:
        self._metrics.loop_lag_s.observe(seconds)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
