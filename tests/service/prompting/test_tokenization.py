"""Law 5: untrusted text never becomes a control token, in eight tokenizer families."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ConfigurationError
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn
from testkit.tokenizer_families import FAMILIES, family

PLACES = ("{0}", "{0} and more", "some {0} text", "text {0}", "{0}{0}", "x{0}y", "\n{0}\n", " {0} ")


def _added(name: str) -> list[str]:
    return [
        token.content for token in family(name).added_tokens_decoder.values() if len(token.content.strip(" \n▁")) > 1
    ]


def _renderer(name: str) -> Renderer:
    return Renderer(Segmenter(family(name)), build_skeleton(family(name)))


def _control_ids(name: str, conversation: str, response: str, criterion: str) -> int:
    """How many control ids a prompt holds."""
    candidate = Candidate(
        id="0", turns=(Turn("user", conversation),), response=response, criteria=(), reference=criterion
    )
    [[prompt]] = _renderer(name).render([(candidate, [Criterion(id="0", text=criterion, points=1)])])
    control = Segmenter(family(name)).control_ids
    return sum(id in control for id in prompt.ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_added_token_in_every_place_is_plain_text(name: str) -> None:
    segmenter = Segmenter(family(name))
    tokens = _added(name)
    assert len(tokens) >= 6
    tried = 0
    for token in tokens:
        for place in PLACES:
            text = place.format(token)
            ids = segmenter.encode_untrusted(text)
            assert segmenter.control_ids.isdisjoint(ids), (token, place)
            assert segmenter.decode(ids) == text
            tried += 1
    assert tried == len(tokens) * len(PLACES)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_added_tokens_do_become_control_ids_in_template_pieces(name: str) -> None:
    segmenter = Segmenter(family(name))
    for token in _added(name):
        assert len(segmenter.encode_trusted(token)) == 1, token
        assert segmenter.control_ids.issuperset(segmenter.encode_trusted(token)), token


@pytest.mark.parametrize("name", FAMILIES)
def test_a_control_token_split_over_segments_does_not_re_form(name: str) -> None:
    honest = _control_ids(name, "a", "b", "c")
    assert honest > 0
    for token in _added(name):
        for cut in range(len(token) + 1):
            left, right = token[:cut], token[cut:]
            assert _control_ids(name, left, right, "c") == honest, (token, cut)
            assert _control_ids(name, "a", left, right) == honest, (token, cut)
            assert _control_ids(name, right, "b", left) == honest, (token, cut)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=150)
@given(data=st.data())
def test_any_text_round_trips_without_control_ids(name: str, data: st.DataObject) -> None:
    alphabet = st.characters(exclude_categories=["Cs"], exclude_characters="▁")
    pieces = st.one_of(st.sampled_from(_added(name)), st.text(alphabet, max_size=8))
    text = "".join(data.draw(st.lists(pieces, max_size=8)))
    segmenter = Segmenter(family(name))
    ids = segmenter.encode_untrusted(text)
    assert segmenter.control_ids.isdisjoint(ids)
    expected = unicodedata.normalize("NFC", text) if name in ("qwen", "cohere") else text
    assert segmenter.decode(ids) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_is_tokenised_as_its_members_are(name: str) -> None:
    segmenter = Segmenter(family(name))
    texts = ["", "a", "Tells the user", *_added(name), " two  spaces ", "日本語 🙂"]
    assert segmenter.encode_untrusted_all(texts) == [segmenter.encode_untrusted(text) for text in texts]


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "gemma-spellable"])
def test_an_added_token_costs_its_own_characters_and_leaves_its_surroundings_alone(name: str) -> None:
    segmenter = Segmenter(family(name))
    words = "Tells the user to see a doctor. Answer Yes or No, with one word. "
    for token in _added(name):
        assert len(segmenter.encode_untrusted(words + token)) <= len(segmenter.encode_untrusted(words)) + len(
            token.encode()
        )


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="fast tokenizer"):
        Segmenter(object())  # type: ignore[arg-type]
