"""The dashboard *Service* shows throughput, latency, saturation and errors of the service."""

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Lines, Panel, Query, Stat
from deploy.grafana.queries import JUDGING, increase, mean, quantile, rate, ratio, select, total

_REFUSED = 'status=~"5..|429"'

_OVERVIEW: tuple[Panel, ...] = (
    Stat(
        "Replicas",
        "Replicas that are ready to judge, of those that Prometheus knows. If some are missing, `GET /readyz` of a "
        "replica says why it is not ready; if Prometheus cannot reach it, look at its log.",
        (
            Query(total("rubricd_ready"), "ready"),
            Query(f"count({select('up')})", "known"),
        ),
        steps=(1, 0.5),
        runbook=("RubricdDown", "RubricdMetricsMissing", "RubricdNotReady"),
    ),
    Stat(
        "Judgements",
        "Criteria judged per second, by the judge, the cache or a rule. It falls with the load or with the judge: look "
        "at the queue to see which.",
        (Query(rate("rubricd_judgements_total")),),
        unit="cps",
        decimals=0,
    ),
    Stat(
        "Latency (p95)",
        "95 % of the requests take at most this long. If it is high, look below whether the time goes into the queue "
        "or into the engine.",
        (Query(quantile(0.95, "rubricd_request_seconds")),),
        unit="s",
    ),
    Stat(
        "Refused or failed",
        "Fraction of requests answered with 429 or 5xx, without health checks and scrapes. A refused caller retries "
        "after `Retry-After`, so a few are harmless; many mean too little capacity or too small quotas.",
        (Query(ratio(rate("rubricd_requests_total", JUDGING, _REFUSED), rate("rubricd_requests_total", JUDGING))),),
        unit="percentunit",
        decimals=1,
        steps=(0.01, 0.05),
    ),
    Stat(
        "Queue",
        "Queued tokens of the fullest replica, as a fraction of its limit. At 100 % it refuses requests: add replicas, "
        "or have the trainers send less at a time.",
        (Query(f"max({select('rubricd_queued_tokens')} / {select('rubricd_queue_limit_tokens')})"),),
        unit="percentunit",
        decimals=0,
        steps=(0.5, 0.9),
    ),
    Stat(
        "Engine restarts",
        "Restarts of a dead or hung engine in the time range. If there are any, the log says why the engine died.",
        (Query(increase("rubricd_engine_restarts_total", within="$__range")),),
        decimals=0,
        steps=(0.5, 3),
        runbook=("RubricdEngineRestarted",),
    ),
)

_WORK: tuple[Panel, ...] = (
    Lines(
        "Judgements by source",
        "The source of the verdicts. `judge` is work; `cache` and `rule` cost next to nothing. If the same data needs "
        "`judge` again, check that every replica is connected to Redis and that the fingerprint has not changed.",
        (Query(rate("rubricd_judgements_total", by="source"), "{{source}}"),),
        unit="cps",
        stacked="normal",
    ),
    Lines(
        "Tokens of the judge",
        "Prompt tokens computed, prompt tokens shared with another query, and tokens generated, per second, beside the "
        "measured throughput of the judge. The judge is at its limit when the computed tokens are near that.",
        (
            Query(rate("rubricd_prompt_tokens_total", by="source"), "{{source}}"),
            Query(rate("rubricd_generated_tokens_total"), "generated"),
            Query(total("rubricd_drain_tokens_per_second"), "measured throughput"),
        ),
        unit="suffix: tok/s",
        runbook=("RubricdPrefixSharingLow",),
    ),
    Lines(
        "Requests by status",
        "Responses of the routes that judge. 499: the caller disconnected; 429: quota; 503: overloaded or not ready; "
        "500: a bug, whose request id is in the log.",
        (Query(rate("rubricd_requests_total", JUDGING, by="status"), "{{status}}"),),
        unit="reqps",
        stacked="normal",
        runbook=("RubricdInternalErrors",),
    ),
)

_TIME: tuple[Panel, ...] = (
    Lines(
        "Latency",
        "Latency of the requests that judge, whatever their size. A group of 64 responses with 12 criteria takes "
        "longer than a single response.",
        tuple(Query(quantile(q, "rubricd_request_seconds"), f"p{round(100 * q)}") for q in (0.5, 0.95, 0.99)),
        unit="s",
    ),
    Lines(
        "Queue wait (p95)",
        "95 % of the queries wait at most this long for the engine, by class. If `interactive` is high, somebody sends "
        "bulk work in that class.",
        (Query(quantile(0.95, "rubricd_queue_wait_seconds", by="class"), "{{class}}"),),
        unit="s",
        runbook=("RubricdQueueWaitHigh",),
    ),
    Lines(
        "Batch duration",
        "Duration of one engine batch, of label queries and of generation. It grows with `max_batch_tokens` and with "
        "whatever else uses the GPU.",
        tuple(
            Query(quantile(q, "rubricd_batch_seconds", by="query_type"), f"{{{{query_type}}}} p{round(100 * q)}")
            for q in (0.5, 0.95)
        ),
        unit="s",
    ),
)

_LIMITS: tuple[Panel, ...] = (
    Lines(
        "Queue and its limit",
        "Queued tokens, tokens in flight at the engine, and the limit of the queue: `max_queued_tokens`, or "
        "`max_queue_s` at the measured throughput if that is less.",
        (
            Query(total("rubricd_queued_tokens"), "queued"),
            Query(total("rubricd_in_flight_tokens"), "in flight"),
            Query(total("rubricd_queue_limit_tokens"), "limit"),
        ),
        unit="suffix: tok",
        runbook=("RubricdQueueFull",),
    ),
    Lines(
        "Refusals",
        "Requests refused, by error code. `quota_exceeded` is a limit of the team, `overloaded` of the judge; "
        "`unauthorized` is a wrong key.",
        (Query(rate("rubricd_refusals_total", by="code"), "{{code}}"),),
        unit="reqps",
        stacked="normal",
        runbook=("RubricdOverloaded",),
    ),
    Lines(
        "Faults",
        "Failed engine batches, engine restarts, failed canaries, faults of Redis, verdicts that the ledger lost, "
        "invalid teams files, and how many replicas Redis does not serve, or count quotas alone.",
        (
            Query(increase("rubricd_engine_failed_batches_total"), "engine: failed batches"),
            Query(increase("rubricd_engine_restarts_total"), "engine: restarts"),
            Query(increase("rubricd_canary_failures_total"), "canary: failures"),
            Query(increase("rubricd_redis_faults_total", 'reason!="unwritten"', by="reason"), "redis: {{reason}}"),
            Query(
                increase("rubricd_redis_faults_total", 'reason="unwritten"'),
                "redis: verdicts not written",
                right="short",
            ),
            Query(increase("rubricd_ledger_verdicts_total", 'outcome="lost"'), "ledger: verdicts lost", right="short"),
            Query(increase("rubricd_teams_reloads_total", 'outcome="failed"'), "teams file: invalid"),
            Query(f"sum(1 - {select('rubricd_redis_up')})", "replicas without Redis"),
            Query(f"sum(1 - {select('rubricd_quotas_shared')})", "replicas with quotas of their own"),
        ),
        runbook=(
            "RubricdEngineFailing",
            "RubricdRedisUnavailable",
            "RubricdRedisErrors",
            "RubricdTeamsFileInvalid",
            "RubricdCanaryFailing",
            "RubricdLedgerIncomplete",
        ),
    ),
)

_INSIDE: tuple[Panel, ...] = (
    Lines(
        "Batches",
        "Mean tokens (left) and queries (right) of a batch. If they are far below `max_batch_tokens` while the queue "
        "is full, the prompts are long or `max_in_flight` is too large.",
        (
            Query(mean("rubricd_batch_tokens", by="query_type"), "tokens, {{query_type}}"),
            Query(mean("rubricd_batch_queries", by="query_type"), "queries, {{query_type}}", right="short"),
        ),
        width=12,
    ),
    Lines(
        "Verdict cache",
        "Queries found in memory or Redis, joined to the same query of another request (in this `process` or another "
        "`replica`), or sent to the judge. Right: verdicts in memory.",
        (
            Query(rate("rubricd_cache_hits_total", by="tier"), "hit, {{tier}}"),
            Query(rate("rubricd_single_flight_joins_total", by="tier"), "joined, {{tier}}"),
            Query(rate("rubricd_cache_misses_total"), "miss"),
            Query(total("rubricd_cache_entries"), "entries", right="short"),
        ),
        unit="cps",
        width=12,
    ),
    Lines(
        "Event loop",
        "Lag of the event loop at the 99th percentile (left) and CPU cores in use (right). A lag of seconds means that "
        "the process has too little CPU; health checks then time out.",
        (
            Query(quantile(0.99, "rubricd_event_loop_lag_seconds", by="instance"), "lag p99, {{instance}}"),
            Query(rate("process_cpu_seconds_total", by="instance"), "cores, {{instance}}", right="short"),
        ),
        unit="s",
        width=12,
        runbook=("RubricdEventLoopLag",),
    ),
    Lines(
        "Memory",
        "Resident memory of each replica's process, without vLLM's own processes. It grows with the cached verdicts, "
        "up to `cache_entries`.",
        (Query(select("process_resident_memory_bytes"), "{{instance}}"),),
        unit="bytes",
        width=12,
    ),
    Lines(
        "Connections",
        "Open connections of each replica (left), and connections that a limit refused or closed, by reason (right). "
        "`evicted` and `client_limit` mean that one address has too many; `limit` that all are in use.",
        (
            Query(select("rubricd_open_connections"), "open, {{instance}}"),
            Query(rate("rubricd_connections_closed_total", by="reason"), "{{reason}}", right="short"),
        ),
        width=12,
    ),
    Lines(
        "Rule checks",
        "Processes that are busy with rule checks and checks that wait for one (left), checks per second by how they "
        "ended (right). Cheap checks need no process and are not counted.",
        (
            Query(rate("rubricd_rule_seconds_total"), "busy processes"),
            Query(total("rubricd_queued_rule_checks"), "waiting"),
            Query(rate("rubricd_rule_checks_total", by="outcome"), "{{outcome}}", right="cps"),
        ),
        width=12,
    ),
)

_VLLM: tuple[Panel, ...] = (
    Lines(
        "vLLM: requests",
        "Prompts that vLLM runs, and prompts that wait inside it. If they wait for long, the KV cache is too small for "
        "`max_batch_tokens` times `max_in_flight`.",
        (
            Query(total("vllm:num_requests_running"), "running"),
            Query(total("vllm:num_requests_waiting"), "waiting"),
        ),
    ),
    Lines(
        "vLLM: KV cache",
        "Fraction of the KV cache in use, by engine. Near 100 % vLLM preempts prompts and computes them again: give it "
        "more memory, or send smaller batches.",
        (Query(select("vllm:kv_cache_usage_perc"), "{{instance}}"),),
        unit="percentunit",
        max=1,
    ),
    Lines(
        "vLLM: prefix cache",
        "Fraction of prompt tokens found in the prefix cache. The criteria of one response share all but their ends, "
        "so a low value means that groups are split up or that the cache is too small.",
        (Query(f"{rate('vllm:prefix_cache_hits_total')} / {rate('vllm:prefix_cache_queries_total')}", "hits"),),
        unit="percentunit",
        max=1,
        runbook=("RubricdPrefixSharingLow",),
    ),
)

BOARD = Board(
    "rubricd-service",
    "rubricd: Service",
    "Throughput, latency, saturation and errors of the service.",
    (
        Row("Overview", _OVERVIEW),
        Row("Throughput", _WORK),
        Row("Latency", _TIME),
        Row("Saturation and errors", _LIMITS),
        Row("Process", _INSIDE, collapsed=True),
        Row("vLLM (engine `vllm`)", _VLLM, collapsed=True),
    ),
)
