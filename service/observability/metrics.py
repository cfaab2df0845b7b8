"""Metrics are declared here once, except for gauges that are read at each scrape (`gauges.py`).

Guarantees: a label's values come from a closed set, and none carries text of a request. Times are in seconds, tokens
are those of the judge's tokenizer. Series that an alert needs exist from the start, at zero: Prometheus does not see
the first step of a counter that appears with it. A gauge has no sample before something was measured. The label
`judge` is empty, which Prometheus reads as no label, where the one judge of a deployment has no name.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.observability.bulk_histogram import BulkHistogram

_REQUEST_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 60)
_BATCH_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_WAIT_S = (0.1, 0.5, 2, 10, 60)
_RETRY_S = (1, 5, 15, 60)
_LAG_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 5)
_TOKENS = (256, 1024, 4096, 8192, 16384, 65536)
_QUERIES = (1, 4, 16, 64, 256, 1024)
_FRACTION = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
_WAY = ("mode", "layout", "prompt", "judge")
_MASS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)


class _Declare:
    """Declares metrics in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(name, help, labels, registry=self._registry)

    def gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(name, help, labels, registry=self._registry)

    def histogram(self, name: str, help: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, help, labels, buckets=buckets, registry=self._registry)

    def bulk(self, name: str, help: str, buckets: Sequence[float], *labels: str) -> BulkHistogram:
        return BulkHistogram(name, help, labels, buckets=buckets, registry=self._registry)


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        declare = _Declare(registry)
        counter, gauge, histogram, bulk = declare.counter, declare.gauge, declare.histogram, declare.bulk

        self.requests = counter("rubricd_requests", "HTTP requests, by route and status.", "route", "status")
        self.request_s = histogram("rubricd_request_seconds", "Latency of routes that judge.", _REQUEST_S, "route")
        self.refusals = counter("rubricd_refusals", "Requests refused, by team and error code.", "team", "code")
        self.retry_after_s = histogram("rubricd_retry_after_seconds", "Retry-After of refusals.", _RETRY_S, "code")

        self.connections = gauge("rubricd_open_connections", "Connections that are open.")
        self.connections_closed = counter(
            "rubricd_connections_closed", "Connections refused or closed by a limit, by reason.", "reason"
        )

        self.items = counter(
            "rubricd_items", "Responses scored and pairs compared, by team and status.", "team", "status"
        )
        self.judgements = counter(
            "rubricd_judgements", "Criteria judged, by source, mode and outcome.", "source", "mode", "outcome"
        )
        self.graded = counter(
            "rubricd_graded", "Criteria with a level or an extracted value, by how they came out.", "outcome"
        )
        self.p_met = bulk("rubricd_p_met", "P(met) as the judge returned it.", _FRACTION)
        self.label_mass = bulk("rubricd_label_mass", "Probability that the judge put on its labels.", _MASS)
        self.threshold_ties = counter("rubricd_threshold_ties", "Criteria that were met with P(met) at the threshold.")
        self.disagreement = bulk(
            "rubricd_disagreement", "How far apart P(met) is in two askings of one criterion.", _FRACTION
        )
        self.panel_disagreement = bulk(
            "rubricd_panel_disagreement", "How far apart P(met) of a panel's members is.", _FRACTION, "judge"
        )
        self.panel_members = counter(
            "rubricd_panel_members",
            "Judgements of a panel's members, by whether they agreed with the panel, differed or were missing.",
            "judge",
            "member",
            "outcome",
        )
        self.shadow_judgements = counter(
            "rubricd_shadow_judgements",
            "Judgements asked of a shadow, by team and whether it says the same.",
            *("shadow", "team", "outcome"),
        )
        self.shadow_difference = bulk(
            "rubricd_shadow_difference", "How far apart P(met) is between a judge and its shadow.", _FRACTION, "shadow"
        )
        self.shadow_dropped = counter(
            "rubricd_shadow_dropped", "Responses that a shadow was not asked about, by reason.", "shadow", "reason"
        )
        self.order_effect = bulk(
            "rubricd_order_effect", "How far apart P(a is better) is in the two orders of a pair.", _FRACTION
        )
        self.groups = counter("rubricd_groups", "GRPO groups, by the spread of their scores.", "spread")
        self.group_criteria = counter(
            "rubricd_group_criteria", "Criteria of groups, by the spread of their verdicts.", "spread"
        )
        self.reasoning = counter("rubricd_reasoning", "Responses with reasoning, by what became of it.", "outcome")
        self.neutral = counter(
            "rubricd_neutral_rewards", "Rewards that were not judged, returned as protocol_neutral.", "route"
        )

        self.queue_wait_s = bulk(
            "rubricd_queue_wait_seconds", "Time of a query from admission to the engine.", _WAIT_S, "team", "class"
        )
        self.batch_tokens = histogram("rubricd_batch_tokens", "Tokens of an engine batch.", _TOKENS, "query_type")
        self.batch_queries = histogram("rubricd_batch_queries", "Queries of an engine batch.", _QUERIES, "query_type")
        self.batch_s = histogram("rubricd_batch_seconds", "Duration of an engine batch.", _BATCH_S, "query_type")
        self.failed_batches = counter("rubricd_engine_failed_batches", "Engine batches that failed as a whole.")
        self.prompt_tokens = counter("rubricd_prompt_tokens", "Prompt tokens, computed or shared.", "source")
        self.generated_tokens = counter("rubricd_generated_tokens", "Tokens that the judge generated.")
        self.team_tokens = counter("rubricd_team_tokens", "Tokens computed for a team.", "team")
        self.team_judge_s = counter(
            "rubricd_team_judge_seconds", "Engine time, divided among teams by their tokens.", "team"
        )

        self.team_cost = counter(
            "rubricd_team_cost_dollars",
            "US dollars that judges' servers report, by team.",
            "team",
        )
        self.team_unpriced = counter(
            "rubricd_team_unpriced_judgements", "Answers for which a judge's server reports no price, by team.", "team"
        )

        self.cache_hits = counter("rubricd_cache_hits", "Queries answered from a cache, by tier.", "tier")
        self.cache_misses = counter("rubricd_cache_misses", "Queries in no cache, sent to the judge.")
        self.joins = counter(
            "rubricd_single_flight_joins", "Queries that waited for the same query of another request.", "tier"
        )
        self.redis_faults = counter("rubricd_redis_faults", "Faults of Redis, by reason.", "reason")

        self.quota_tokens = counter("rubricd_quota_tokens", "Tokens charged to a team's quota.", "team")
        self.quota_requests = counter("rubricd_quota_requests", "Requests charged to a team's quota.", "team")
        self.quota_rule_s = counter("rubricd_quota_rule_seconds", "Rule seconds charged to a team's quota.", "team")
        self.rule_checks = counter(
            "rubricd_rule_checks", "Rule checks in processes, by rule and how they ended.", "rule", "outcome"
        )
        self.rule_s = counter("rubricd_rule_seconds", "Seconds of a process that rule checks took, by team.", "team")
        self.teams_reloads = counter("rubricd_teams_reloads", "Reloads of the teams file, by outcome.", "outcome")

        self.ledger = counter(
            "rubricd_ledger_verdicts", "Verdicts for the ledger, by whether they were written or lost.", "outcome"
        )

        self.judge = gauge(
            "rubricd_judge_info", "1 for a judge that serves.", "model", "engine", "fingerprint", "judge"
        )
        self.canary_drift = gauge(
            "rubricd_canary_drift", "Largest change of P(met) on the canaries since the start.", "judge"
        )
        self.canary_failures = counter(
            "rubricd_canary_failures", "Failures of the canary queries, by code.", "code", "judge"
        )
        self.labelled_canaries = gauge(
            "rubricd_labelled_canaries", "How P(met) agrees with the labels of the canaries.", "figure", "judge"
        )
        self.log_loss_change = gauge(
            "rubricd_canary_log_loss_change",
            "Change of the log loss on the labelled canaries since the start.",
            "judge",
        )
        self.exam_accuracy = gauge(
            "rubricd_exam_accuracy", "Share of the exam's pairs that the judge got right.", *_WAY
        )
        self.judge_proven = gauge(
            "rubricd_judge_proven", "1 where the judge's exam proves it better than chance.", *_WAY
        )
        self.loop_lag_s = histogram("rubricd_event_loop_lag_seconds", "How late the event loop wakes up.", _LAG_S)
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        for outcome in ("written", "lost"):
            self.ledger.labels(outcome)
        for status in ("200", "500", "503"):
            self.requests.labels("/v1/score", status)
        for outcome in ("met", "unmet", "abstained", "engine_error"):
            self.judgements.labels("judge", "verdict", outcome)
        for outcome in ("level", "torn", "value"):
            self.graded.labels(outcome)
        for found in ("kept", "removed", "unfinished", "no_answer"):
            self.reasoning.labels(found)
        for reason in ("limit", "client_limit", "evicted", "headers_too_slow", "body_too_slow", "answer_unread"):
            self.connections_closed.labels(reason)
        for spread in ("varied", "zero", "unjudged"):
            self.groups.labels(spread)
        for spread in ("all_met", "none_met", "mixed"):
            self.group_criteria.labels(spread)
        for source in ("computed", "shared"):
            self.prompt_tokens.labels(source)
        for tier in ("memory", "redis"):
            self.cache_hits.labels(tier)
        for tier in ("process", "replica"):
            self.joins.labels(tier)
        for outcome in ("ok", "failed"):
            self.teams_reloads.labels(outcome)
