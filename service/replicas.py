"""What replicas of the service share: verdicts, who judges what, quotas, replays. By Redis, or by nobody.

Always true: without Redis, and whenever it fails, each process keeps all of it in its own memory.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from service.cache.redis import RedisCache
from service.clock import Clock
from service.idempotency import MemoryReplays, RedisReplays, Replays
from service.modes.modes import Said
from service.observability import Telemetry
from service.redis_client import RedisLink
from service.scoring.verdict_codec import decode, encode
from service.settings import Settings
from service.tenancy.quota import Ledger, MemoryLedger, RedisLedger

_REPLAY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Replicas:
    """`cache` is None where there is only memory."""

    ledger: Ledger
    replays: Replays
    cache: RedisCache[Said] | None
    link: RedisLink | None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if self.link is not None:
                stack.push_async_callback(self.link.aclose)
            for part in (self.ledger, self.replays, self.cache):
                if isinstance(part, RedisLedger | RedisReplays | RedisCache):
                    await part.start()
                    stack.push_async_callback(part.stop)
            yield


def replicas(settings: Settings, clock: Clock, telemetry: Telemetry) -> Replicas:
    """Raises ConfigurationError for a Redis URL that cannot be used. Connects to nothing yet."""
    ledger, replays = MemoryLedger(clock), MemoryReplays(clock, settings.idempotency_s, _REPLAY_BYTES)
    if settings.redis_url is None:
        return Replicas(ledger, replays, None, None)
    fault = telemetry.count_redis_fault
    link = RedisLink(settings.redis_url, timeout_s=settings.redis_timeout_s, clock=clock, faulted=fault)
    cache = RedisCache[Said](link, clock, encode=encode, decode=decode, ttl_s=settings.cache_ttl_s, faulted=fault)
    return Replicas(
        ledger=RedisLedger(link, clock, ledger),
        replays=RedisReplays(link, clock, settings.idempotency_s, replays),
        cache=cache,
        link=link,
    )
