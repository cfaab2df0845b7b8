"""Many processes share rubrics in a folder: a step reads what earlier ones wrote, and one process settles a group."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from trainer_client.live_rubrics.evolution import Evolved, RowRubric
from trainer_client.live_rubrics.shared_folder import Heard, SharedRubrics

ONE = Evolved("evolved-1", "Asks since when.", "positive", 2, "writer", ("aa",))


def test_a_step_reads_what_was_written_before_it(tmp_path: Path) -> None:
    shared = SharedRubrics(str(tmp_path))
    first, second = RowRubric(1, (ONE,)), RowRubric(2, (), ("Asks since when.",))
    shared.hear("r", 2, 0, 1, Heard("a", {}))
    shared.keep("r", 2, first, [])
    shared.keep("r", 11, second, [])
    assert [shared.before("r", step) for step in (1, 2, 3, 11, 12)] == [RowRubric(), RowRubric(), first, first, second]
    assert shared.before("another", 12) == RowRubric()


def test_200_groups_are_each_settled_once_whatever_the_order_and_at_the_same_time(tmp_path: Path) -> None:
    random = Random(2)
    told = [(f"r{n}", member) for n in range(200) for member in range(4)]
    random.shuffle(told)

    def hear(one: tuple[str, int]) -> tuple[str, list[Heard] | None]:
        row, member = one
        return row, SharedRubrics(str(tmp_path)).hear(row, 7, member, 4, Heard(f"{row} {member}", {"e": member > 1}))

    with ThreadPoolExecutor(8) as pool:
        found = [(row, group) for row, group in pool.map(hear, told) if group is not None]
    assert sorted(row for row, _ in found) == sorted(f"r{n}" for n in range(200))
    assert all([one.answer for one in group] == [f"{row} {n}" for n in range(4)] for row, group in found)
    assert all([one.met["e"] for one in group] == [False, False, True, True] for _, group in found)


def test_a_step_that_is_repeated_is_not_settled_again(tmp_path: Path) -> None:
    shared = SharedRubrics(str(tmp_path))
    assert shared.hear("r", 3, 0, 1, Heard("a", {})) is not None
    assert shared.hear("r", 3, 0, 1, Heard("b", {})) is None
