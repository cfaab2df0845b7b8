"""The real program with real models: the same bits as in one process, and prompts that are cancelled there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from service.engine.base import Generation, LabelLogprobs, Prompt, Sampling
from service.engine.build import MINIATURE
from service.engine.local.engine import LocalEngine
from service.engine.local.isolated.engine import IsolatedEngine
from service.engine.local.isolated.messages import JudgeSpec
from service.errors import ConfigurationError, EngineFailed, TooLong
from tests.service.engine.local.prompts import LABELS, ids


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[LocalEngine, IsolatedEngine]]:
    isolated = await IsolatedEngine.load(JudgeSpec(str(folder), None, "auto", "cpu", 200))
    local = LocalEngine.load(str(folder), device="cpu", max_model_len=200)
    yield local, isolated
    await isolated.stop()
    await local.stop()


def groups(n: int) -> list[list[Prompt]]:
    """Batches of responses with their criteria, of a few teams, some prompts too long."""
    batches = []
    for seed in range(n):
        conversation = ids(40, seed)
        shared = [conversation + ids(20 + 3 * r, 100 * seed + r) for r in range(3)]
        prompts = [Prompt(s, ids(1 + c, 7 * seed + c), salt=f"team {c % 2}") for s in shared for c in range(4)]
        batches.append([*prompts, Prompt(ids(150, seed), ids(90, seed))])
    return batches


@pytest.mark.parametrize("name", ["qwen2", "mistral"])
async def test_260_prompts_are_answered_with_the_same_bits_as_in_one_process(
    name: str, checkpoint: Callable[[str], Path]
) -> None:
    async with both(checkpoint(name)) as (local, isolated):
        assert isolated.identity == local.identity
        assert isolated.max_model_len == local.max_model_len == 200
        differing, kinds = 0, set()
        for prompts in groups(20):
            expected = await local.read_labels(prompts, LABELS)
            found = await isolated.read_labels(prompts, LABELS)
            kinds |= set(map(type, found))
            for a, b in zip(expected, found, strict=True):
                differing += a != b if isinstance(a, LabelLogprobs) else (type(a), str(a)) != (type(b), str(b))
        assert (differing, kinds) == (0, {LabelLogprobs, TooLong})
        asked = [Sampling(12, 0.5, seed) for seed in range(6)]
        written = await isolated.generate(groups(1)[0][:6], asked)
        assert written == await local.generate(groups(1)[0][:6], asked)
        assert all(isinstance(one, Generation) for one in written)
        with pytest.raises(ValueError, match="vocabulary"):
            await isolated.read_labels(groups(1)[0], (1, 300))


async def test_prompts_that_are_cancelled_are_not_computed_any_more() -> None:
    engine = await IsolatedEngine.load(JudgeSpec(str(MINIATURE), None, "auto", "cpu", None))
    try:
        worker = psutil.Process(engine.instance.pid)
        before_s = sum(worker.cpu_times()[:2])
        await engine.read_labels([Prompt(ids(3000, n), ids(4, n)) for n in (100, 101)], LABELS)
        two_s = sum(worker.cpu_times()[:2]) - before_s
        # Ten times as much work, cancelled as soon as it is sent.
        prompts = [Prompt(ids(3000, n), ids(4, n)) for n in range(20)]
        before_s = sum(worker.cpu_times()[:2])
        reading = asyncio.create_task(engine.read_labels(prompts, LABELS))
        await asyncio.sleep(0)
        for prompt in prompts:
            engine.cancel(prompt)
        try:
            outcomes = await reading
        except EngineFailed as error:
            outcomes = [error]
        left = [str(one) for one in outcomes if isinstance(one, EngineFailed)]
        assert left and set(left) == {"nobody waits for this answer any more"}
        assert isinstance((await engine.read_labels(prompts[:1], LABELS))[0], LabelLogprobs)
        assert sum(worker.cpu_times()[:2]) - before_s < 4 * two_s
    finally:
        await engine.stop()


async def test_what_cannot_be_loaded_is_refused_in_the_loaders_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"holds no model\.safetensors"):
        await IsolatedEngine.load(JudgeSpec(str(tmp_path), None, "auto", "cpu", None))
