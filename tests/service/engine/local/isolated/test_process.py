"""The judge's process starts, is refused, dies and is stopped; here it has no model (made_up_worker.py)."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from service.engine.base import Prompt
from service.engine.local.isolated import process as module
from service.engine.local.isolated.messages import Call, JudgeSpec
from service.engine.local.isolated.process import JudgeProcess
from service.errors import ConfigurationError, EngineFailed
from testkit.processes import runs
from testkit.waiting import until, wait_until

ROOT = Path(__file__).resolve().parents[5]
pytestmark = pytest.mark.usefixtures("made_up")


def spec(judge: str = "judge") -> JudgeSpec:
    return JudgeSpec(judge, None, "auto", None, None)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("refuse", "^this judge is refused: name another$"),
        ("break", "the judge break cannot be loaded: RuntimeError: the loader broke"),
        ("die", r"was killed \(is there enough memory\?\) while it loaded die"),
    ],
)
async def test_a_judge_that_cannot_be_loaded_is_one_clear_line_and_leaves_no_process(judge: str, said: str) -> None:
    before = children()
    with pytest.raises(ConfigurationError, match=said) as raised:
        await JudgeProcess.start(spec(judge))
    assert "\n" not in str(raised.value)
    assert children() == before


async def test_a_program_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORKER", "service.no_such_module")
    with pytest.raises(ConfigurationError, match="ended with status 1 while it loaded"):
        await JudgeProcess.start(spec())


async def test_loading_that_is_cancelled_ends_the_process() -> None:
    before = children()
    loading = asyncio.create_task(JudgeProcess.start(spec("wait")))
    while children() == before:
        await asyncio.sleep(0.01)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert children() == before


async def test_it_has_none_of_the_services_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_REDIS_URL", "redis://:secret@host")
    monkeypatch.setenv("HF_HOME", "/where/models/are")
    process, _ = await JudgeProcess.start(spec())
    environment = psutil.Process(process.pid).environ()
    await process.stop()
    assert "RUBRICD_REDIS_URL" not in environment and environment["HF_HOME"] == "/where/models/are"


async def test_signals_for_all_of_the_service_do_not_end_it() -> None:
    process, _ = await JudgeProcess.start(spec())
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(process.pid, number)
    assert len(await process.call(Call(1, (Prompt((1,), (2,)),), (3, 4)))) == 1
    await process.stop()
    assert not runs(process.pid)


async def test_whoever_waits_when_it_dies_is_told_at_once_and_later_calls_are_refused() -> None:
    process, _ = await JudgeProcess.start(spec("hang"))
    waiting = [asyncio.create_task(process.call(Call(n, (Prompt((1,), (2,)),), (3, 4)))) for n in range(5)]
    await asyncio.sleep(0.05)
    assert process.busy
    os.kill(process.pid, signal.SIGKILL)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [EngineFailed] * 5
    assert not process.busy
    with pytest.raises(EngineFailed):
        await process.call(Call(9, (Prompt((1,), (2,)),), (3, 4)))
    await until(lambda: "killed" in str(process.crash_reason()))
    await process.stop()
    await process.stop()


SERVICE = """
import asyncio, sys
from service.engine.local.isolated import process
from service.engine.local.isolated.messages import JudgeSpec
process.WORKER = "tests.service.engine.local.isolated.made_up_worker"

async def main():
    starting = asyncio.create_task(process.JudgeProcess.start(JudgeSpec(sys.argv[1], None, "auto", None, None)))
    if sys.argv[1] == "wait":
        import psutil
        while not (found := psutil.Process().children()):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        print(found[0].pid, flush=True)
    else:
        print((await starting)[0].pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize(("judge", "stopped"), [("judge", False), ("judge", True), ("wait", False)])
def test_it_ends_with_a_service_that_is_killed(judge: str, stopped: bool) -> None:
    """Also one that stands still, and one that loads in a thread that cannot be interrupted."""
    service = subprocess.Popen([sys.executable, "-c", SERVICE, judge], cwd=ROOT, stdout=subprocess.PIPE)
    with service:
        assert service.stdout is not None
        pid = int(service.stdout.readline())
        assert runs(pid)
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        service.kill()
    wait_until(lambda: not runs(pid))


async def test_an_answer_that_is_none_fails_everybody_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    process, _ = await JudgeProcess.start(spec())
    monkeypatch.setattr("service.engine.local.isolated.messages.decode_outcomes", lambda frame: frame.head["nothing"])
    with pytest.raises(EngineFailed, match="no answer"):
        await process.call(Call(1, (Prompt((1,), (2,)),), (3, 4)))
    assert process.crash_reason() is not None
    await process.stop()
