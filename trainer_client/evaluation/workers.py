"""Does many pieces of work, a few at the same time.

Guarantees: no piece is begun after an error. The pieces under way are brought to their end, because what was asked is
paid for, and then an error is raised: one of the client's where there is one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from trainer_client.errors import RubricdClientError

_T = TypeVar("_T")


async def work_through(pieces: Iterable[_T], do: Callable[[_T], Awaitable[None]], workers: int) -> None:
    shared = iter(pieces)
    failed: list[Exception] = []

    async def worker() -> None:
        for piece in shared:  # each piece goes to one worker
            if failed:
                return
            try:
                await do(piece)
            except Exception as error:
                failed.append(error)

    await asyncio.gather(*(worker() for _ in range(workers)))
    if failed:
        raise next((one for one in failed if isinstance(one, RubricdClientError)), failed[0])
