"""What every foreign protocol shares: the tokens at the end of a response go, in one cut."""

import tracemalloc

import pytest

from service.api.protocols.common import COMMON_END_TOKENS, strip_end_tokens


@pytest.mark.parametrize(
    ("response", "left"),
    [
        ("Rest.</s>", "Rest."),
        ("Rest.</s><|im_end|></s></s>", "Rest."),
        ("Rest</s>.", "Rest</s>."),
        ("</s>", ""),
        ("<</s>/s>", "<</s>/s>"),
        ("</s</s>>", "</s</s>>"),
        ("", ""),
    ],
)
def test_the_tokens_at_the_very_end_go_and_no_others(response: str, left: str) -> None:
    assert strip_end_tokens(response, COMMON_END_TOKENS) == left


def test_however_many_there_are_the_text_is_copied_once() -> None:
    response = "Rest." + "</s>" * 50_000
    tracemalloc.start()
    try:
        assert strip_end_tokens(response, COMMON_END_TOKENS) == "Rest."
        assert tracemalloc.get_traced_memory()[1] < len(response) / 2, "each cut was a copy of the text"
    finally:
        tracemalloc.stop()
