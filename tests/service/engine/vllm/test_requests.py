"""vLLM's answers, read strictly: made-up ones, that no healthy vLLM gives."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from service.engine.base import Generation, LabelLogprobs, Sampling
from service.engine.vllm.requests import generation_params, read_generation, read_labels
from service.errors import Cancelled, EngineFailed


def output(position: dict[int, float] | None = None, **changes: Any) -> Any:
    told = None if position is None else [{label: SimpleNamespace(logprob=value) for label, value in position.items()}]
    written = {"logprobs": told, "finish_reason": "length", "text": "a text", "token_ids": [1, 2, 3], **changes}
    return SimpleNamespace(outputs=[SimpleNamespace(**written)], finished=True, num_cached_tokens=128)


def test_labels_are_read_in_the_order_asked_for() -> None:
    assert read_labels(output({7: -1.5, 5: -0.25, 6: -3.0}), (5, 7)) == LabelLogprobs((-0.25, -1.5), cached_tokens=128)


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_a_probability_that_is_no_number_is_a_failure(value: float) -> None:
    assert isinstance(read_labels(output({5: -0.25, 7: value}), (5, 7)), EngineFailed)


def test_a_label_that_was_not_told_is_a_failure() -> None:
    assert isinstance(read_labels(output({5: -0.25}), (5, 7)), EngineFailed)
    assert isinstance(read_labels(output(), (5, 7)), EngineFailed)


def test_an_answer_of_another_length_is_a_failure() -> None:
    two = output({5: -0.25, 7: -1.5})
    two.outputs[0].logprobs *= 2
    assert isinstance(read_labels(two, (5, 7)), EngineFailed)


def test_an_answer_that_is_not_whole_is_a_failure() -> None:
    for broken in (output({5: -0.25, 7: -1.5}), output({5: -0.25, 7: -1.5})):
        broken.finished = False
        assert isinstance(read_labels(broken, (5, 7)), EngineFailed)
        broken.finished, broken.outputs = True, broken.outputs * 2
        assert isinstance(read_labels(broken, (5, 7)), EngineFailed)
        assert isinstance(read_generation(broken), EngineFailed)


@pytest.mark.parametrize(("reason", "kind"), [("abort", Cancelled), ("error", EngineFailed), (None, EngineFailed)])
def test_an_answer_that_ended_otherwise_is_no_verdict(reason: str | None, kind: type[Exception]) -> None:
    assert isinstance(read_labels(output({5: -0.25, 7: -1.5}, finish_reason=reason), (5, 7)), kind)
    assert isinstance(read_generation(output(finish_reason=reason)), kind)


@pytest.mark.parametrize(("reason", "finished"), [("stop", True), ("length", False)])
def test_a_text_says_whether_it_is_finished(reason: str, finished: bool) -> None:
    assert read_generation(output(finish_reason=reason)) == Generation("a text", finished, tokens=3, cached_tokens=128)


@pytest.mark.filterwarnings("ignore")
def test_a_seed_is_given_where_it_means_something() -> None:
    assert generation_params(Sampling(9)).seed is None
    assert generation_params(Sampling(9, 0.7, seed=5)).seed == 5
    assert generation_params(Sampling(9, 0.7, seed=-1)).seed == 2**63 - 1
