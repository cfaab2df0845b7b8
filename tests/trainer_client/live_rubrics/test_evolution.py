"""Criteria join, stay and leave by the rules, whatever is proposed and whatever is judged."""

from dataclasses import replace
from random import Random

import pytest

from trainer_client import wire
from trainer_client.live_rubrics.evolution import (
    Evolution,
    Evolved,
    Proposal,
    RowRubric,
    admitted,
    alike,
    grown,
    rollout_hash,
    settled,
    spread,
)

TRIED = 10_000
ORIGIN = Evolved("", "", "positive", 3, "writer", ("aa", "bb"))
WORDS = ["names", "the", "dose", "asks", "since", "when", "it", "hurts", "praises", "itself", "twice", "warns", "of"]


def _text(random: Random) -> str:
    return " ".join(random.choices(WORDS, k=random.randint(2, 6)))


def _proposals(random: Random) -> list[Proposal]:
    return [Proposal(_text(random), random.choice(["positive", "anti_hack"])) for _ in range(random.randint(0, 6))]


def _verdicts(random: Random, row: RowRubric) -> dict[str, list[float]]:
    """Some are judged on all answers, some on one or none, and some tell nothing apart."""
    found = {one.id: [float(random.random() < 0.5) for _ in range(random.randint(0, 6))] for one in row.active}
    return {
        id: [1.0] * len(met) if random.random() < 0.2 else met for id, met in found.items() if random.random() < 0.9
    }


def test_10_000_steps_keep_every_bound() -> None:
    """The cap on points, the number that stays, no question twice, and a version for each change."""
    random, row, rubric, evolution = (
        Random(4),
        RowRubric(),
        [wire.Criterion(text="names a drug", points=2)],
        Evolution(),
    )
    counts = {"grown": 0, "retired": 0, "crowded_out": 0}
    for n in range(TRIED):
        if n % 25 == 0:
            rubric = [
                wire.Criterion(text=f"{_text(random)} {k}", points=random.choice([5, 1, -3, 0]))
                for k in range(random.randint(1, 6))
            ]
            evolution = Evolution(
                propose=random.randint(1, 4),
                active=random.randint(1, 4),
                drift=random.choice([0.05, 0.3, 0.6]),
                promote=random.choice([None, 0.0, 0.1, 0.5]),
            )
            row = RowRubric()
        before = row
        row, changes = admitted(row, rubric, _proposals(random), ORIGIN, evolution.propose)
        new = row.active[len(before.active) :]
        assert row.active[: len(before.active)] == before.active and len(new) <= evolution.propose
        known = [one.judged_text for one in rubric] + [one.text for one in before.active] + list(before.retired)
        assert not any(alike(one.text, other) for one in new for other in known)
        assert [change.criterion for change in changes if change.what == "proposed"] == list(new)
        assert row.version == before.version + bool(new)
        whole = grown(rubric, row, evolution.drift)
        points = [abs(one.worth) for one in whole]
        held = sum(points[len(rubric) :])
        assert held <= evolution.drift * sum(points) * (1 + 1e-12)
        assert [one.worth < 0 for one in whole[len(rubric) :]] == [
            one.kind == "anti_hack" for one in row.active
        ] or not held
        verdicts = _verdicts(random, row)
        after, happened = settled(row, verdicts, evolution)
        assert len(after.active) <= evolution.active and all(one.promoted for one in after.active)
        assert after.version == row.version + (len(after.active) < len(row.active))
        for one in row.active:
            measured = spread(verdicts.get(one.id, ()))
            stays = one.id in {other.id for other in after.active}
            retired = one.text in after.retired[len(row.retired) :] or one.text in after.retired
            assert retired == (measured == 0.0)
            if measured is None and not one.promoted:
                assert not stays
        stay = [one.spread or 0.0 for one in after.active]
        left_out = [one.criterion.spread or 0.0 for one in happened if one.what == "crowded_out"]
        assert not left_out or (len(stay) == evolution.active and max(left_out) <= min(stay))
        assert RowRubric.of_json(after.as_json()) == after
        counts["grown"] += bool(new)
        for change in happened:
            counts[change.what] = counts.get(change.what, 0) + 1
        row = after
    assert all(count > 300 for count in counts.values()), counts


def test_points_are_the_mean_of_the_rubrics_until_the_cap() -> None:
    """By hand: |points| 4, 2 and 6 are 12, mean 4. Two evolved ones within a third of all: at most 3 each."""
    rubric = [wire.Criterion(text=f"says {n}", points=points) for n, points in enumerate([4, -2, 6, 0])]
    one = replace(ORIGIN, id="e1", text="asks since when")
    other = replace(ORIGIN, id="e2", text="praises itself", kind="anti_hack")
    assert [c.points for c in grown(rubric, RowRubric(active=(one,)), 1 / 3)[4:]] == [4.0]
    both = grown(rubric, RowRubric(active=(one, other)), 1 / 3)[4:]
    assert [c.points for c in both] == pytest.approx([3.0, -3.0])
    assert [c.tags for c in both] == [{"evolved": "positive"}, {"evolved": "anti_hack"}]
    assert grown(rubric, RowRubric(), 1 / 3) == rubric


def test_a_fault_whose_text_speaks_of_a_pitfall_has_its_sign() -> None:
    """Without one the service would refuse the whole request of the step."""
    fault = replace(ORIGIN, id="e1", text="Pitfall Criteria: Pads the answer.", kind="anti_hack")
    (made,) = grown([wire.Criterion(text="says", points=2)], RowRubric(active=(fault,)), 0.5)[1:]
    assert made.worth < 0 and not made.is_unsigned_pitfall


def test_a_criterion_lasts_one_step_where_none_is_promoted() -> None:
    row, _ = admitted(RowRubric(), [], [Proposal("asks since when", "positive")], ORIGIN, 3)
    (one,) = row.active
    assert (one.step, one.proposer, one.rollouts, one.promoted) == (3, "writer", ("aa", "bb"), False)
    told = {one.id: [0.0, 1.0]}
    assert settled(row, told, Evolution(promote=None))[0].active == ()
    after, changes = settled(row, told, Evolution(promote=0.5))
    assert [change.what for change in changes] == ["promoted"] and after.active[0].spread == 0.5


def test_what_told_nothing_apart_does_not_come_back() -> None:
    row, _ = admitted(RowRubric(), [], [Proposal("asks since when it hurts", "positive")], ORIGIN, 3)
    row, _ = settled(row, {row.active[0].id: [1.0, 1.0, 1.0]}, Evolution())
    again, changes = admitted(row, [], [Proposal("Asks since when it hurts.", "anti_hack")], ORIGIN, 3)
    assert again.active == () and [change.what for change in changes] == ["duplicate"]


def test_a_row_without_points_of_its_own_gets_none() -> None:
    monitored = [wire.Criterion(text="says a", points=0)]
    assert grown(monitored, RowRubric(active=(replace(ORIGIN, id="e", text="says b"),)), 0.3) == monitored


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"propose": 0}, {"active": 0}, {"drift": 1.0}, {"drift": 0.0}, {"promote": 0.6}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|lies between"):
        Evolution(**wrong)  # type: ignore[arg-type]


def test_an_answer_has_one_name() -> None:
    assert rollout_hash("a") == rollout_hash("a") != rollout_hash("b") and len(rollout_hash("\ud800")) == 16
