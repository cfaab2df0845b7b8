"""What the service counts, each metric declared once. Labels come from closed sets; none carries text of a request."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Telemetry:
    """One registry an app, so that two apps in a process do not share counts."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._queued_by: Callable[[], Mapping[str, int]] = dict
        self._judgements = Counter(
            "rubricd_judgements", "Criteria answered, by where from and how.", ["source", "status"], registry=registry
        )
        self._requests = Counter(
            "rubricd_requests", "HTTP requests, by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "rubricd_request_seconds", "Time to answer, by route.", ["route"], buckets=_SECONDS, registry=registry
        )
        self._tokens = Counter(
            "rubricd_prompt_tokens", "Tokens of judged prompts, computed or shared.", ["kind"], registry=registry
        )
        self._team_tokens = Counter("rubricd_team_tokens", "Tokens computed for a team.", ["team"], registry=registry)
        self._team_queued = Gauge(
            "rubricd_team_queued_tokens", "A team's tokens waiting for the judge.", ["team"], registry=registry
        )
        self._refusals = Counter(
            "rubricd_refusals", "Requests refused, by team and why.", ["team", "code"], registry=registry
        )
        self._neutral = Counter(
            "rubricd_neutral_rewards", "Rewards that were not judged, told as neutral.", ["route"], registry=registry
        )
        self._hits = Counter("rubricd_cache_hits", "Verdicts found, by where.", ["tier"], registry=registry)
        self._redis_faults = Counter("rubricd_redis_faults", "What Redis got wrong.", ["kind"], registry=registry)
        self._reloads = Counter(
            "rubricd_teams_reloads", "Times the teams file was read anew.", ["outcome"], registry=registry
        )
        self._judge = Gauge(
            "rubricd_judge_info", "1 for the judge that serves.", ["model", "engine", "fingerprint"], registry=registry
        )
        self._queued = Gauge("rubricd_queued_tokens", "Tokens waiting for the judge.", registry=registry)
        self._drift = Gauge(
            "rubricd_canary_drift",
            "Largest change of P(met) on the canaries since the start.",
            registry=registry,
        )
        self._canary_failures = Counter(
            "rubricd_canary_failures",
            "Times the canaries went unanswered, by why.",
            ["code"],
            registry=registry,
        )

    def watch_queue(self, queued_by: Callable[[], Mapping[str, int]]) -> None:
        """`queued_by` tells tokens by team, when the metrics are read."""
        self._queued_by = queued_by

    def judge_serves(self, model: str, engine: str, fingerprint: str) -> None:
        self._judge.labels(model, engine, fingerprint).set(1)

    def count_judgements(self, outcomes: Iterable[tuple[str, str]]) -> None:
        """Pairs of source and status."""
        for (source, status), count in Tally(outcomes).items():
            self._judgements.labels(source, status).inc(count)

    def count_tokens(self, team: str, prompt_tokens: int, cached_tokens: int) -> None:
        self._tokens.labels("computed").inc(prompt_tokens - cached_tokens)
        self._tokens.labels("shared").inc(cached_tokens)
        self._team_tokens.labels(team).inc(prompt_tokens - cached_tokens)

    def count_hits(self, *, memory: int, redis: int) -> None:
        self._hits.labels("memory").inc(memory)
        self._hits.labels("redis").inc(redis)

    def count_refusal(self, team: str, code: str) -> None:
        self._refusals.labels(team, code).inc()

    def count_neutral(self, route: str, rewards: int) -> None:
        self._neutral.labels(route).inc(rewards)

    def count_redis_fault(self, kind: str) -> None:
        self._redis_faults.labels(kind).inc()

    def teams_reloaded(self, ok: bool) -> None:
        self._reloads.labels("ok" if ok else "failed").inc()

    def count_request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def canary_drifted(self, drift: float) -> None:
        self._drift.set(drift)

    def canary_failed(self, code: str) -> None:
        self._canary_failures.labels(code).inc()

    def exposition(self) -> bytes:
        queued = self._queued_by()
        self._queued.set(sum(queued.values()))
        self._team_queued.clear()
        for team, tokens in queued.items():
            self._team_queued.labels(team).set(tokens)
        return generate_latest(self._registry)
