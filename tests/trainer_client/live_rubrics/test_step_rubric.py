"""What counts and what is left out are told apart by ids, which are those of the whole rubric."""

from trainer_client import wire
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.evolution import Evolved, RowRubric
from trainer_client.live_rubrics.step_rubric import step_rubric

RUBRIC = [wire.Criterion(text=f"Says {n}.", points=1) for n in range(5)]


def test_what_counts_and_what_is_dropped_make_up_the_rubric() -> None:
    now = step_rubric(RUBRIC, RubricDropout(0.4), row="r", step=3)
    assert len(now.dropped) == 2 and now.dropped_share == 0.4
    assert sorted([*(one.id or "" for one in now.counted), *now.dropped]) == ["0", "1", "2", "3", "4"]
    assert [one.text for one in now.criteria] == [one.text for one in RUBRIC]


def test_without_dropout_everything_counts() -> None:
    now = step_rubric(RUBRIC, None, row="r", step=3)
    assert (now.kept, now.dropped, now.dropped_share) == ((0, 1, 2, 3, 4), [], 0.0)


def test_a_tag_of_the_data_makes_no_criterion_evolved() -> None:
    own = [wire.Criterion(text="Says a.", points=1, tags={"evolved": "positive"})]
    made = Evolved("e", "Says b.", "anti_hack", 1, "writer", ())
    now = step_rubric(own, None, row="r", step=2, evolved=RowRubric(active=(made,)), drift=0.5)
    assert [one.text for one in now.shown] == ["Says a."] and [one.text for one in now.evolved] == ["Says b."]
    assert now.evolved_points_share == 0.5 and len(now.counted) == 2
