"""Law 6: the order of the prompt, one shared prefix, and labels that are one token in their place."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from service.errors import ConfigurationError
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import DOCUMENT, Candidate, Criterion, Turn
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
        "Answer Yes if",
        "My knee hurts.",
        "Where?",
        "Below the cap.",
        "Ice it.",
        "Rest it.",
        "Says to rest.",
        "Is it true of the response? Yes or No?",
        "Answer:",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "Says to rest." in Segmenter(family(name)).decode(prompt.own)
    assert "Rest it." not in Segmenter(family(name)).decode(prompt.own)


@pytest.mark.parametrize("name", FAMILIES)
def test_documents_stand_between_conversation_and_reference_each_behind_who_sees_it(name: str) -> None:
    documents = (Turn(DOCUMENT, "Rest heals."), Turn(DOCUMENT, "Ice helps."))
    asked = replace(_candidate("Rest it.", reference="Ice it."), turns=(*TURNS, *documents))
    [[prompt]] = _renderer(name).render([(asked, _criteria("Says to rest."))])
    text = Segmenter(family(name)).decode(prompt.ids)
    parts = ["Below the cap.", "only you see", "Rest heals.", "only you see", "Ice helps.", "Ice it.", "Rest it."]
    places, at = [], 0
    for part in parts:
        at = text.index(part, at)
        places.append(at)
    assert places == sorted(places) and text.count("only you see") == 2
    blind = _renderer(name)
    blind.reads_references = False
    [[unseen]] = blind.render([(asked, _criteria("Says to rest."))])
    [[without]] = _renderer(name).render([(_candidate("Rest it."), _criteria("Says to rest."))])
    assert unseen.ids == without.ids, "who extracts a value from the response reads the response alone"


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


@pytest.mark.parametrize("name", FAMILIES)
def test_a_label_is_the_token_that_the_whole_prompt_would_have_there(name: str) -> None:
    """Behind `Answer:` that is the word with a space before it, and behind `Rating: ` the digit without one."""
    segmenter = Segmenter(family(name))
    verdict = _renderer(name)
    assert verdict.skeleton.tail.rstrip().endswith("Answer:")
    for label, id in zip(("Yes", "No"), verdict.label_ids(("Yes", "No")), strict=True):
        answered = verdict.skeleton.tail.rstrip() + f" {label}"
        assert segmenter.encode_trusted(answered) == (*segmenter.encode_trusted(verdict.skeleton.tail), id)
    rating = Renderer(segmenter, build_skeleton(family(name), mode="likert"))
    assert len(set(rating.label_ids(tuple("0123456789")))) == 10
    assert segmenter.decode(rating.ids_after("7")).strip() == "7"


def test_the_question_asks_for_the_labels_that_are_set() -> None:
    tokenizer = family("qwen")
    made = build_skeleton(tokenizer, labels=("True", "False"))
    assert "Answer True if" in made.head and "True or False?" in made.tail
    assert not any(word in text for text in (made.head, made.tail) for word in ("Yes", "No ", "No?"))


def test_a_criterion_costs_its_text_the_question_and_the_answers_opening() -> None:
    """The header before a criterion is in the part that criteria share."""
    segmenter, renderer = Segmenter(family("llama3")), _renderer("llama3")
    [prompts] = renderer.render([(_candidate("Rest it."), _criteria("A.", "B."))])
    header = segmenter.encode_trusted(renderer.skeleton.criterion)
    assert prompts[0].shared[-len(header) :] == header
    assert prompts[0].own == segmenter.encode_untrusted("A.") + segmenter.encode_trusted(renderer.skeleton.tail)


def test_a_label_of_several_tokens_is_refused_with_what_to_change() -> None:
    with pytest.raises(ConfigurationError, match=r"'Unquestionably' is not one token .*, for example .+Yes.+No"):
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
    headed = [
        "# Criterion, +5 points\nRests.",
        "# Criterion, -2.5 points\nRuns.",
        "# Criterion, essential\nIces.",
        "Rate it from 1 to 10.",
    ]
    places = [text.index(one) for one in headed]
    assert places == sorted(places)
