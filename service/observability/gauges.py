"""What is read off when Prometheus asks, rather than counted as it happens.

Always true: what is not known has no sample; it is never a zero.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.observability.metrics import TeamLabels

Numbers = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class GaugeValues:
    """The service at one moment. `queued` is in tokens by team and class, `limits` by team and quota, `reserved` in
    tokens by team. None: there is no such thing, or it was not measured yet."""

    ready: bool = False
    queued: Numbers = field(default_factory=dict)
    queue_limit_tokens: float | None = None
    tokens_per_s: float | None = None
    in_flight_tokens: int = 0
    cache_entries: int = 0
    engine_restarts: int = 0
    redis_up: bool | None = None
    teams_file_ok: bool | None = None
    limits: Numbers = field(default_factory=dict)
    reserved: Mapping[str, int] = field(default_factory=dict)


class Gauges(Collector):
    """`read` is set once there is something to read."""

    def __init__(self, teams: TeamLabels) -> None:
        self.read: Callable[[], GaugeValues] = GaugeValues
        self._teams = teams

    def collect(self) -> Iterable[Metric]:
        now = self.read()
        yield _gauge("rubricd_ready", "1 when a request would be judged.", now.ready)
        yield _gauge("rubricd_queued_tokens", "Tokens waiting for the judge.", sum(now.queued.values()))
        yield self._by_team("rubricd_team_queued_tokens", "A team's tokens waiting, by class.", "class", now.queued)
        yield _gauge("rubricd_queue_limit_tokens", "Tokens that may wait now.", now.queue_limit_tokens)
        yield _gauge("rubricd_drain_tokens_per_second", "Measured rate of the judge.", now.tokens_per_s)
        yield _gauge("rubricd_in_flight_tokens", "Tokens at the engine.", now.in_flight_tokens)
        yield _gauge("rubricd_cache_entries", "Verdicts in this process's memory.", now.cache_entries)
        yield _gauge("rubricd_redis_up", "1 while Redis is used, 0 while it is left alone.", now.redis_up)
        yield _gauge("rubricd_teams_file_ok", "0 while the teams file cannot be used.", now.teams_file_ok)
        yield self._by_team("rubricd_quota_limit", "What a team's quota allows.", "quota", now.limits)
        reserved = {(team, ""): tokens for team, tokens in now.reserved.items()}
        yield self._by_team("rubricd_quota_reserved_tokens", "Tokens set aside now.", "", reserved)
        restarts = CounterMetricFamily("rubricd_engine_restarts", "Times a dead or hung engine was restarted.")
        restarts.add_metric([], now.engine_restarts)
        yield restarts

    def _by_team(self, name: str, meaning: str, label: str, values: Numbers) -> GaugeMetricFamily:
        """Teams without a name of their own are added up."""
        family = GaugeMetricFamily(name, meaning, labels=["team", label] if label else ["team"])
        sums: dict[tuple[str, str], float] = {}
        for (team, value), number in values.items():
            key = (self._teams.label(team), value)
            sums[key] = sums.get(key, 0) + number
        for (team, value), number in sums.items():
            family.add_metric([team, value] if label else [team], number)
        return family


def _gauge(name: str, meaning: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=None if value is None else float(value))


class VllmMetrics(Collector):
    """Passes vLLM's own metrics on. vLLM registers them in prometheus_client's global registry; whatever else is in
    that registry is left out."""

    def collect(self) -> Iterable[Metric]:
        return (metric for metric in REGISTRY.collect() if metric.name.startswith("vllm:"))
