"""Work shared out: every piece once, and none begun after an error."""

import asyncio

import pytest

from trainer_client.errors import DeadlineExceeded
from trainer_client.evaluation.workers import work_through


async def test_every_piece_is_done_once_and_a_few_at_a_time() -> None:
    done: list[int] = []
    running = most = 0

    async def do(piece: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.append(piece)

    await work_through(range(50), do, 4)
    assert sorted(done) == list(range(50)) and most == 4


async def test_what_is_under_way_ends_and_then_the_clients_error_is_raised() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def do(piece: int) -> None:
        begun.append(piece)
        if piece == 0:
            raise KeyError("of ours")
        await asyncio.sleep(0)
        if piece == 1:
            raise DeadlineExceeded("too late")
        await asyncio.sleep(0)
        ended.append(piece)

    with pytest.raises(KeyError):
        await work_through(range(100), do, 4)
    assert begun == [0] and ended == []

    begun.clear()
    with pytest.raises(DeadlineExceeded):
        await work_through(range(1, 100), do, 4)
    assert begun == [1, 2, 3, 4] and ended == [2, 3, 4]
