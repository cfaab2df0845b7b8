"""Gauges are read from the service at each scrape, instead of being counted as things happen.

Guarantees: a value that is not known has no sample, rather than a zero.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Numbers = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class GaugeValues:
    """The state of the service at one moment. `queued` is in tokens by team and class, `limits` is by team and quota,
    `reserved` is in tokens by team, `waiting_checks` in rule checks by team. The last three are by judge,
    where judges have names. None means that the service has no such
    thing, or has not measured it yet."""

    ready: bool = False
    queued: Numbers = field(default_factory=dict)
    queue_limit_tokens: float | None = None
    tokens_per_s: float | None = None
    in_flight_tokens: int = 0
    cache_entries: int = 0
    engine_restarts: int = 0
    redis_up: bool | None = None
    quotas_shared: bool | None = None
    teams_file_ok: bool | None = None
    teams_file_read_at_s: float | None = None
    limits: Numbers = field(default_factory=dict)
    reserved: Mapping[str, int] = field(default_factory=dict)
    waiting_checks: Mapping[str, int] = field(default_factory=dict)
    judges_ready: Mapping[str, bool] = field(default_factory=dict)
    queued_at: Mapping[str, float] = field(default_factory=dict)
    tokens_per_s_of: Mapping[str, float] = field(default_factory=dict)


class Gauges(Collector):
    """Collects `GaugeValues` at each scrape. `read` is replaced once the service has values to offer."""

    def __init__(self, team_label: Callable[[str], str]) -> None:
        self.read: Callable[[], GaugeValues] = GaugeValues
        self._team_label = team_label

    def collect(self) -> Iterable[Metric]:
        now = self.read()
        yield _gauge("rubricd_ready", "1 while the service is ready to judge.", now.ready)
        yield _gauge("rubricd_queued_tokens", "Tokens waiting in the queue.", sum(now.queued.values()))
        yield self._by_team(
            "rubricd_team_queued_tokens", "Tokens waiting in the queue, by team and class.", "class", now.queued
        )
        yield _gauge(
            "rubricd_queue_limit_tokens", "The most tokens that may wait in the queue now.", now.queue_limit_tokens
        )
        yield _gauge("rubricd_drain_tokens_per_second", "Measured throughput of the judge.", now.tokens_per_s)
        yield _gauge(
            "rubricd_in_flight_tokens", "Tokens in the batches that the engine is computing.", now.in_flight_tokens
        )
        yield _gauge("rubricd_cache_entries", "Verdicts in the cache of this process.", now.cache_entries)
        yield _gauge(
            "rubricd_redis_up", "1 while Redis does what it is asked, 0 while it is down or refuses.", now.redis_up
        )
        yield _gauge(
            "rubricd_quotas_shared",
            "1 while quotas hold over all replicas, 0 while they hold for this one alone.",
            now.quotas_shared,
        )
        yield _gauge(
            "rubricd_teams_file_ok", "1 while the teams file is valid, 0 while it cannot be used.", now.teams_file_ok
        )
        yield _gauge(
            "rubricd_teams_file_read_timestamp_seconds",
            "When the teams file last said what the teams are, in seconds since 1970.",
            now.teams_file_read_at_s,
        )
        yield self._by_team("rubricd_quota_limit", "The limit of each quota of a team.", "quota", now.limits)
        reserved = {(team, ""): tokens for team, tokens in now.reserved.items()}
        yield self._by_team("rubricd_quota_reserved_tokens", "Tokens that are reserved now.", "", reserved)
        checks = {(team, ""): number for team, number in now.waiting_checks.items()}
        yield self._by_team("rubricd_queued_rule_checks", "Rule checks that wait for a process.", "", checks)
        yield _by_judge("rubricd_judge_ready", "1 while this judge can judge.", now.judges_ready)
        yield _by_judge("rubricd_judge_queued_tokens", "Tokens that wait for this judge's engine.", now.queued_at)
        yield _by_judge(
            "rubricd_judge_tokens_per_second", "Measured throughput of this judge's engine.", now.tokens_per_s_of
        )
        restarts = CounterMetricFamily("rubricd_engine_restarts", "Times a dead or hung engine was restarted.")
        restarts.add_metric([], now.engine_restarts)
        yield restarts

    def _by_team(self, name: str, help: str, label: str, values: Numbers) -> GaugeMetricFamily:
        """Sums the values of the teams that share the label `other`."""
        family = GaugeMetricFamily(name, help, labels=["team", label] if label else ["team"])
        sums: dict[tuple[str, str], float] = {}
        for (team, value), number in values.items():
            key = (self._team_label(team), value)
            sums[key] = sums.get(key, 0) + number
        for (team, value), number in sums.items():
            family.add_metric([team, value] if label else [team], number)
        return family


def _gauge(name: str, help: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help, value=None if value is None else float(value))


def _by_judge(name: str, help: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help, labels=["judge"])
    for judge, value in values.items():
        family.add_metric([judge], float(value))
    return family


class VllmMetrics(Collector):
    """Passes vLLM's own metrics on. vLLM registers them in prometheus_client's global registry; whatever else is in
    that registry is left out."""

    def collect(self) -> Iterable[Metric]:
        return (metric for metric in REGISTRY.collect() if metric.name.startswith("vllm:"))
