"""Tests of labels that are told by their text, over tokenizers of every family."""

import pytest

from service.engine.remote.token_texts import TokenTexts
from service.errors import ConfigurationError
from service.modes.registry import judging_modes, readable_modes
from service.settings import ModeSettings
from testkit.tokenizer_families import FAMILIES, family
from tests.service.modes.test_fingerprint import IDENTITY


class Words:
    """A tokenizer of these words."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.backend_tokenizer = self

    def get_vocab_size(self, with_added_tokens: bool) -> int:
        assert with_added_tokens
        return len(self._words)

    def decode_batch(self, ids: list[list[int]], skip_special_tokens: bool) -> list[str]:
        assert not skip_special_tokens
        return [self._words[id] for (id,) in ids]


def test_labels_are_told_by_their_own_texts() -> None:
    texts = TokenTexts(Words("Yes", "No", " true", " false", "1"))
    assert texts((0, 1)) == ("Yes", "No") and texts((2, 3)) == (" true", " false")
    texts.check((0, 1, 2, 3, 4))


@pytest.mark.parametrize(
    "words", [("Yes", "No", "Yes"), ("Yes", ""), ("\N{REPLACEMENT CHARACTER}", "No"), ("No", "No")]
)
def test_labels_that_a_text_cannot_tell_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="`remote_token_ids`"):
        TokenTexts(Words(*words)).check((0, 1))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_served_by_text_has_labels_of_its_own_in_every_mode_and_layout(name: str) -> None:
    """Each mode and layout is read by its own labels' texts, or is not served."""
    tokenizer = family(name)
    texts = TokenTexts(tokenizer)
    modes = judging_modes(IDENTITY, tokenizer, ModeSettings())
    try:
        served = set(readable_modes(modes, texts.check).ways)
    except ConfigurationError:
        served = set()
    for key, judging_mode in modes.ways.items():
        judge = judging_mode.judge
        told = texts(judge.label_ids)
        alike = [id for id in range(len(tokenizer)) if tokenizer.decode([id]) in told]
        assert (key in served) == (sorted(alike) == sorted(judge.label_ids)), (key, told)
