"""What is drawn without rich has every cell of what is drawn with it."""

import io

import pytest

from trainer_client.cli import drawing
from trainer_client.cli.plain import Console, Progress, Table, Text


def test_a_table_is_aligned_and_leaves_nothing_out() -> None:
    table = Table(box=None)
    table.add_column("criterion")
    table.add_column("points", justify="right")
    table.add_row("Is kind.", "+5")
    table.add_row(Text.assemble(("Li", "green"), "es."), "-10")
    table.add_row("not judged")
    table.caption = "and 3 more"
    out = io.StringIO()
    Console(file=out).print(table)
    assert out.getvalue().splitlines() == [
        "criterion   points",
        "Is kind.        +5",
        "Lies.          -10",
        "not judged",
        "and 3 more",
    ]


def test_progress_is_not_written_where_nobody_looks(capsys) -> None:  # type: ignore[no-untyped-def]
    for disable in (True, False):
        with Progress(console=Console(stderr=True), disable=disable) as bars:
            bar = bars.add_task("", total=3, more="")
            bars.update(bar, advance=2, more="1 failed")
        assert ("2 of 3 1 failed" in capsys.readouterr().err) is not disable


def test_a_table_has_room_in_a_narrow_window(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    table = drawing.Table(box=None)
    for _ in range(3):
        table.add_column("a column with a long name", no_wrap=True)
    drawing.console_for_tables().print(table)
    assert capsys.readouterr().out.count("a column with a") == 3
