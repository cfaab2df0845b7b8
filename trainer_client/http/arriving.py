"""Yields the outcomes of a batch one by one, as they arrive.

Guarantees: the work has ended when the generator is closed, by whichever task.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

from trainer_client.http.batching import BatchScorer, Listener
from trainer_client.http.outcomes import Outcome


async def arriving(work: Callable[[Listener], BatchScorer] | None) -> AsyncGenerator[tuple[int, Outcome], None]:
    """Each outcome with its place. `work` makes the batch's work for what listens to it; None is an empty batch."""
    if work is None:
        return
    arrived: asyncio.Queue[tuple[int, Outcome] | None] = asyncio.Queue()
    scorer = work(lambda place, outcome: arrived.put_nowait((place, outcome)))
    # A task of its own: whichever task closes this generator, the work ends in the task that began it.
    running = asyncio.create_task(scorer.stream())
    running.add_done_callback(lambda _: arrived.put_nowait(None))
    try:
        while (one := await arrived.get()) is not None:
            yield one
        await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
