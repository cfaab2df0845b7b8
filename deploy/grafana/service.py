"""The dashboard *Service*: is it fine, and if not, is it the load, the judge or something beside them?"""

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Lines, Panel, Query, Stat
from deploy.grafana.queries import JUDGING, increase, mean, quantile, rate, ratio, select, total

_REFUSED = 'status=~"5..|429"'

_OVERVIEW: tuple[Panel, ...] = (
    Stat(
        "Replicas",
        "Replicas that would judge a request now, of those that Prometheus knows. Fewer: `GET /readyz` of the missing "
        "one says why; one that Prometheus cannot reach has a log.",
        (
            Query(total("rubricd_ready"), "ready"),
            Query(f"count({select('up')})", "known"),
        ),
        steps=(1, 0.5),
        runbook=("RubricdDown", "RubricdMetricsMissing", "RubricdNotReady"),
    ),
    Stat(
        "Judgements",
        "Criteria answered in a second, from the judge, the cache or a rule. Falls with the load or with the judge: "
        "look whether anything waits.",
        (Query(rate("rubricd_judgements_total")),),
        unit="cps",
        decimals=0,
    ),
    Stat(
        "Slowest twentieth",
        "19 of 20 requests are answered in this time. Where it is high look where the time goes: waiting, or at the "
        "engine.",
        (Query(quantile(0.95, "rubricd_request_seconds")),),
        unit="s",
    ),
    Stat(
        "Refused or failed",
        "Share of requests answered 429 or 5xx; probes and scrapes are not counted. A refusal tells its caller when to "
        "come back, so that some are no harm; many mean too few judges or too small quotas.",
        (Query(ratio(rate("rubricd_requests_total", JUDGING, _REFUSED), rate("rubricd_requests_total", JUDGING))),),
        unit="percentunit",
        decimals=1,
        steps=(0.01, 0.05),
    ),
    Stat(
        "Queue",
        "How full the fullest replica's queue is, of what may wait now. At 100 % requests are refused: add replicas, "
        "or let trainers ask for less.",
        (Query(f"max({select('rubricd_queued_tokens')} / {select('rubricd_queue_limit_tokens')})"),),
        unit="percentunit",
        decimals=0,
        steps=(0.5, 0.9),
    ),
    Stat(
        "Engine restarts",
        "Times that a dead or hung engine was restarted, in the time shown. Not 0: the log says what it died of.",
        (Query(increase("rubricd_engine_restarts_total", within="$__range")),),
        decimals=0,
        steps=(0.5, 3),
        runbook=("RubricdEngineRestarted",),
    ),
)

_WORK: tuple[Panel, ...] = (
    Lines(
        "Judgements by source",
        "Where verdicts come from. `judge` is work; `cache` and `rule` cost next to nothing. Much `judge` for the same "
        "data again: is every replica connected to Redis, has the judge's fingerprint changed?",
        (Query(rate("rubricd_judgements_total", by="source"), "{{source}}"),),
        unit="cps",
        stacked="normal",
    ),
    Lines(
        "Judge's tokens",
        "Prompt tokens computed, prompt tokens shared with another question, tokens written, a second; and what the "
        "judge was measured to do. Computed near that: it is at its limit.",
        (
            Query(rate("rubricd_prompt_tokens_total", by="source"), "{{source}}"),
            Query(rate("rubricd_generated_tokens_total"), "generated"),
            Query(total("rubricd_drain_tokens_per_second"), "measured capacity"),
        ),
        unit="suffix: tok/s",
        runbook=("RubricdPrefixSharingLow",),
    ),
    Lines(
        "Requests by status",
        "Answers to those who ask for judgements. 499 are callers that left; 429 quota; 503 overloaded or not ready; "
        "500 is a bug, the log has its request id.",
        (Query(rate("rubricd_requests_total", JUDGING, by="status"), "{{status}}"),),
        unit="reqps",
        stacked="normal",
        runbook=("RubricdInternalErrors",),
    ),
)

_TIME: tuple[Panel, ...] = (
    Lines(
        "Time to answer",
        "Of requests that judge, however large. A group of 64 with 12 criteria takes longer than one response.",
        tuple(Query(quantile(q, "rubricd_request_seconds"), f"p{round(100 * q)}") for q in (0.5, 0.95, 0.99)),
        unit="s",
    ),
    Lines(
        "Wait for the judge",
        "19 of 20 questions wait no longer before the engine has them, by class. `interactive` high: somebody sends "
        "bulk work with it.",
        (Query(quantile(0.95, "rubricd_queue_wait_seconds", by="class"), "{{class}}"),),
        unit="s",
        runbook=("RubricdQueueWaitHigh",),
    ),
    Lines(
        "Engine step",
        "Time of one batch at the engine, reading labels or writing. It grows with `max_batch_tokens` and with "
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
        "Queue against its limit",
        "Tokens that wait, tokens at the engine, and what may wait: `max_queued_tokens`, or `max_queue_s` at the "
        "measured rate if that is less.",
        (
            Query(total("rubricd_queued_tokens"), "waiting"),
            Query(total("rubricd_in_flight_tokens"), "at the engine"),
            Query(total("rubricd_queue_limit_tokens"), "may wait"),
        ),
        unit="suffix: tok",
        runbook=("RubricdQueueFull",),
    ),
    Lines(
        "Refusals",
        "Requests refused, by code. `quota_exceeded` is the team's limit, `overloaded` the judge's; `unauthorized` "
        "somebody's key.",
        (Query(rate("rubricd_refusals_total", by="code"), "{{code}}"),),
        unit="reqps",
        stacked="normal",
        runbook=("RubricdOverloaded",),
    ),
    Lines(
        "Faults",
        "What went wrong: batches that the engine failed, its restarts, canaries without an answer, calls to Redis, "
        "teams files that could not be read; and how many replicas leave Redis alone.",
        (
            Query(increase("rubricd_engine_failed_batches_total"), "engine: failed batches"),
            Query(increase("rubricd_engine_restarts_total"), "engine: restarts"),
            Query(increase("rubricd_canary_failures_total"), "canary: no answer"),
            Query(increase("rubricd_redis_faults_total", 'reason!="unwritten"', by="reason"), "redis: {{reason}}"),
            Query(increase("rubricd_redis_faults_total", 'reason="unwritten"'), "redis: not written", right="short"),
            Query(increase("rubricd_teams_reloads_total", 'outcome="failed"'), "teams file: unreadable"),
            Query(f"sum(1 - {select('rubricd_redis_up')})", "replicas without Redis"),
        ),
        runbook=(
            "RubricdEngineFailing",
            "RubricdRedisUnavailable",
            "RubricdRedisErrors",
            "RubricdTeamsFileInvalid",
            "RubricdCanaryFailing",
        ),
    ),
)

_INSIDE: tuple[Panel, ...] = (
    Lines(
        "Batches",
        "Mean tokens (left) and questions (right) of a batch. Far below `max_batch_tokens` with a full queue: long "
        "prompts, or `max_in_flight` too large.",
        (
            Query(mean("rubricd_batch_tokens", by="query_type"), "tokens, {{query_type}}"),
            Query(mean("rubricd_batch_queries", by="query_type"), "queries, {{query_type}}", right="short"),
        ),
        width=12,
    ),
    Lines(
        "Verdict cache",
        "What became of questions: known in memory or Redis, asked at that moment by somebody else (`process`, "
        "`replica`), or judged. Right: verdicts in memory.",
        (
            Query(rate("rubricd_cache_hits_total", by="tier"), "known, {{tier}}"),
            Query(rate("rubricd_single_flight_joins_total", by="tier"), "joined, {{tier}}"),
            Query(rate("rubricd_cache_misses_total"), "judged"),
            Query(total("rubricd_cache_entries"), "entries", right="short"),
        ),
        unit="cps",
        width=12,
    ),
    Lines(
        "Event loop",
        "How late the process is at the slowest hundredth (left), and its CPU cores (right). Late for seconds: the "
        "process has too little CPU, and probes time out.",
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
        "Resident memory of each process; vLLM's own processes are not in it. It grows with the verdicts in memory, "
        "up to `cache_entries`.",
        (Query(select("process_resident_memory_bytes"), "{{instance}}"),),
        unit="bytes",
        width=12,
    ),
)

_VLLM: tuple[Panel, ...] = (
    Lines(
        "vLLM: requests",
        "Prompts that vLLM runs and that wait inside it. Waiting for long: its KV cache is too small for "
        "`max_batch_tokens` times `max_in_flight`.",
        (
            Query(total("vllm:num_requests_running"), "running"),
            Query(total("vllm:num_requests_waiting"), "waiting"),
        ),
    ),
    Lines(
        "vLLM: KV cache",
        "Share of the KV cache in use by each engine. Near 100 %: prompts are put off and computed again; give it more "
        "memory, or smaller batches.",
        (Query(select("vllm:kv_cache_usage_perc"), "{{instance}}"),),
        unit="percentunit",
        max=1,
    ),
    Lines(
        "vLLM: prefix cache",
        "Share of prompt tokens found in the prefix cache. Criteria of one response share all but their ends: low "
        "means that groups are cut apart, or that the cache is too small.",
        (Query(f"{rate('vllm:prefix_cache_hits_total')} / {rate('vllm:prefix_cache_queries_total')}", "hits"),),
        unit="percentunit",
        max=1,
        runbook=("RubricdPrefixSharingLow",),
    ),
)

BOARD = Board(
    "rubricd-service",
    "rubricd: Service",
    "Throughput, latency, saturation and errors of the judge as a service.",
    (
        Row("Is it fine?", _OVERVIEW),
        Row("Throughput", _WORK),
        Row("Latency", _TIME),
        Row("Saturation and errors", _LIMITS),
        Row("Inside the process", _INSIDE, collapsed=True),
        Row("vLLM (engine `vllm`)", _VLLM, collapsed=True),
    ),
)
