"""Law 6: the order of the prompt, one shared prefix, and labels that are one token in their place."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from service.errors import ConfigurationError
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn
from testkit.tokenizer_families import FAMILIES, family

TURNS = (Turn("user", "My knee hurts."), Turn("assistant", "Where?"), Turn("user", "Below the cap."))


def _renderer(name: str) -> Renderer:
    return Renderer(Segmenter(family(name)), build_skeleton(family(name)))


def _criteria(*texts: str) -> tuple[Criterion, ...]:
    return tuple(Criterion(id=str(n), text=text, points=1.0) for n, text in enumerate(texts))


def _candidate(response: str, *, reference: str | None = None) -> Candidate:
    return Candidate(id=response, turns=TURNS, response=response, criteria=(), reference=reference)


@pytest.mark.parametrize("name", FAMILIES)
def test_order_is_instructions_conversation_reference_response_criterion(name: str) -> None:
    [[prompt]] = _renderer(name).render([(_candidate("Rest it.", reference="Ice it."), _criteria("Says to rest."))])
    text = Segmenter(family(name)).decode(prompt.ids)
    parts = [
        "one word: Yes or No.",
        "user: My knee hurts.",
        "assistant: Where?",
        "Below the cap.",
        "Ice it.",
        "Rest it.",
        "Says to rest.",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "Says to rest." in Segmenter(family(name)).decode(prompt.own)
    assert "Rest it." not in Segmenter(family(name)).decode(prompt.own)


@pytest.mark.parametrize("name", FAMILIES)
def test_criteria_of_a_response_share_one_prefix(name: str) -> None:
    [prompts] = _renderer(name).render([(_candidate("Rest it."), _criteria("A.", "B.", "C."))])
    assert len({id(prompt.shared) for prompt in prompts}) == 1
    assert len({prompt.own for prompt in prompts}) == 3


def test_a_group_is_rendered_as_its_members_are() -> None:
    renderer, criteria = _renderer("qwen"), _criteria("A.", "B.")
    group = [(_candidate(response), criteria) for response in ("one", "two", "one")]
    assert renderer.render(group) == [renderer.render([one])[0] for one in group]


def test_the_conversation_of_a_group_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter(family("qwen"))
    seen: list[str] = []
    tokenise = segmenter.encode_untrusted_all

    def watched(texts: Iterable[str]) -> list[tuple[int, ...]]:
        seen.extend(texts := list(texts))
        return tokenise(texts)

    monkeypatch.setattr(segmenter, "encode_untrusted_all", watched)
    criteria = _criteria("A.", "B.")
    Renderer(segmenter, build_skeleton(family("qwen"))).render([(_candidate(str(n)), criteria) for n in range(8)])
    assert seen == ["My knee hurts.", "Where?", "Below the cap.", *map(str, range(8)), "A.", "B."]


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_are_one_distinct_token_in_their_place(name: str) -> None:
    ids = _renderer(name).label_ids(("Yes", "No"))
    assert len(set(ids)) == 2
    assert [Segmenter(family(name)).decode([id]).strip() for id in ids] == ["Yes", "No"]


def test_a_label_of_several_tokens_is_refused_with_what_to_change() -> None:
    with pytest.raises(ConfigurationError, match=r"'Unquestionably' is not one token .* `labels`"):
        _renderer("qwen").label_ids(("Unquestionably", "No"))


def test_equal_labels_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not distinct"):
        _renderer("qwen").label_ids(("Yes", "Yes"))


def test_a_whole_rubric_is_listed_with_its_weights() -> None:
    made = build_skeleton(family("qwen"), "rubricd", "implicit")
    rubric = (Criterion("a", "Rests.", 5.0), Criterion("b", "Runs.", -2.5), Criterion("c", "Ices.", 1.0, "essential"))
    asked = replace(_candidate("Rest it."), criteria=rubric)
    [prompt] = Renderer(Segmenter(family("qwen")), made).render_whole([asked])
    text = Segmenter(family("qwen")).decode(prompt.own)
    assert "# Rubric\n- [+5 points] Rests.\n- [-2.5 points] Runs.\n- [essential] Ices." in text
