"""What a request's usage becomes in the metrics."""

from service.api.request_metrics import account
from service.observability import Telemetry
from service.scoring.pending import Usage
from testkit.metrics_page import Page


def test_each_question_is_a_miss_a_hit_or_a_join_of_one_place() -> None:
    telemetry = Telemetry()
    usage = Usage(judgements=1, cache_hits=5, shared_hits=2, deduplicated=7, awaited=3)
    account(telemetry, "a", "verdict", [], usage)
    page = Page(telemetry.exposition().decode())
    assert page("rubricd_cache_misses_total") == 1
    assert [page("rubricd_cache_hits_total", tier=tier) for tier in ("memory", "redis")] == [3, 2]
    assert [page("rubricd_single_flight_joins_total", where=where) for where in ("process", "replica")] == [4, 3]
