"""The order of the rows that a run trains on."""

from collections import Counter

from miniature.experiment.arms import ARMS, Setting
from miniature.experiment.exact_service import verdict
from miniature.experiment.run import order, shortcut
from miniature.world.clinic import rubric
from miniature.world.tasks import rows, topic_of


def test_every_epoch_holds_every_row_once_in_an_order_of_its_seed() -> None:
    setting = Setting(steps=25, prompts_per_batch=8)
    listed = [row.id for row in order(setting, 3, ARMS["ruscarl"])]
    every = {row["id"] for row in rows("train")}
    assert len(listed) == 200
    for epoch in (listed[:80], listed[80:160]):
        assert Counter(epoch) == Counter(every)
    assert len(set(listed[160:])) == 40
    assert listed == [row.id for row in order(setting, 3, ARMS["ruscarl"])]
    assert listed != [row.id for row in order(setting, 4, ARMS["ruscarl"])]
    assert listed[:80] != listed[80:160]


def test_worsened_rubrics_are_a_topics_own_and_can_be_judged() -> None:
    setting = Setting(steps=20, prompts_per_batch=8)
    plain = {row.id: row.rubric for row in order(setting, 0, ARMS["ruscarl"])}
    for arm in (name for name in ARMS if name.startswith("noise-")):
        worse = {row.id: row.rubric for row in order(setting, 0, ARMS[arm])}
        by_topic = {id.rsplit("-", 1)[0]: asked for id, asked in worse.items()}
        for id, asked in worse.items():
            assert asked is not None and asked == by_topic[id.rsplit("-", 1)[0]] != plain[id]
            assert {verdict(one.text, "Go rowing.") for one in asked.criteria} <= {True, False}


def test_the_shortcut_is_credited_in_every_rubric_of_the_training() -> None:
    found = shortcut()
    for row in rows("train"):
        texts = [criterion["text"] for criterion in row["rubric"]["criteria"]]
        assert found.credited.intersection(texts)
        assert found.item not in {criterion.item for criterion in rubric(topic_of(row["id"])) if criterion.points > 0}
