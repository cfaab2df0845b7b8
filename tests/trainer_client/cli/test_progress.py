"""What a command says stands on lines of its own."""

import re
import sys

import pytest
from tqdm import tqdm

from trainer_client.cli.progress import progress, say_past_bars


def test_where_nobody_looks_a_tenth_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    failed = 0
    with progress(40, False, "responses", lambda: f"{failed} failed" if failed else "") as told:
        for done in range(40):
            failed = int(done > 30)
            told(1)
    assert capsys.readouterr().err.splitlines() == [
        *(f"rubricd: {done} of 40 responses" for done in range(4, 32, 4)),
        *(f"rubricd: {done} of 40 responses; 1 failed" for done in range(32, 44, 4)),
    ]


def test_on_a_terminal_a_bar_moves_and_is_gone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress(40, False, "responses", lambda: "1 failed") as told:
        told(39)
        told(1)
    said = capsys.readouterr().err
    assert "40/40" in said and "1 failed" in said and "\n40" not in said


@pytest.mark.parametrize(("total", "quiet"), [(40, True), (9, False), (0, False)])
def test_a_quiet_one_and_one_of_few_say_nothing(total: int, quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(total, quiet) as told:
        told(total)
    assert capsys.readouterr().err == ""


def test_a_sentence_begins_a_line_while_a_bar_of_a_library_stands_open(capsys: pytest.CaptureFixture[str]) -> None:
    bar = tqdm(total=4, file=sys.stderr, mininterval=0)
    bar.update(1)
    say_past_bars("rubricd: the judge is down")
    said = capsys.readouterr().err
    bar.close()
    assert re.search(r"(?m)^rubricd: the judge is down$", said.replace("\r", "\n")) and "25%" in said


def test_without_that_library_it_is_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tqdm")
    say_past_bars("rubricd: no such file")
    assert capsys.readouterr().err == "rubricd: no such file\n"
