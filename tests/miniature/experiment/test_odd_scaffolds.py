"""The scaffold with a fault shows about the asked share of prompts another topic's rubric, in the whole group; the one
in order shows as many criteria as any, and the answer last."""

from typing import Any

from miniature.experiment.odd_scaffolds import InOrder, MixedUp
from miniature.world.tasks import rows
from trainer_client import wire
from trainer_client.scaffold import Scaffold, Schedule

ASKED = [(row["id"], wire.Rubric.model_validate(row["rubric"]).criteria) for row in rows("train")]


def _shown(scaffold: Scaffold, row: str, rubric: list[wire.Criterion], step: int, member: int) -> str:
    drawn = scaffold.reveal(rubric, row=row, member=member, group=8, step=step, total=100)
    return scaffold.messages([{"role": "user", "content": "Help."}], rubric, drawn)[0]["content"]


def test_half_of_the_prompts_are_shown_anothers_rubric_and_a_group_the_same() -> None:
    whole = Schedule("binary", "constant", full=8)
    right, mixed = Scaffold(whole, seed=1), MixedUp(whole, seed=1, share=0.5)
    wrong = 0
    for step in range(1, 6):
        for row, rubric in ASKED:
            texts = [_shown(mixed, row, list(rubric), step, member) for member in (0, 7)]
            own = _shown(right, row, list(rubric), step, 0)
            assert texts[0] == texts[1]
            wrong += texts[0] != own
    assert 0.4 < wrong / (5 * len(ASKED)) < 0.6


def test_without_a_share_it_is_the_scaffold() -> None:
    right, mixed = Scaffold(seed=2), MixedUp(seed=2, share=0.0)
    for row, rubric in ASKED[:10]:
        assert _shown(mixed, row, list(rubric), 3, 1) == _shown(right, row, list(rubric), 3, 1)


def test_in_order_shows_as_many_and_the_last_but_one_only_with_all() -> None:
    row, rubric = ASKED[0]
    for member in range(8):
        place: dict[str, Any] = {"row": row, "member": member, "group": 8, "step": 1, "total": 100}
        found = InOrder(Schedule(over="constant")).reveal(rubric, **place)
        assert found == (7, 0, 1, 2, 3, 4, 5, 6)[: round((7 - member) / 7 * 8)]
        assert len(found) == len(Scaffold(Schedule(over="constant")).reveal(rubric, **place))
