"""Checks how figures are written for people: none without an interval looks certain."""

from typing import get_args

import pytest

from trainer_client.agreement.bootstrap import Figure, Why
from trainer_client.agreement.shown import WHY, ends, table_cell, text


@pytest.mark.parametrize(
    ("figure", "wanted"),
    [
        (None, "-"),
        (Figure(None, None, None, 0), "-"),
        (Figure(0.95, 0.9, 0.98, 40), "0.950 [0.900, 0.980]"),
        (Figure(-0.0001, -0.25, 0.25, 40), "0.000 [-0.250, 0.250]"),
        (Figure(1.0, None, None, 40, "no_spread"), "1.000 (no spread seen)"),
        (Figure(1.0, None, None, 4, "one_group"), "1.000 (one prompt, no interval)"),
    ],
)
def test_as_text(figure: Figure | None, wanted: str) -> None:
    assert text(figure) == wanted


def test_digits_and_width() -> None:
    assert text(Figure(0.5, 0.25, 0.75, 4), 2, width=6) == "  0.50 [0.25, 0.75]"


@pytest.mark.parametrize("why", get_args(Why))
def test_every_reason_is_said(why: Why) -> None:
    figure = Figure(1.0, None, None, 4, why)
    assert WHY[why] in ends(figure) and WHY[why] in text(figure) and WHY[why] in table_cell(figure)
