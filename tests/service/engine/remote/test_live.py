"""The remote engine against a real vLLM server on the bundled judge: one server for all, and the last test kills it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from miniature.judge.make import load
from miniature.judge.packing import Packer
from miniature.world.cases import evaluation
from service.engine.base import Generation, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.local.engine import LocalEngine
from service.engine.remote.engine import RemoteEngine
from service.errors import Cancelled, EngineFailed, TooLong
from testkit.waiting import HUNG_S, START_S

JUDGE = Path(__file__).resolve().parents[4] / "miniature" / "checkpoints" / "judge"
VERDICT: dict[str, Any] = {
    "type": "object",
    "properties": {"explanation": {"type": "string", "maxLength": 12}, "criteria_met": {"type": "boolean"}},
    "required": ["explanation", "criteria_met"],
    "additionalProperties": False,
}
# Thousands of tokens that nothing can cut short.
ENDLESS = Sampling(max_tokens=3000, json_schema='{"type": "string", "minLength": 100000}')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Base URL and process group of the server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(JUDGE)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "judge"]
    command += ["--dtype", "float32", "--enforce-eager", "--scheduling-policy", "priority"]
    command += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    ours = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=os.environ | ours, cwd=log.parent, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _until_ready(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        _kill(process.pid)
        process.wait(timeout=HUNG_S)


def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=HUNG_S, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"the server did not start: {log.read_text(errors='replace')[-3000:]}")


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@pytest.fixture(scope="module")
def asked() -> tuple[list[Prompt], tuple[int, int]]:
    """50 prompts as the service writes them, of two salts and two priorities, and the label ids."""
    packer = Packer(load(JUDGE)[1])
    rendered = [prompt for index in range(20) for prompt in packer.prompts(evaluation(31, index))][:50]
    prompts = [
        Prompt(prompt.shared, prompt.own, salt=("one", "two")[n % 2], priority=n % 3)
        for n, prompt in enumerate(rendered)
    ]
    assert len(prompts) == 50
    return prompts, (packer.yes, packer.no)


async def connect(server: tuple[str, int], **options: Any) -> RemoteEngine:
    return await RemoteEngine.connect(server[0], priorities=True, **options)


def logprobs(outcomes: Any) -> list[tuple[float, ...]]:
    reads: list[Outcome] = list(outcomes)
    return [read.logprobs for read in reads if isinstance(read, LabelLogprobs)]


async def test_reads_are_the_local_engines(server: tuple[str, int], asked: Any) -> None:
    prompts, labels = asked
    remote = await connect(server)
    local = LocalEngine.load(str(JUDGE), dtype="float32", device="cpu")
    # The verdict's labels, then ten that no judge would say here: they are reported whatever their rank.
    for ids in (labels, tuple(range(300, 310))):
        theirs, ours = logprobs(await remote.read_labels(prompts, ids)), logprobs(await local.read_labels(prompts, ids))
        assert len(theirs) == len(ours) == 50
        for left, right in zip(theirs, ours, strict=True):
            assert left == pytest.approx(right, abs=1e-3)
    assert {read[0] > read[1] for read in logprobs(await remote.read_labels(prompts, labels))} == {True, False}
    assert remote.identity.facts["version"].startswith("0.")
    await remote.stop()
    await local.stop()


async def test_too_long_is_told_by_us_and_by_the_server(server: tuple[str, int]) -> None:
    remote = await connect(server)
    assert remote.max_model_len == 4096
    prompts = [Prompt((5,) * 4000, (6,) * n) for n in (95, 96)]
    outcomes = await remote.read_labels(prompts, (5, 6))
    assert [type(outcome) for outcome in outcomes] == [LabelLogprobs, TooLong]
    remote.max_model_len = 10_000
    for prompt in (prompts[1], Prompt((5,) * 4000, (6,) * 97), Prompt((5,) * 5000, (6,))):
        assert isinstance((await remote.read_labels([prompt], (5, 6)))[0], TooLong)
        assert isinstance((await remote.generate([prompt], [Sampling(max_tokens=50)]))[0], TooLong)
    await remote.stop()


async def test_a_schema_binds_what_is_written(server: tuple[str, int], asked: Any) -> None:
    remote = await connect(server)
    prompts = asked[0][:10]
    samplings = [
        Sampling(max_tokens=80, temperature=float(n > 4), seed=n, json_schema=json.dumps(VERDICT)) for n in range(10)
    ]
    outcomes = await remote.generate(prompts, samplings)
    for outcome in outcomes:
        assert isinstance(outcome, Generation) and outcome.finished and 0 < outcome.tokens <= 80
        document = json.loads(outcome.text)
        assert list(document) == ["explanation", "criteria_met"]
        assert isinstance(document["explanation"], str) and isinstance(document["criteria_met"], bool)
    # Alone, since the order of additions depends on the batch.
    again = [await remote.generate([prompts[9]], [samplings[9]]) for _ in range(2)]
    assert again[0] == again[1]
    await remote.stop()


async def test_an_answer_ends_where_it_should(server: tuple[str, int], asked: Any) -> None:
    remote = await connect(server)
    (prompt, *_), labels = asked
    cut, free, stopped = await remote.generate(
        [prompt] * 3,
        [
            Sampling(max_tokens=3, json_schema=json.dumps(VERDICT)),
            Sampling(max_tokens=20),
            Sampling(max_tokens=20, stop_ids=labels),
        ],
    )
    assert isinstance(cut, Generation) and not cut.finished and cut.tokens == 3
    assert isinstance(free, Generation) and free.text.strip().startswith(("Yes", "No"))
    assert isinstance(stopped, Generation)
    assert (stopped.text, stopped.finished, stopped.tokens) == ("", True, 1), "the first word is a label"
    await remote.stop()


async def test_abandoning_one_disturbs_no_other(server: tuple[str, int], asked: Any) -> None:
    remote = await connect(server)
    prompts, labels = asked
    long = asyncio.ensure_future(remote.generate(prompts[:2], [ENDLESS, Sampling(max_tokens=8)]))
    await asyncio.sleep(0.5)
    remote.cancel(prompts[0])
    outcomes = await asyncio.wait_for(long, timeout=HUNG_S)
    assert [type(outcome) for outcome in outcomes] == [Cancelled, Generation]
    assert len(logprobs(await remote.read_labels(prompts[:5], labels))) == 5
    await remote.stop()


async def test_stopping_one_engine_stops_no_other(server: tuple[str, int], asked: Any) -> None:
    prompts, labels = asked
    first, second = await connect(server), await connect(server)
    work = asyncio.ensure_future(second.generate(prompts[:3], [Sampling(max_tokens=30)] * 3))
    lost = asyncio.ensure_future(first.generate(prompts[:3], [ENDLESS] * 3))
    await asyncio.sleep(0.2)
    await first.stop()
    with pytest.raises(EngineFailed):
        await asyncio.wait_for(lost, timeout=HUNG_S)
    assert first.down is not None and second.down is None
    assert [outcome for outcome in await work if not isinstance(outcome, Generation)] == []
    assert len(logprobs(await second.read_labels(prompts, labels))) == 50
    await second.stop()


async def test_a_server_that_dies_fails_every_prompt_and_nobody_hangs(server: tuple[str, int], asked: Any) -> None:
    prompts, labels = asked
    remote = await connect(server)
    texts = asyncio.ensure_future(remote.generate(prompts[:8], [ENDLESS] * 8))
    await asyncio.sleep(1.0)
    assert not texts.done()
    reads = asyncio.ensure_future(
        remote.read_labels([Prompt((7,) * 4000, prompt.own[:90]) for prompt in prompts], labels)
    )
    await asyncio.sleep(0.05)
    _kill(server[1])
    for work in (texts, reads):
        with pytest.raises(EngineFailed):
            await asyncio.wait_for(work, timeout=HUNG_S)
    with pytest.raises(EngineFailed):
        await asyncio.wait_for(remote.read_labels(prompts, labels), timeout=HUNG_S)
    await remote.stop()
