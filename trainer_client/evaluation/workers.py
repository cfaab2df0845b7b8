"""Does many pieces of work, a few at the same time.

Guarantees: no piece is begun after an error, and the first error is raised once those under way have ended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from trainer_client.errors import RubricdClientError

_T = TypeVar("_T")


async def work_through(pieces: Iterable[_T], do: Callable[[_T], Awaitable[None]], workers: int) -> None:
    shared = iter(pieces)

    async def worker() -> None:
        for piece in shared:  # each piece goes to one worker
            await do(piece)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except BaseExceptionGroup as defects:
        of_ours = (one for one in defects.exceptions if isinstance(one, RubricdClientError))
        raise next(of_ours, defects.exceptions[0]) from None
