"""What replicas of the service share: verdicts, who judges what, quotas, replays. By Redis, or by nobody.

Always true: without Redis, and whenever it fails, each process keeps all of it in its own memory.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from service.cache.redis import RedisCache
from service.clock import Clock
from service.idempotency import IdempotencyStore, MemoryIdempotencyStore, RedisIdempotencyStore
from service.modes.modes import ModeResult
from service.observability import Telemetry
from service.redis_client import RedisClient
from service.scoring.verdict_codec import decode, encode
from service.settings import Settings
from service.tenancy.quota import Ledger, MemoryLedger, RedisLedger

_REPLAY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Replicas:
    """`cache` is None where there is only memory."""

    ledger: Ledger
    idempotency_store: IdempotencyStore
    cache: RedisCache[ModeResult] | None
    link: RedisClient | None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if self.link is not None:
                stack.push_async_callback(self.link.aclose)
            for part in (self.ledger, self.idempotency_store, self.cache):
                if isinstance(part, RedisLedger | RedisIdempotencyStore | RedisCache):
                    await part.start()
                    stack.push_async_callback(part.stop)
            yield


def replicas(settings: Settings, clock: Clock, telemetry: Telemetry) -> Replicas:
    """Raises ConfigurationError for a Redis URL that cannot be used. Connects to nothing yet."""
    ledger, idempotency_store = (
        MemoryLedger(clock),
        MemoryIdempotencyStore(clock, settings.idempotency_s, _REPLAY_BYTES),
    )
    if settings.redis_url is None:
        return Replicas(ledger, idempotency_store, None, None)
    fault = telemetry.count_redis_fault
    link = RedisClient(settings.redis_url, timeout_s=settings.redis_timeout_s, clock=clock, faulted=fault)
    cache = RedisCache[ModeResult](link, clock, encode=encode, decode=decode, ttl_s=settings.cache_ttl_s, faulted=fault)
    return Replicas(
        ledger=RedisLedger(link, clock, ledger),
        idempotency_store=RedisIdempotencyStore(link, clock, settings.idempotency_s, idempotency_store),
        cache=cache,
        link=link,
    )
