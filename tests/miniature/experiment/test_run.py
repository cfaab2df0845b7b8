"""The order of the rows that a run trains on."""

from collections import Counter

from miniature.experiment.arms import Setting
from miniature.experiment.run import order
from miniature.world.tasks import rows


def test_every_epoch_holds_every_row_once_in_an_order_of_its_seed() -> None:
    setting = Setting(steps=25, prompts_per_batch=8)
    listed = [row.id for row in order(setting, seed=3)]
    every = {row["id"] for row in rows("train")}
    assert len(listed) == 200
    for epoch in (listed[:80], listed[80:160]):
        assert Counter(epoch) == Counter(every)
    assert len(set(listed[160:])) == 40
    assert listed == [row.id for row in order(setting, seed=3)]
    assert listed != [row.id for row in order(setting, seed=4)]
    assert listed[:80] != listed[80:160]
