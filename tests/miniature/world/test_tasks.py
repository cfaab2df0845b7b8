"""The policy's tasks: splits that do not meet, the exact reward by hand, the best single answer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from miniature.world.cases import QUESTIONS
from miniature.world.clinic import KEY_ITEMS, Topic, key_items, rubric
from miniature.world.oracle import steps
from miniature.world.tasks import SPLITS, best_constant, known, rows, topic_of, topics, truth
from testkit.waiting import HUNG_S
from trainer_client import wire

ROOT = Path(__file__).resolve().parents[3]


def test_held_out_topics_are_none_of_training_but_their_halves_all_are() -> None:
    trained, unseen = set(topics("train")), set(topics("held-out"))
    assert (len(trained), len(unseen)) == (20, 5)
    assert not trained & unseen
    assert set(topics("trained")) == trained
    for topic in unseen:
        assert topic.complaint in {other.complaint for other in trained}
        assert topic.part in {other.part for other in trained}
        assert {*key_items(topic)} <= {item for other in trained for item in key_items(other)}


def test_what_the_policy_knows_tells_nothing_of_the_tasks() -> None:
    asked = {item for split in SPLITS for topic in topics(split) for item in key_items(topic)}
    assert len(known()) == 9
    assert not asked & {item for topic in known() for item in key_items(topic)}


def test_no_prompt_of_evaluation_is_one_of_training() -> None:
    prompts = {split: [row["prompt"][0]["content"] for row in rows(split)] for split in SPLITS}
    assert {split: len(asked) for split, asked in prompts.items()} == {"train": 80, "trained": 40, "held-out": 10}
    for asked in prompts.values():
        assert len(set(asked)) == len(asked)
    assert not set(prompts["train"]) & {*prompts["trained"], *prompts["held-out"]}
    assert not set(prompts["trained"]) & set(prompts["held-out"])


def test_a_row_asks_about_its_topic_and_carries_its_rubric() -> None:
    ids = [row["id"] for split in SPLITS for row in rows(split)]
    assert len(set(ids)) == len(ids)
    for row in (row for split in SPLITS for row in rows(split)):
        topic = topic_of(row["id"])
        words = {"name": topic.name, "part": topic.part, "complaint": topic.complaint}
        assert row["prompt"][0]["content"] in [wording.format(**words) for wording in QUESTIONS]
        item = wire.Item.model_validate({**row, "response": ""})
        assert item.rubric is not None
        told = [(c.id, c.text, c.points) for c in item.rubric.criteria]
        assert told == [(c.id, c.text, c.points) for c in rubric(topic)]


@pytest.mark.parametrize("split", SPLITS)
def test_every_topic_comes_once_before_any_comes_again(split: str) -> None:
    wanted = next(one for one in SPLITS if one == split)
    first = [topic_of(row["id"]) for row in rows(wanted)[: len(topics(wanted))]]
    assert first == list(topics(wanted))


@pytest.mark.parametrize("id", ["stiff-neck", "stiff-nose-0", "stiff-neck-0-1"])
def test_an_id_that_no_row_has_is_an_error(id: str) -> None:
    with pytest.raises(ValueError):
        topic_of(id)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("", 0),
        ("For Stiff Neck: 1. Drink ginger tea.", 1 + 6),
        ("For Stiff Neck: 1. Drink ginger tea. 2. Use a wet towel. 3. Drink bone broth. 4. Use a clay mask.", 27),
        ("For Sore Knee: 1. Search the web.", -6),
        ("1. Go rowing. 2. Go hiking. 3. Go dancing. 4. Do yoga. 5. Eat oats. 6. Take iron. 7. Take zinc.", 2 - 8),
    ],
)
def test_the_exact_reward_is_the_points_met_over_the_positive_points(text: str, points: int) -> None:
    neck = Topic("stiff", "neck")
    assert [c.points for c in rubric(neck)] == [6, 7, 6, 5, -6, 1, 2, -8]
    assert truth(neck, text) == pytest.approx(points / 27)


def test_the_best_single_answer_for_one_topic_is_its_rubric() -> None:
    neck = Topic("stiff", "neck")
    answer, reward = best_constant([neck], 4)
    assert reward == pytest.approx(1.0)
    assert answer.startswith("For Stiff Neck: 1. Use a wet towel.")
    assert best_constant([neck], 1)[1] == pytest.approx((1 + 7) / 27)
    assert len(set(steps(best_constant([neck], 6)[0]))) == 6


def test_the_best_single_answer_for_many_topics_is_poor_and_its_reward_is_its_own() -> None:
    some = topics("held-out")[:3]
    answer, reward = best_constant(some, 2)
    assert reward == pytest.approx(sum(truth(topic, answer) for topic in some) / len(some))
    others = [f"For {t.title}: 1. {a.phrases[0].capitalize()}." for t in some for a in KEY_ITEMS]
    one = best_constant(some, 1)[1]
    assert one == pytest.approx(max(sum(truth(topic, text) for topic in some) / len(some) for text in others))
    assert one < reward < 0.5


def test_the_command_prints_one_json_line_a_row() -> None:
    command = [sys.executable, "-m", "miniature", "rows", "--split", "held-out", "--n", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HUNG_S, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == rows("held-out")[:3]
