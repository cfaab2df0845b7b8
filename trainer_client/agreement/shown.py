"""Writes a figure for people, with its interval or the reason why it has none: as text, and as a cell of a table.

Guarantees: a value without an interval is never shown as if it were certain.
"""

from trainer_client.agreement.bootstrap import Figure, Why
from trainer_client.pages.document import figure_cell, interval, number

WHY: dict[Why, str] = {
    "one_group": "one prompt, no interval",
    "no_spread": "no spread seen",
    "undefined": "no interval",
    "few": "too few for an interval",
}


def text(figure: Figure | None, digits: int = 3, width: int = 0) -> str:
    """Such as `0.950 [0.912, 0.978]`, `1.000 (no spread seen)`, and `-` without a value."""
    if figure is None or figure.value is None:
        return "-"
    return f"{_plain(figure.value, digits):>{width}}{ends(figure, digits)}"


def ends(figure: Figure, digits: int = 3) -> str:
    """The interval in brackets behind a value, or the reason why there is none."""
    if figure.low is None or figure.high is None:
        return "" if figure.why is None else f" ({WHY[figure.why]})"
    return f" [{_plain(figure.low, digits)}, {_plain(figure.high, digits)}]"


def table_cell(figure: Figure | None) -> str:
    """A cell of a page's table, empty without a value."""
    if figure is None:
        return "<td></td>"
    return figure_cell(
        figure.value, figure.low, figure.high, figure.n, why="" if figure.why is None else WHY[figure.why]
    )


def between(figure: Figure) -> str:
    """The interval in words, or the reason why there is none."""
    if figure.low is None or figure.high is None:
        return "" if figure.why is None else WHY[figure.why]
    return interval(figure.low, figure.high)


def _plain(value: float, digits: int) -> str:
    """A number for a terminal: an ASCII minus, and no sign at zero."""
    return number(value, digits).replace("\N{MINUS SIGN}", "-")
