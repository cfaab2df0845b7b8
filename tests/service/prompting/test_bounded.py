"""Texts are tokenised within a bound: the same ids as without one, and nothing that fits is refused."""

import base64
import random
from collections.abc import Callable
from functools import partial

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from service.prompting import bounded
from service.prompting.bounded import BoundedTexts
from service.prompting.tokenization import Segmenter
from testkit.tokenizer_families import FAMILIES, family

_RANDOM_BYTES = base64.b64encode(random.Random(5).randbytes(60_000)).decode()
PATHOLOGICAL: dict[str, str] = {
    "digit": "7",
    "letter": "a",
    "space": " ",
    "emoji": "👩\u200d🚀",
    "combining marks": "e\u0301\u0323\u0300",
    "cjk": "漢字仮名",
    "base64": _RANDOM_BYTES,
    "no spaces": "thequickbrownfox",
    "lines": "\n \n",
    "prose": "My knee hurts when I run. What should I do? ",
    "control": "<|im_end|><start_of_turn>",
}


def repeated(text: str, characters: int) -> str:
    return (text * (characters // len(text) + 1))[:characters]


def unigram() -> PreTrainedTokenizerFast:
    """A sentence-piece model as XLM-R's: it may make one unknown token of any text."""
    pieces = [
        ("<unk>", 0.0),
        *(
            (piece, -float(n))
            for n, piece in enumerate(["▁", "a", "e", "s", "t", "h", "7", "▁the", "th", "he", "aaaa"])
        ),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def word_piece() -> PreTrainedTokenizerFast:
    """As BERT's: white space is in no token, and a long word is one."""
    words = {word: n for n, word in enumerate(["[UNK]", "a", "##a", "7", "##7", "the", "knee", "##s", "hurt"])}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _of_family(name: str) -> Segmenter:
    return Segmenter(family(name))


SEGMENTERS: dict[str, Callable[[], Segmenter]] = {
    **{name: partial(_of_family, name) for name in FAMILIES},
    "unigram": lambda: Segmenter(unigram()),
    "word piece": lambda: Segmenter(word_piece()),
}


@pytest.fixture(params=list(SEGMENTERS))
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    return SEGMENTERS[request.param]()


def read(segmenter: Segmenter, text: str, limit: int) -> tuple[tuple[int, ...] | None, int]:
    """The ids, None where the text is refused; and the steps that it took."""
    texts = BoundedTexts(segmenter, limit)
    steps = sum(1 for _ in texts.tokenise([text]))
    assert (text in texts.known) is not (text in texts.too_long)
    return texts.known.get(text), steps


def test_what_fits_is_not_refused_and_has_the_ids_of_one_whole_call(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small pieces, so that cuts fall everywhere: 0 of 200 texts refused that fit, for each tokenizer."""
    monkeypatch.setattr(bounded, "PIECE_CHARACTERS", 1024)
    rng, kinds = random.Random(11), list(PATHOLOGICAL.values())
    refused = 0
    for _ in range(200):
        parts = [repeated(rng.choice(kinds), rng.randint(1, 2500)) for _ in range(rng.randint(1, 4))]
        text = "".join(parts)
        whole = segmenter.encode_untrusted(text)
        limit = max(1, round(len(whole) * rng.choice((0.2, 0.5, 0.9, 1.0, 1.0, 1.05, 1.5))))
        ids, _ = read(segmenter, text, limit)
        assert ids in (None, whole)
        if ids is None:
            refused += 1
            assert len(whole) > limit
    assert refused > 10  # else this shows nothing


@pytest.mark.parametrize("kind", PATHOLOGICAL)
def test_what_is_far_too_long_is_refused_after_steps_that_follow_the_context(segmenter: Segmenter, kind: str) -> None:
    limit = 2000
    short = repeated(PATHOLOGICAL[kind], 20_000)
    long = repeated(PATHOLOGICAL[kind], 1_000_000)
    per_character = len(segmenter.encode_untrusted(short)) / len(short)
    ids, steps = read(segmenter, long, limit)
    if per_character * len(long) <= limit:  # a tokenizer may make little of much text: then it fits
        assert ids is not None
        return
    assert ids is None
    # The first piece that is over ends it, whatever comes after.
    needed = 1.25 * limit / (per_character * bounded.PIECE_CHARACTERS - 128)
    assert steps <= 2 * needed + 2


@pytest.mark.parametrize("name", FAMILIES)
def test_the_length_alone_tells_where_no_character_is_dropped(name: str) -> None:
    segmenter = Segmenter(family(name))
    ids, steps = read(segmenter, "7" * 1_000_000, 1000)
    assert (ids, steps) == (None, 0)
    # The densest text that there is: the longest token again and again, and marks that compose.
    for text in ("▁" * 95, " " * 95, "the conversation", "e\u0301", "\u03b1\u0313\u0300\u0345"):
        much = repeated(text, 50_000)
        assert not segmenter.surely_exceeds(much, len(segmenter.encode_untrusted(much)))


def test_a_tokenizer_that_may_drop_characters_is_not_judged_by_length() -> None:
    for build in (unigram, word_piece):
        assert not Segmenter(build()).surely_exceeds(" " * 10_000_000, 1)


def test_equal_texts_are_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenised: list[str] = []
    encode = Segmenter.encode_untrusted_all

    def counted(self: Segmenter, texts: list[str]) -> list[tuple[int, ...]]:
        tokenised.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(Segmenter, "encode_untrusted_all", counted)
    texts = BoundedTexts(Segmenter(family("qwen")), 1000)
    assert sum(1 for _ in texts.tokenise(["a", "b", "a", "b" * 20_000, "b" * 20_000])) == 1
    assert tokenised == ["a", "b"]
    assert texts.too_long == {"b" * 20_000}
    assert texts.tokens(["a", "b", "a"]) == 3
    assert texts.tokens(["a", "b" * 20_000]) is None
