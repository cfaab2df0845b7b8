"""Cases: the same seed, the same cases; the two streams never meet; the truth is the text's."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from miniature.world.cases import Case, Mix, evaluation, training
from miniature.world.clinic import ITEMS, TOPICS, held_out
from miniature.world.oracle import met, read
from miniature.world.responses import STYLES, Response, Step, Wording, plain_text, render
from testkit.waiting import HUNG_S
from trainer_client import wire

ROOT = Path(__file__).resolve().parents[3]
N = 1500
PUBLISHED = "f84c898f3a770588adb74d3add7d1fc4adeae794904c7855e83e4d8d99b1f69a"


@pytest.fixture(scope="module")
def unseen() -> list[Case]:
    return [evaluation(7, index) for index in range(N)]


@pytest.fixture(scope="module")
def trained_on() -> list[Case]:
    return [training(7, index, Mix(asked=(4, 6))) for index in range(N)]


def test_the_same_seed_gives_the_same_cases_and_another_seed_others(unseen: list[Case]) -> None:
    assert [evaluation(7, index) for index in range(20)] == unseen[:20]
    assert [evaluation(8, index).wire for index in range(20)] != [case.wire for case in unseen[:20]]


def test_the_benchmarks_cases_are_the_ones_that_figures_were_published_for() -> None:
    cases = json.dumps([evaluation(20, index).wire for index in range(50)])
    assert hashlib.sha256(cases.encode()).hexdigest() == PUBLISHED


def test_training_holds_no_held_out_combination(trained_on: list[Case]) -> None:
    for case in trained_on:
        said = {step.item for step in read(case.response).steps}
        asked = {c.item for c in case.criteria if c.item is not None}
        assert not any(held_out(case.topic, item) for item in said | asked)


def test_every_case_for_evaluation_asks_about_a_held_out_combination(unseen: list[Case]) -> None:
    for case in unseen:
        assert any(c.item is not None and held_out(case.topic, c.item) for c in case.criteria)


def test_no_case_for_evaluation_is_one_of_training(unseen: list[Case], trained_on: list[Case]) -> None:
    def content(case: Case) -> str:
        return json.dumps({**case.wire, "id": ""})

    assert not {content(case) for case in unseen} & {content(case) for case in trained_on}


def test_held_out_combinations_are_a_substantial_share(unseen: list[Case]) -> None:
    asked = [held_out(case.topic, c.item) for case in unseen for c in case.criteria if c.item is not None]
    assert sum(asked) / len(asked) > 0.25


def test_met_and_unmet_good_and_bad_are_balanced(unseen: list[Case]) -> None:
    truth = [met for case in unseen for met in case.met]
    faults = [c.points < 0 for case in unseen for c in case.criteria]
    assert 0.3 < sum(truth) / len(truth) < 0.6
    assert 0.15 < sum(faults) / len(faults) < 0.5
    assert all(6 <= len(case.criteria) <= 10 for case in unseen)


def test_negated_steps_and_empty_responses_occur(unseen: list[Case]) -> None:
    negated = [step.negated for case in unseen for step in read(case.response).steps]
    assert 0.1 < sum(negated) / len(negated) < 0.25
    assert any(case.response == "" for case in unseen)


def test_the_truth_is_the_oracles(unseen: list[Case]) -> None:
    for case in unseen[:300]:
        assert case.met == tuple(met(criterion, case.response) for criterion in case.criteria)


def test_items_are_valid_on_the_wire(unseen: list[Case]) -> None:
    for case in unseen:
        item = wire.Item.model_validate(case.wire)
        assert item.rubric is not None
        assert list(item.rubric.ids()) == list(case.truth)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("plain", [True, False])
def test_what_is_rendered_is_read_back(style: str, plain: bool) -> None:
    random = Random(f"{style} {plain}")
    chosen = next(one for one in STYLES if one == style)
    for _ in range(200):
        said = tuple(Step(item, random.random() < 0.3) for item in random.sample(ITEMS, random.randint(0, 8)))
        response = Response(named=random.choice([*TOPICS, None]), steps=said)
        assert read(render(response, Wording(style=chosen, plain=plain), random)) == response


def test_the_plain_text_is_the_policys_style() -> None:
    response = Response(named=TOPICS[0], steps=(Step(ITEMS[0]), Step(ITEMS[1], negated=True)))
    assert plain_text(response) == "For Stiff Neck: 1. Drink ginger tea. 2. Do not drink warm milk."


def test_the_command_prints_one_json_line_a_case() -> None:
    command = [sys.executable, "-m", "miniature", "cases", "--n", "5", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HUNG_S, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines == [{"item": case.wire, "met": case.truth} for case in (evaluation(7, index) for index in range(5))]
