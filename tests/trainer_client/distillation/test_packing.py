"""A packed row shows each prompt exactly what the prompt alone would show."""

from random import Random

import numpy as np

from tests.trainer_client.distillation.made import example
from trainer_client.distillation.examples import Example
from trainer_client.distillation.packing import ROW_TOKENS, Row, rows


def _seen(row: Row, end: int) -> tuple[list[int], list[int]]:
    """The ids that the token at this place sees, itself included, and their positions."""
    visible = row.mask()[end]
    return row.ids[visible].tolist(), row.positions[visible].tolist()


def _random(rng: Random, items: int) -> list[Example]:
    head = [rng.randrange(9) for _ in range(rng.randrange(30))]
    found = []
    for item in range(items):
        shared = head + [rng.randrange(9) for _ in range(rng.randrange(1, 300))]
        for criterion in range(rng.randrange(1, 30)):
            own = [rng.randrange(9) for _ in range(rng.randrange(1, 60))]
            found.append(example(item, shared, own, str(criterion)))
    return found


def test_every_token_of_200_random_rows_sees_its_prompt_and_nothing_else() -> None:
    rng = Random(3)
    checked = 0
    for _ in range(40):
        made = _random(rng, 6)
        packed = rows(made, seed=rng.randrange(9))
        assert sorted((one.item, one.criterion) for row in packed for one in row.examples) == sorted(
            (one.item, one.criterion) for one in made
        )
        for row in packed:
            for one, end in zip(row.examples, row.ends, strict=True):
                prompt = [*one.shared, *one.own]
                assert _seen(row, int(end)) == (prompt, list(range(len(prompt))))
                # And so does every token of the own part before the last.
                early = int(end) - len(one.own) + 1
                assert _seen(row, early)[0] == prompt[: len(one.shared) + 1]
            checked += 1
    assert checked >= 200


def test_what_items_share_is_in_a_row_once() -> None:
    made = [
        example(item, [1, 2, 3, 10 + item], [7, 8, criterion], str(criterion))
        for item in (0, 1)
        for criterion in (0, 1)
    ]
    (row,) = rows(made)
    assert row.ids.tolist() == [1, 2, 3, 10, 7, 8, 0, 7, 8, 1, 11, 7, 8, 0, 7, 8, 1]
    assert row.ends.tolist() == [6, 9, 13, 16]
    assert len(row.ids) < sum(one.tokens for one in made)


def test_rows_are_filled_and_not_overfilled_where_an_item_fits() -> None:
    made = [example(item, [item] * 200, [1] * 50, str(criterion)) for item in range(20) for criterion in range(4)]
    packed = rows(made)
    assert len(packed) == 10
    assert all(len(row.ids) <= ROW_TOKENS for row in packed)


def test_an_item_with_more_criteria_than_a_row_takes_is_cut_between_criteria() -> None:
    made = [example(0, [1] * 500, [2] * 100, str(criterion)) for criterion in range(12)]
    packed = rows(made)
    assert [len(row.examples) for row in packed] == [5, 5, 2]
    (alone,) = rows([example(0, [1] * 3000, [2] * 10)])
    assert len(alone.ids) == 3010


def test_without_packing_each_example_is_a_row_of_its_own() -> None:
    made = _random(Random(1), 3)
    plain = rows(made, packed=False, seed=0)
    assert len(plain) == len(made)
    for row in plain:
        (one,) = row.examples
        assert row.ids.tolist() == [*one.shared, *one.own] and row.ends.tolist() == [one.tokens - 1]
        assert row.positions.tolist() == list(range(one.tokens))
        assert np.array_equal(row.mask(), np.tri(one.tokens, dtype=bool))
