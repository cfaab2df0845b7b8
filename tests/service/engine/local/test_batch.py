"""Each prompt of a call has its own outcome, and counts what was computed for another."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from service.engine.base import LabelLogprobs, Prompt
from service.engine.local.engine import LocalEngine
from service.errors import EngineFailed, TooLong
from tests.service.engine.local.prompts import LABELS, ids

Load = Callable[..., LocalEngine]
LoadWithModel = Callable[..., tuple[LocalEngine, Any]]


async def test_each_prompt_after_the_first_of_a_group_has_its_shared_tokens_cached(load: Load) -> None:
    shared = ids(40, 1)
    prompts = [Prompt(shared, ids(9, 2)), Prompt(shared, ids(2, 3)), Prompt(ids(5, 4), ids(2, 5)), Prompt(shared, (1,))]
    outcomes = await load().read_labels(prompts, LABELS)
    assert [getattr(outcome, "cached_tokens", None) for outcome in outcomes] == [0, 40, 0, 40]


async def test_a_groups_conversation_is_paid_for_once_and_each_response_once(load: Load) -> None:
    conversation = ids(40, 1)
    responses = [conversation + ids(30, 2), conversation + ids(20, 3)]
    outcomes = await load().read_labels([Prompt(text, ids(5, n)) for text in responses for n in range(3)], LABELS)
    cached = [outcome.cached_tokens for outcome in outcomes if isinstance(outcome, LabelLogprobs)]
    first = min(cached[0], cached[3])
    assert first == 0 and cached[0] + cached[3] == 40, "whichever of the responses comes first pays"
    assert cached[1:3] == [70, 70] and cached[4:] == [60, 60]


async def test_prompts_of_different_salts_share_nothing(load: Load) -> None:
    prompts = [Prompt(ids(40, 1), ids(3, n), salt=salt) for n, salt in enumerate("aabb")]
    engine = load()
    outcomes = await engine.read_labels(prompts, LABELS)
    assert [getattr(outcome, "cached_tokens", None) for outcome in outcomes] == [0, 40, 0, 40]
    outcomes = await load("mistral").read_labels(prompts, LABELS)
    assert [getattr(outcome, "cached_tokens", None) for outcome in outcomes] == [0, 40, 0, 40]


async def test_only_the_prompt_that_is_too_long_fails(load: Load) -> None:
    shared = ids(100, 1)
    prompts = [Prompt(shared, ids(99, 2)), Prompt(shared, ids(100, 3)), Prompt((), ids(500, 4)), Prompt((), ids(9, 5))]
    outcomes = await load().read_labels(prompts, LABELS)
    assert [type(outcome) for outcome in outcomes] == [LabelLogprobs, TooLong, TooLong, LabelLogprobs]


async def test_what_no_tokenizer_of_the_judge_gives_is_refused(load: Load) -> None:
    engine = load()
    with pytest.raises(ValueError, match="never empty"):
        await engine.read_labels([Prompt((1, 2), ())], LABELS)
    with pytest.raises(ValueError, match="vocabulary"):
        await engine.read_labels([Prompt((1, 2), (3,))], (5, 300))
    outcomes = await engine.read_labels([Prompt((1,), (300,)), Prompt((1,), (-1,)), Prompt((1,), (2,))], LABELS)
    assert [type(outcome) for outcome in outcomes] == [EngineFailed, EngineFailed, LabelLogprobs]
    assert await engine.read_labels([], LABELS) == []


async def test_numbers_that_are_not_finite_fail_their_own_prompt_only(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model("llama")
    prompts = [Prompt((5, 6, 7), (8, 9)), Prompt((5, 6, 7), (299, 9)), Prompt((5, 6, 7), (8,)), Prompt((), (299,))]
    before = await engine.read_labels(prompts, LABELS)
    with torch.no_grad():
        model.get_input_embeddings().weight[299] = math.nan
    outcomes = await engine.read_labels(prompts, LABELS)
    assert [type(outcome) for outcome in outcomes] == [LabelLogprobs, EngineFailed, LabelLogprobs, EngineFailed]
    assert outcomes[0] == before[0] and outcomes[2] == before[2]
    with pytest.raises(EngineFailed):
        await engine.read_labels(prompts[3:], LABELS)


async def test_a_failing_pass_fails_its_own_prompts_and_the_engine_stays_usable(load_with_model: LoadWithModel) -> None:
    engine, model = load_with_model(max_batch_tokens=30)
    prompts = [Prompt(ids(20, 1), ids(4, 2)), Prompt(ids(20, 1), ids(5, 3)), Prompt((), ids(9, 4))]
    right = await engine.read_labels(prompts, LABELS)

    def no_memory(_: Any, args: Any, kwargs: Any) -> None:
        if kwargs["input_ids"].shape[1] > 20:
            raise torch.OutOfMemoryError("no memory")

    hook = model.register_forward_pre_hook(no_memory, with_kwargs=True)
    outcomes = await engine.read_labels(prompts, LABELS)
    assert [type(outcome) for outcome in outcomes] == [EngineFailed, EngineFailed, LabelLogprobs]
    assert "OutOfMemoryError" in str(outcomes[0])
    with pytest.raises(EngineFailed):
        await engine.read_labels(prompts[:2], LABELS)
    hook.remove()
    assert await engine.read_labels(prompts, LABELS) == right
