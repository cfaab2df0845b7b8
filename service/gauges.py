"""What Prometheus reads off when it asks, gathered from every floor."""

from dataclasses import dataclass

from service.cache.memory import MemoryCache
from service.engine.base import Engine
from service.lifecycle import Served
from service.modes.modes import ModeResult
from service.observability import GaugeValues
from service.redis_client import RedisClient
from service.scheduling import Scheduler
from service.tenancy.metered import limits


@dataclass(frozen=True, slots=True)
class Judging:
    """What is there once the judge has loaded."""

    engine: Engine
    scheduler: Scheduler
    store: MemoryCache[ModeResult]


def reading(served: Served, link: RedisClient | None, judging: Judging | None = None) -> GaugeValues:
    quotas = limits(served.door.teams)
    reserved = dict.fromkeys((team for team, quota in quotas if quota != "requests_per_minute"), 0)
    reserved.update(served.ledger.reserved())
    redis_up = None if link is None else not link.down
    if judging is None:
        return GaugeValues(redis_up=redis_up, teams_file_ok=served.door.file_ok, limits=quotas, reserved=reserved)
    scheduler = judging.scheduler
    return GaugeValues(
        ready=served.why_not_ready is None,
        queued=scheduler.queued_by(),
        queue_limit_tokens=scheduler.limit_tokens,
        tokens_per_s=scheduler.tokens_per_s,
        in_flight_tokens=scheduler.in_flight_tokens,
        cache_entries=len(judging.store),
        engine_restarts=judging.engine.restarts,
        redis_up=redis_up,
        teams_file_ok=served.door.file_ok,
        limits=quotas,
        reserved=reserved,
    )
