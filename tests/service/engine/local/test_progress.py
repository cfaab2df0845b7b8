"""The count grows with each layer of each pass, and stands still in between."""

from collections.abc import Callable

from service.engine.base import Prompt, Sampling
from service.engine.local.engine import LocalEngine
from tests.service.engine.local.prompts import LABELS, ids


async def test_each_layer_of_each_pass_is_counted(load: Callable[..., LocalEngine]) -> None:
    engine = load("qwen2", max_batch_tokens=1)
    before = engine.progress.count
    await engine.read_labels([Prompt((), ids(3, n)) for n in range(5)], LABELS)
    counted = engine.progress.count - before
    assert counted >= 2 * 5
    await engine.generate([Prompt((), ids(3, 1))], [Sampling(4)])
    assert engine.progress.count - before - counted >= 2 * 4
