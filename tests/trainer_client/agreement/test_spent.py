"""What verdicts took, set side by side, by hand calculations."""

import pytest

from trainer_client.agreement.spent import NAMES, Spent, money_of, rows, shown


def test_figures_are_of_what_was_asked_and_computed() -> None:
    spent = Spent(200, 30.0, 150, 50, 75_000, 1_500, price_in=0.2, price_out=2.0)
    found = spent.figures()
    assert list(found) == list(NAMES)
    assert (found["seconds_per_1000"], found["tokens_read"], found["tokens_written"]) == (150.0, 500.0, 10.0)
    assert found["money"] == pytest.approx((75_000 * 0.2 + 1_500 * 2.0) / 1e6)
    assert found["money_per_1000"] == pytest.approx(1000 * 0.018 / 150)
    assert spent.as_json()["figures"] == found


def test_what_was_not_asked_or_priced_has_no_figure() -> None:
    nothing, free = Spent(0, 0.0, 0, 0, 0, 0), Spent(10, 1.0, 10, 0, 900, 0)
    assert [nothing.figures()[name] for name in ("seconds_per_1000", "tokens_read", "money")] == [None, None, None]
    table = dict(rows({"a": nothing, "b": free}))
    assert NAMES["money"] not in table
    assert table[NAMES["tokens_read"]] == ["", "90"]
    assert table[NAMES["seconds_per_1000"]] == ["", "100"]


def test_numbers_have_the_digits_that_they_deserve() -> None:
    assert [shown(value) for value in (0.0, 1234567.8, 12.345, 1.2345, 0.00012345)] == [
        "0",
        "1,234,568",
        "12.3",
        "1.23",
        "0.000123",
    ]


def test_tokens_without_a_price_leave_no_sum() -> None:
    assert money_of((2_000_000, 0.25), (500_000, 2.0)) == 1.5
    assert money_of((2_000_000, 0.25), (0, None)) == 0.5
    assert money_of((2_000_000, 0.25), (1, None)) is None and money_of((0, None), (0, None)) is None
