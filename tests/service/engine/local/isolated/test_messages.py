"""What is sent comes out equal, with the same parts shared; floats come out as the same bits."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.base import EngineIdentity, Generation, LabelLogprobs, Prompt, Sampling
from service.engine.local.isolated import messages
from service.engine.local.isolated.messages import Call, JudgeSpec, LoadedFacts
from service.errors import Cancelled, EngineFailed, TooLong
from tests.service.engine.local.prompts import prompts_strategy

samplings = st.builds(
    Sampling,
    st.integers(1, 5000),
    st.floats(0, 2),
    st.integers(0, 2**70),
    st.none() | st.text(),
    st.lists(st.integers(0, 2**31 - 1)).map(tuple),
)


@given(prompts_strategy, st.lists(samplings, max_size=3), st.lists(st.integers(0, 2**31 - 1), max_size=3))
def test_a_call_comes_out_equal(prompts: list[Prompt], asked: list[Sampling], labels: list[int]) -> None:
    call = Call(7, tuple(prompts), tuple(labels), tuple(asked))
    assert messages.decode_call(messages.encode_call(call)) == call


def test_parts_that_are_one_tuple_are_sent_once_and_are_one_tuple_again() -> None:
    shared, equal = (1, 2, 3) * 50, tuple([1, 2, 3] * 50)
    own = (9,)
    call = Call(1, (Prompt(shared, own), Prompt(shared, (8,), "salt", -3), Prompt(equal, own)))
    frame = messages.encode_call(call)
    assert len(frame.ids) == 150 + 1 + 1 + 150
    first, second, third = messages.decode_call(frame).prompts
    assert first.shared is second.shared and first.shared is not third.shared and first.own is third.own


def test_an_id_that_no_tokenizer_has_cannot_be_sent() -> None:
    with pytest.raises(OverflowError):
        messages.encode_call(Call(1, (Prompt((), (2**31,)),)))


floats = st.floats(allow_nan=False)
outcomes = st.one_of(
    st.builds(LabelLogprobs, st.lists(floats, max_size=4).map(tuple), st.integers(0, 10**6)),
    st.builds(Generation, st.text(), st.booleans(), st.integers(0, 5000), st.integers(0, 5000)),
)


@given(st.lists(outcomes))
def test_outcomes_come_out_as_the_same_bits(sent: list[Any]) -> None:
    found = messages.decode_outcomes(messages.encode_outcomes(3, sent))
    assert found == sent
    for a, b in zip(found, sent, strict=True):
        if isinstance(b, LabelLogprobs):
            pattern = f"{len(b.logprobs)}d"
            assert struct.pack(pattern, *a.logprobs) == struct.pack(pattern, *b.logprobs)


@pytest.mark.parametrize("kind", [EngineFailed, TooLong, Cancelled])
def test_failures_keep_their_kind_and_their_words(kind: Any) -> None:
    [found] = messages.decode_outcomes(messages.encode_outcomes(3, [kind("so it was")]))
    assert type(found) is kind and str(found) == "so it was"
    failed = messages.decode_failure(messages.encode_failure(3, kind("so it was")))
    assert type(failed) is kind and str(failed) == "so it was"


def test_a_callers_mistake_is_one_on_this_side() -> None:
    failed = messages.decode_failure(messages.encode_failure(3, ValueError("no such label")))
    assert type(failed) is ValueError and str(failed) == "no such label"


def test_what_to_load_and_what_was_loaded_come_out_equal() -> None:
    spec = JudgeSpec("a judge", None, "auto", "cuda:1", 4096, "json", 0.25)
    assert messages.decode_spec(messages.encode_spec(spec)) == spec
    loaded = LoadedFacts(EngineIdentity("a", "b", "local", {"weights": "c"}, toy=True), 99, "/a/folder")
    assert messages.decode_loaded(messages.encode_loaded(loaded)) == loaded
