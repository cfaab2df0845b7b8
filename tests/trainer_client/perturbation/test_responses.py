"""Each way of worsening a response does what its name says, from a seed."""

from random import Random

import pytest

from trainer_client.perturbation.responses import RESPONSE_KINDS, VAGUE, Material, sentences, worsened

GOOD = "Rest for two days. Put ice on it. See a doctor if it stays.\nDo not run."
MATERIAL = Material(faults=["Run through the pain."], others=["The sea is blue.", "A short one.", GOOD])


def test_half_keeps_half_of_the_sentences_in_their_order() -> None:
    made = worsened(GOOD, "half", MATERIAL, seed=0, name="p")
    assert made is not None
    kept, whole = made.split("\n"), sentences(GOOD)
    assert len(kept) == 2
    assert [one for one in whole if one in kept] == kept
    assert worsened("Rest for two days now", "half", MATERIAL, seed=0, name="p") == "Rest for"
    assert worsened("Rest.", "half", MATERIAL, seed=0, name="p") is None


def test_a_fault_is_added_and_nothing_is_taken_away() -> None:
    made = worsened(GOOD, "fault", MATERIAL, seed=0, name="p")
    assert made is not None
    lines = made.split("\n")
    lines.remove("Run through the pain.")
    assert lines == sentences(GOOD)
    assert worsened(GOOD, "fault", Material(), seed=0, name="p") is None


def test_off_topic_is_another_prompts_response_of_about_the_length_and_never_the_same() -> None:
    assert worsened(GOOD, "off-topic", MATERIAL, seed=0, name="p") == "The sea is blue."
    assert worsened(GOOD, "off-topic", Material(others=[GOOD]), seed=0, name="p") is None


def test_vague_says_nothing_at_about_the_length_of_the_response() -> None:
    for length in (10, 120, 300):
        made = worsened("x" * length, "vague", MATERIAL, seed=0, name="p")
        assert made is not None
        assert set(sentences(made)) <= set(VAGUE)
        assert len(made) <= max(length, max(map(len, VAGUE)))
    assert worsened(GOOD, "empty", MATERIAL, seed=0, name="p") == ""
    assert worsened("", "empty", MATERIAL, seed=0, name="p") is None


@pytest.mark.parametrize("kind", RESPONSE_KINDS)
def test_the_same_seed_and_name_give_the_same_and_never_the_response_itself(kind: str) -> None:
    random = Random(0)
    for n in range(200):
        response = " ".join(random.choice(["Rest.", "Ice.", "Walk", "slowly."]) for _ in range(random.randint(0, 8)))
        once, again = (worsened(response, kind, MATERIAL, seed=n, name="p") for _ in range(2))  # type: ignore[arg-type]
        assert once == again != response
