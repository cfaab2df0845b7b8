import asyncio
import threading

import pytest

from testkit.waiting import HUNG_S
from trainer_client.http.background_loop import BackgroundLoop


async def _thread() -> threading.Thread:
    return threading.current_thread()


def test_work_runs_in_one_thread_that_begins_with_it() -> None:
    loop = BackgroundLoop("tested", None)
    assert "tested" not in [thread.name for thread in threading.enumerate()]
    first, second = loop.run(_thread), loop.start(_thread).result()
    assert first is second and first.daemon and first.name == "tested"
    loop.close()
    assert not first.is_alive()


def test_what_work_raises_is_raised() -> None:
    async def fail() -> None:
        raise KeyError("reason")

    loop = BackgroundLoop("tested", None)
    with pytest.raises(KeyError, match="reason"):
        loop.run(fail)
    loop.close()


def test_closing_cancels_what_is_under_way_and_later_work_begins_another_thread() -> None:
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    loop = BackgroundLoop("tested", None)
    waiting = loop.start(wait)
    assert begun.wait(HUNG_S)
    loop.close()
    assert waiting.cancelled()
    loop.close()
    assert loop.run(_thread).name == "tested"
    loop.close()


def test_closing_from_within_does_not_wait_for_itself() -> None:
    loop = BackgroundLoop("tested", None)
    own = loop.run(_thread)

    async def close() -> None:
        loop.close()

    loop.start(close).exception(10)
    own.join(HUNG_S)
    assert not own.is_alive()


def test_waiting_from_within_is_an_error() -> None:
    loop = BackgroundLoop("tested", None)

    async def nested() -> threading.Thread:
        return loop.run(_thread)

    with pytest.raises(RuntimeError, match="would wait for itself"):
        loop.run(nested)
    loop.close()
