"""One mask for a whole group, that says what it may and drops what it says."""

import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from trainer_client import wire
from trainer_client.live_rubrics.dropout import RubricDropout, id_of, named

TRIED = 10_000


def _rubric(random: Random) -> list[wire.Criterion]:
    made = []
    for place in range(random.randint(1, 14)):
        tags = random.choice([{}, {"axis": "safety"}, {"axis": "tone"}, {"category": "essential"}, {"must": "yes"}])
        id = f"c{place}" if random.random() < 0.5 else None
        made.append(wire.Criterion(id=id, text=f"Says {place}.", points=random.choice([5, 3, 1, -2, 0]), tags=tags))
    return made


def test_10_000_masks_keep_what_they_must_and_drop_what_they_say() -> None:
    """Negative, protected and monitored criteria always; at least `keep` positive ones; else exactly the share."""
    random, dropped = Random(1), 0
    for n in range(TRIED):
        rubric = _rubric(random)
        protect = tuple(random.sample(["axis:safety", "essential", "must", "c3", "5"], random.randint(0, 3)))
        one = RubricDropout(random.choice([0.0, 0.3, 0.5, 0.9]), random.randint(1, 5), protect, seed=n % 7)
        kept = one.kept(rubric, row=f"row-{n}", step=n % 50 + 1)
        gone = set(range(len(rubric))) - set(kept)
        positive = [place for place, criterion in enumerate(rubric) if criterion.points > 0]
        safe = {place for place in positive if _named_in(rubric, place, protect)}
        assert list(kept) == sorted(set(kept)) and gone <= set(positive) - safe
        room = min(max(len(positive) - one.keep, 0), len(positive) - len(safe))
        assert len(gone) == min(round(one.share * len(positive)), room)
        assert kept == RubricDropout(one.share, one.keep, protect, one.seed).kept(
            rubric, row=f"row-{n}", step=n % 50 + 1
        )
        dropped += len(gone)
    assert dropped > TRIED, "most masks drop something"


def _named_in(rubric: list[wire.Criterion], place: int, protect: tuple[str, ...]) -> bool:
    """By hand: the id, the values above, and nothing else."""
    tags = rubric[place].tags
    names = {rubric[place].id or str(place)}
    names |= {"axis:safety"} if tags.get("axis") == "safety" else set()
    names |= {"essential"} if tags.get("category") == "essential" else set()
    names |= {"must"} if "must" in tags else set()
    return bool(names & set(protect))


def test_another_process_draws_the_same() -> None:
    """Python seeds its own hashes otherwise in each process; the mask does not depend on them."""
    code = (
        "from trainer_client import wire\n"
        "from trainer_client.live_rubrics.dropout import RubricDropout\n"
        "rubric = [wire.Criterion(text=f'Says {n}.', points=1) for n in range(12)]\n"
        "print([RubricDropout(0.5).kept(rubric, row='r', step=n) for n in range(20)])"
    )
    ran = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": n}
        )
        for n in ("1", "2")
    ]
    rubric = [wire.Criterion(text=f"Says {n}.", points=1) for n in range(12)]
    own = str([RubricDropout(0.5).kept(rubric, row="r", step=n) for n in range(20)])
    assert [one.stdout.strip() for one in ran] == [own, own]
    assert RubricDropout(0.5).kept(rubric, row="r", step=0) == (1, 2, 3, 4, 6, 9), "masks of another version differ"


def test_every_criterion_is_dropped_about_as_often_as_another() -> None:
    """Of 2,000 steps each of ten criteria misses 800, give or take four standard deviations (22 each)."""
    rubric = [wire.Criterion(text=f"Says {n}.", points=1) for n in range(10)]
    one = RubricDropout(0.4, keep=3)
    kept = Counter(place for step in range(2000) for place in one.kept(rubric, row="r", step=step))
    assert all(abs(2000 - count - 800) < 90 for count in kept.values()) and len(kept) == 10


def test_rows_steps_and_seeds_have_masks_of_their_own() -> None:
    rubric = [wire.Criterion(text=f"Says {n}.", points=1) for n in range(16)]
    draws = [(row, step, seed) for row in ("1", "11") for step in (1, 11) for seed in (0, 1)]
    masks = {RubricDropout(0.5, seed=seed).kept(rubric, row=row, step=step) for row, step, seed in draws}
    assert len(masks) == len(draws)


def test_ids_are_those_of_the_whole_rubric() -> None:
    rubric = [wire.Criterion(text="Says a.", points=1), wire.Criterion(id="b", text="Says b.", points=1)]
    assert [one.id for one in named(rubric)] == ["0", "b"] == [id_of(rubric, place) for place in (0, 1)]


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"share": -0.1}, {"keep": 0}])
def test_a_mask_that_could_be_empty_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="`share` is at least 0 and below 1, and `keep` at least 1"):
        RubricDropout(**wrong)  # type: ignore[arg-type]
