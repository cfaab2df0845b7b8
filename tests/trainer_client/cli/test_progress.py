"""What a command says stands on lines of its own."""

import re
import sys

import pytest
from tqdm import tqdm

from trainer_client.cli.progress import say_past_bars


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
