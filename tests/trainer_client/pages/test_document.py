import re

from trainer_client.pages.document import (
    badge,
    cell,
    document,
    figure_cell,
    folded,
    interval,
    number,
    row,
    section,
    sentences,
    table,
    tile,
)

HOSTILE = "</td><script>alert('&')</script>\""


def test_every_text_is_escaped() -> None:
    inner = "".join(
        (
            table((HOSTILE, (HOSTILE, "n")), [row(((HOSTILE, "name"),), more=cell(HOSTILE))]),
            folded(HOSTILE, ""),
            badge(HOSTILE),
            sentences([HOSTILE]),
        )
    )
    page = document(
        HOSTILE,
        HOSTILE,
        tiles=[tile(HOSTILE, HOSTILE, about=HOSTILE)],
        sections=[section(HOSTILE, HOSTILE, inner, mark=badge(HOSTILE))],
    )
    assert "<script" not in page and page.count("&lt;script&gt;") == 16


def test_a_page_loads_nothing() -> None:
    page = document("a title", "and what it is", tiles=[], sections=[""])
    assert not re.findall(r"https?:|src=|@import|url\(|<link", page)


def test_numbers_are_written_as_people_read_them() -> None:
    assert [number(value) for value in (0.5, -0.5, -0.0001, None)] == ["0.500", "\N{MINUS SIGN}0.500", "0.000", ""]
    assert number(-2.25, 1) == "\N{MINUS SIGN}2.2"
    assert interval(-0.1, 0.1) == "\N{MINUS SIGN}0.100 to 0.100" and interval(None, 0.1) == ""


def test_a_missing_figure_is_an_empty_cell_and_no_zero() -> None:
    assert figure_cell(None, n=3) == "<td></td>"
    assert figure_cell(0.25, 0.1, 0.4, 1234) == (
        '<td class="figure"><b>0.250</b> <span>0.100 to 0.400, n 1,234</span></td>'
    )
    assert figure_cell(0.25) == '<td class="figure"><b>0.250</b> <span></span></td>'
