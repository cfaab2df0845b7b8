"""Each kind does to a rubric what its name says, and nothing else."""

from random import Random
from typing import Any

import pytest

from trainer_client import wire
from trainer_client.perturbation.rubrics import KINDS, Kind, Perturbed, perturbed, shuffled, told, with_texts
from trainer_client.perturbation.wording import VAGUE_FAULTS, VAGUE_VIRTUES, negated

ALONE = [kind for kind in KINDS if kind != "shuffled"]


def rubric(*criteria: tuple[str, float], **fields: Any) -> wire.Rubric:
    return wire.Rubric(criteria=[wire.Criterion(text=text, points=points, **fields) for text, points in criteria])


TEA = rubric(("Mentions tea.", 7), ("Asks for the age.", 3), ("Recommends surgery.", -5), ("Is kind.", 1))


def worths(done: Perturbed) -> list[float]:
    return [one.worth for one in done.rubric.criteria]


def texts(done: Perturbed) -> list[str]:
    return [one.text for one in done.rubric.criteria]


def of(kind: Kind, given: wire.Rubric = TEA, *, seed: int = 0, share: float = 0.5) -> Perturbed:
    return perturbed(given, kind, seed=seed, name="a", share=share)


def test_inverse_swaps_high_and_low_points() -> None:
    done = of("inverse")
    assert worths(done) == [-5, 1, 7, 3]
    assert texts(done) == [one.text for one in TEA.criteria]
    assert told(TEA, done) == {"added": [], "removed": [], "points": [0, 1, 2, 3], "text": []}


def test_negated_turns_every_sign_and_polarity_counts() -> None:
    assert worths(of("negated")) == [-7, -3, 5, -1]
    fault = rubric(("Mentions tea.", 7), polarity="negative")
    assert worths(of("negated", fault)) == [7]


def test_negated_text_asks_for_the_opposite_for_the_same_points() -> None:
    done = of("negated_text")
    assert worths(done) == [one.worth for one in TEA.criteria]
    assert texts(done) == [negated(one.text) for one in TEA.criteria]
    assert told(TEA, done)["text"] == [0, 1, 2, 3]


@pytest.mark.parametrize(("share", "kept"), [(0.5, 2), (0.25, 3), (0.99, 1)])
def test_half_removes_a_share_and_leaves_something_to_earn(share: float, kept: int) -> None:
    for seed in range(50):
        done = of("half", seed=seed, share=share)
        places = [n for n in done.origins if n is not None]
        assert len(places) == len(done.origins) == kept and places == sorted(places)
        assert [TEA.criteria[n] for n in places] == done.rubric.criteria
        assert max(worths(done)) > 0
    assert of("half", rubric(("Is rude.", -1))).origins == (0,)


def test_ambiguous_adds_vague_criteria_with_points_of_the_rubric() -> None:
    for seed in range(50):
        done = of("ambiguous", seed=seed)
        added = [one for one, origin in zip(done.rubric.criteria, done.origins, strict=True) if origin is None]
        assert len(added) == 2 and [n for n in done.origins if n is not None] == [0, 1, 2, 3]
        for one in added:
            assert one.text in (VAGUE_VIRTUES if one.points > 0 else VAGUE_FAULTS)
            assert one.worth in {7, 3, -5, 1}


def test_contradictory_adds_the_opposite_for_the_same_points() -> None:
    own = [one.text for one in TEA.criteria]
    for seed in range(50):
        done = of("contradictory", seed=seed)
        added = [one for one, origin in zip(done.rubric.criteria, done.origins, strict=True) if origin is None]
        assert len(added) == 2
        for one in added:
            assert (own.index(negated(one.text)), one.worth) in list(enumerate([7.0, 3.0, -5.0, 1.0]))


def test_points_are_shuffled_within_a_rubric() -> None:
    found = {tuple(worths(of("shuffled_points", seed=seed))) for seed in range(50)}
    assert len(found) > 10 and all(sorted(one) == [-5, 1, 3, 7] for one in found)


def test_rubrics_are_exchanged_so_that_none_stays_and_each_is_used() -> None:
    for seed in range(100):
        rubrics = [rubric((f"Names {Random(seed * 31 + n).randint(0, 5)}.", 1)) for n in range(9)]
        rubrics += [rubric(("Names 6.", 1))]
        order = shuffled(rubrics, seed=seed)
        assert all(rubrics[other] != one for one, other in zip(rubrics, order, strict=True))
        assert {rubrics[other].criteria[0].text for other in order} == {one.criteria[0].text for one in rubrics}
    with pytest.raises(ValueError, match="no other to exchange"):
        shuffled([TEA, TEA], seed=0)
    with pytest.raises(ValueError, match="give them all"):
        of("shuffled")


@pytest.mark.parametrize("kind", ALONE)
def test_a_seed_and_a_name_give_one_result(kind: Kind) -> None:
    assert of(kind) == of(kind)
    assert of(kind).rubric != TEA or kind == "shuffled_points"
    if kind not in ("inverse", "negated", "negated_text"):
        assert len({of(kind, seed=seed).rubric.model_dump_json() for seed in range(9)}) > 1


@pytest.mark.parametrize("kind", ALONE)
def test_what_is_only_monitored_keeps_its_points_and_what_a_rule_decides_its_text(kind: Kind) -> None:
    rule = wire.Criterion(
        text="Mentions tea.",
        points=2,
        verifier=wire.Criterion.model_validate(
            {"text": "t", "points": 1, "verifier": {"rule": "contains", "text": "tea"}}
        ).verifier,
    )
    given = wire.Rubric(criteria=[*TEA.criteria, rule, wire.Criterion(text="Has a title.", points=0)])
    for seed in range(20):
        done = of(kind, given, seed=seed)
        for one, origin in zip(done.rubric.criteria, done.origins, strict=True):
            assert origin != 5 or one.points == 0
            assert origin != 4 or one.text == rule.text
            assert (one.points == 0) == (origin == 5)


def test_ids_and_categories_stay_and_added_criteria_have_ids_where_the_others_have() -> None:
    given = wire.Rubric.model_validate(
        [
            {"id": "a", "text": "Pitfall Criteria: Recommends surgery.", "points": -2, "polarity": "negative"},
            {"id": "b", "text": "Esential Criteria: Mentions tea.", "points": 5},
        ]
    )
    for kind in ALONE:
        done = of(kind, given)
        assert all(one.id for one in done.rubric.criteria)
        for one, origin in zip(done.rubric.criteria, done.origins, strict=True):
            if origin is not None:
                assert (one.id, one.category) == (given.criteria[origin].id, given.criteria[origin].category)
            assert not one.is_unsigned_pitfall
    assert texts(of("negated_text", given))[0] == "Pitfall Criteria: Does not recommend surgery."


def test_texts_from_elsewhere_are_put_in_their_places() -> None:
    done = with_texts(TEA, {1: "Wants to know the age."})
    assert texts(done) == ["Mentions tea.", "Wants to know the age.", "Recommends surgery.", "Is kind."]
    assert told(TEA, done) == {"added": [], "removed": [], "points": [], "text": [1]}


@pytest.mark.parametrize("kind", ["ambiguous", "contradictory", "half"])
@pytest.mark.parametrize("where", ["prefix", "tag"])
def test_a_rubric_with_categories_has_them_still(kind: Kind, where: str) -> None:
    """Or `rar_explicit` would refuse it."""
    given = [
        {"text": "Essential Criteria: Names the tea.", "points": 5},
        {"text": "Pitfall Criteria: Recommends surgery.", "points": -2, "polarity": "negative"},
    ]
    if where == "tag":
        for one, category in zip(given, ("essential", "pitfall"), strict=True):
            one.update(text=str(one["text"]).partition(": ")[2], tags={"category": category, "axis": "a"})
    for seed in range(10):
        done = of(kind, wire.Rubric.model_validate(given), seed=seed)
        assert all(one.category is not None for one in done.rubric.criteria) and not done.rubric.lacking_category()
        assert not any(one.is_unsigned_pitfall for one in done.rubric.criteria)
