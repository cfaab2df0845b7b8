"""A plan's promise holds as often as it says, on sets whose truth is known, and what it cannot promise it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from tests.trainer_client.cascade.shared import two_judges
from trainer_client import wire
from trainer_client.cascade.candidates import EVERYTHING, candidates
from trainer_client.cascade.planning import NoPlan, Wanted, as_wire, choose, plan
from trainer_client.cascade.spending import Cost
from trainer_client.cascade.verdicts import JudgedRows, cascade

SPENT = (Cost(tokens=100, seconds=0.1), Cost(tokens=100, seconds=1.0))


@pytest.mark.parametrize("wanted", [Wanted("agreement", 0.95, 0.1), Wanted("loss", 0.02, 0.1)])
@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_the_promise_holds_in_made_up_sets(wanted: Wanted, shared: float) -> None:
    """40 sets of 600 prompts a case, 160 in all; the truth is that of 24,000 criteria. Found broken: 2 of 160. The more
    criteria of a prompt hang together, the fewer a test per criterion would have kept."""
    truth = two_judges(10**6, 4_000, shared=shared)
    broken = planned = 0
    for seed in range(40):
        try:
            chosen = choose(two_judges(seed, 600, shared=shared), SPENT, wanted, seed=seed).chosen
        except NoPlan:
            continue
        planned += 1
        broken += float(wanted.losses(truth, cascade(truth, chosen.bands)).mean()) > wanted.limit
    assert planned >= 30
    assert broken <= 0.1 * 40


def test_what_a_plan_says_is_what_its_bands_do() -> None:
    rows = two_judges(3, 900)
    found = plan(rows, SPENT, Wanted("loss", 0.02, 0.05), seed=1)
    assert found.prompts == 900 and found.held_out == 600 and found.criteria == 5400
    assert found.chosen.p_value <= 0.05 < found.tested[-1].p_value or found.tested[-1] == found.chosen
    assert [one.p_value <= 0.05 for one in found.tested[:-1]] == [True] * (len(found.tested) - 1)
    spared = found.saves["last_judge"].value
    assert spared is not None and spared == pytest.approx(1 - found.chosen.last) and spared > 0.2
    assert found.saves["tokens"].value == pytest.approx(spared - 1)
    assert found.saves["seconds"].value == pytest.approx(spared - 0.1)
    assert "money" not in found.saves
    assert sum(found.decides) == pytest.approx(1) and found.undecided == 0
    lost, cascade_, last = (found.agreement[name].value or 0 for name in ("lost", "cascade", "judge_1"))
    assert lost == pytest.approx(last - cascade_)


def test_the_same_labels_give_the_same_plan_file() -> None:
    judge = wire.Judge(model="m", revision="r", engine="fake", mode="verdict", layout="rubricd", fingerprint="a")
    judges = [("small", judge), ("large", judge.model_copy(update={"fingerprint": "b"}))]
    files = {
        wire.write_cascade_plan(as_wire(plan(two_judges(3, 900), SPENT, Wanted("loss", 0.02, 0.05)), judges, "0" * 64))
        for _ in range(2)
    }
    assert len(files) == 1
    (text,) = files
    read = wire.read_cascade_plan(text.encode())
    assert [one.fingerprint for one in read.judges] == ["a", "b"] and read.judges[1].band is None


@pytest.mark.parametrize(
    ("rows", "wanted", "why"),
    [
        (two_judges(1, 60), Wanted("loss", 0.01, 0.05), r"60 labelled prompts are too few .* 583 are needed"),
        (two_judges(1, 900), Wanted("agreement", 0.9999, 0.05), "are too few to promise anything at this level"),
        (two_judges(1, 900, strong=1.0), Wanted("agreement", 0.95, 0.05), "even if the last judge decides everything"),
        (two_judges(1, 900, weak=-3.0), Wanted("loss", 0.01, 0.05), "no verdict of a cheaper judge can stand"),
    ],
)
def test_what_cannot_be_promised_is_refused(rows: JudgedRows, wanted: Wanted, why: str) -> None:
    with pytest.raises(NoPlan, match=why):
        plan(rows, SPENT, wanted)


def test_the_number_of_prompts_that_is_named_is_enough_where_nobody_errs() -> None:
    rows = two_judges(1, 583, weak=100.0, strong=100.0)
    assert choose(rows, SPENT, Wanted("loss", 0.01, 0.05)).chosen.bands == (None, None)
    with pytest.raises(NoPlan, match="583 are needed"):
        choose(two_judges(1, 582, weak=100.0, strong=100.0), SPENT, Wanted("loss", 0.01, 0.05))


def test_candidates_go_from_the_dearest_to_the_cheapest() -> None:
    rows = two_judges(5, 400)
    third = JudgedRows(
        rows.label,
        np.vstack([rows.decided, rows.decided[:1]]),
        np.vstack([rows.met, rows.label[None]]),
        np.vstack([rows.p, rows.label[None].astype(float)]),
        rows.groups,
        rows.responses,
    )
    for each, cost in ((rows, (1.0, 9.0)), (third, (1.0, 9.0, 50.0))):
        found = candidates(each, cost)
        assert found[0] == (*(EVERYTHING for _ in cost[1:]), None)
        spent = [float(np.asarray(cost) @ cascade(each, bands).asked.sum(axis=1)) for bands in found]
        errors = [float(each.by_prompt(cascade(each, bands).wrong).mean()) for bands in found[1:]]
        assert spent == sorted(spent, reverse=True) and errors == sorted(errors)
        assert len(found) > 10


def test_labels_that_are_all_true_are_labels_like_others() -> None:
    """A cheap judge that says yes to everything is right about these rows, and nothing is promised of others."""
    rows = two_judges(2, 900)
    same = replace(rows, label=np.ones_like(rows.label), met=np.ones_like(rows.met), p=np.full_like(rows.p, 0.9))
    assert choose(same, SPENT, Wanted("loss", 0.02, 0.05)).chosen.last == 0.0
    one = rows.where(rows.groups == 0)
    with pytest.raises(NoPlan, match="1 labelled prompts are too few"):
        choose(one, SPENT, Wanted("agreement", 0.5, 0.5))


def test_a_judge_that_never_answers_is_always_passed_by() -> None:
    rows = two_judges(2, 900)
    silent = replace(rows, decided=np.stack([np.zeros_like(rows.label), rows.decided[1]]))
    with pytest.raises(NoPlan, match="no verdict of a cheaper judge can stand"):
        choose(silent, SPENT, Wanted("loss", 0.02, 0.05))
