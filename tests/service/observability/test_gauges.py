"""Gauges that are read at each scrape: unknown values, and teams that share a label."""

from service.observability import GaugeValues, Telemetry
from testkit.metrics_page import exposed


def test_an_unknown_value_has_no_sample() -> None:
    telemetry = Telemetry()
    telemetry.set_gauge_source(GaugeValues)
    unknown = exposed(telemetry)
    for name in ("rubricd_queue_limit_tokens", "rubricd_drain_tokens_per_second", "rubricd_redis_up"):
        assert not unknown.has(name)
        assert f"# TYPE {name} gauge" in unknown.text
    assert unknown("rubricd_ready") == 0
    telemetry.set_gauge_source(lambda: GaugeValues(ready=True, redis_up=False, tokens_per_s=2.5))
    known = exposed(telemetry)
    assert (known("rubricd_ready"), known("rubricd_redis_up")) == (1, 0)
    assert known("rubricd_drain_tokens_per_second") == 2.5


def test_teams_beyond_the_limit_are_summed() -> None:
    telemetry = Telemetry(max_teams=1)
    queued = {("a", "train"): 1, ("b", "train"): 2, ("c", "train"): 4, ("c", "eval"): 8}
    telemetry.set_gauge_source(lambda: GaugeValues(queued=queued, reserved={"a": 1, "b": 2, "c": 4}))
    found = exposed(telemetry)
    assert found("rubricd_queued_tokens") == 15
    assert found("rubricd_team_queued_tokens", team="a") == 1
    assert found("rubricd_team_queued_tokens", **{"team": "other", "class": "train"}) == 6
    assert found("rubricd_team_queued_tokens", **{"team": "other", "class": "eval"}) == 8
    assert found("rubricd_quota_reserved_tokens", team="other") == 6
