"""`rubricd cascade plan --verdicts` plans from verdicts that were paid for, and says what they lack."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.scripted_judge import served
from tests.trainer_client.cli.test_cascade import PROMPTS, WANTED, judge_called, labelled
from trainer_client import SyncJudgeClient, wire
from trainer_client.cli.main import main
from trainer_client.client import JudgeClient
from trainer_client.ledger.outcomes import OutcomeLedger

Json = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return labelled(tmp_path / "labels.jsonl")


@pytest.fixture
def paid(file: Path) -> Iterator[Path]:
    """The folder of results files, a ledger of both judges and a store of both, and the bands that asking gives."""
    folder = file.parent
    rows = [json.loads(line)["item"] for line in file.read_text().splitlines()]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    ledger = OutcomeLedger(folder / "ledger")
    with served(judge_called("small", unsure=True)) as small, served(judge_called("large", unsure=False)) as large:
        for name, url in (("small", small), ("large", large)):
            out = str(folder / f"{name}.results.jsonl")
            assert main(["score", str(folder / "rows.jsonl"), "--url", url, "--out", out, "--quiet"]) == 0
            client: SyncJudgeClient = JudgeClient.sync(url)
            with client:
                ledger.add([wire.Item.model_validate(row) for row in rows], client.score(rows))
        asked = ["cascade", "plan", str(file), "--url", small, "--url", large, "--out", str(folder / "asked.json")]
        assert main([*asked, *WANTED]) == 0
    yield folder


def _plan(folder: Path, *verdicts: str, options: tuple[str, ...] = WANTED) -> int:
    given = [part for one in verdicts for part in ("--verdicts", one)]
    return main(["cascade", "plan", str(folder / "labels.jsonl"), *given, "--out", str(folder / "p.json"), *options])


def _judges(path: Path) -> list[tuple[str, wire.CascadeBand | None]]:
    return [(one.fingerprint, one.band) for one in wire.read_cascade_plan(path.read_bytes()).judges]


def test_the_bands_are_those_of_asking_whatever_the_verdicts_lie_in(paid: Path) -> None:
    results = [f"{name}={paid / f'{name}.results.jsonl'}" for name in ("small", "large")]
    ledger = [f"{name}@{name}={paid / 'ledger'}" for name in ("small", "large")]
    store = [f"{name}@{name}={paid / 'labels.verdicts.jsonl'}" for name in ("small", "large")]
    for verdicts in (results, ledger, store, [results[0], ledger[1]]):
        assert _plan(paid, *verdicts) == 0
        assert _judges(paid / "p.json") == _judges(paid / "asked.json")
        written = wire.read_cascade_plan((paid / "p.json").read_bytes())
        assert [one.name for one in written.judges] == ["small", "large"]
        assert written.saves.tokens is None and written.saves.seconds is None, "no file says what they took"


def test_verdicts_of_several_judges_are_refused_until_one_is_named(
    paid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _plan(paid, f"a={paid / 'ledger'}", f"b={paid / 'large.results.jsonl'}") == 2
    said = capsys.readouterr().err
    assert f"verdicts of 2 judges, large ({2 * PROMPTS} criteria), small ({2 * PROMPTS} criteria); name one" in said
    assert f"--verdicts a@large={paid / 'ledger'}" in said and said.count("\n") == 1
    assert _plan(paid, f"a@tiny={paid / 'ledger'}", f"b={paid / 'large.results.jsonl'}") == 2
    assert "holds no verdict of judge tiny on these labels, but of large" in capsys.readouterr().err
    assert _plan(paid, *(f"{name}={paid / 'large.results.jsonl'}" for name in "ab")) == 2
    assert "judge large is given twice" in capsys.readouterr().err


def _without(path: Path, count: int, change: Any = None) -> None:
    """Takes the first verdicts from a results file, or changes them."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[:count]:
        for one in line["criteria"][:1]:
            one.update(change or {"status": "timeout", "met": None, "p": None})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_prompts_that_lack_a_verdict_are_left_out_and_counted_or_too_many(
    paid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts = [f"{name}={paid / f'{name}.results.jsonl'}" for name in ("small", "large")]
    _without(paid / "large.results.jsonl", 9)
    figures = paid / "figures.json"
    assert _plan(paid, *verdicts, options=(*WANTED, "--json", str(figures))) == 0
    assert "9 more prompts are left out" in capsys.readouterr().out
    assert "9 more prompts are left out" in (paid / "p.html").read_text()
    found = json.loads(figures.read_text())
    assert (found["left_out_prompts"], found["plan"]["data"]["prompts"]) == (9, PROMPTS - 9)
    _without(paid / "large.results.jsonl", 10)
    assert _plan(paid, *verdicts) == 2
    said = capsys.readouterr().err
    assert f"large: its files lack verdicts on 10 of {PROMPTS} prompts" in said and said.count("\n") == 1


def test_an_abstention_is_what_the_judge_said(paid: Path) -> None:
    _without(paid / "small.results.jsonl", 30, {"status": "abstained", "met": None, "p": None})
    assert _plan(paid, *(f"{name}={paid / f'{name}.results.jsonl'}" for name in ("small", "large"))) == 0
    saved = [wire.read_cascade_plan((paid / name).read_bytes()).saves for name in ("p.json", "asked.json")]
    assert saved[0].last_judge.value < saved[1].last_judge.value


def test_verdicts_at_another_threshold_or_mode_are_refused(paid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = [f"{name}={paid / f'{name}.results.jsonl'}" for name in ("small", "large")]
    _without(paid / "small.results.jsonl", 4, {"status": "ok", "met": False, "p": 0.6})
    assert _plan(paid, *verdicts) == 2
    assert "small: 4 verdicts are on the other side of P(met) = 0.5" in capsys.readouterr().err
    assert _plan(paid, f"a@small={paid / 'ledger'}", verdicts[1], options=("--mode", "reasoned", "--quiet")) == 2
    assert "a: the verdicts were given in mode verdict; say so by --mode" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"n": 1}, "holds a line that is no verdict of a ledger"),
        ([1], "holds a line that is no verdict of a ledger"),
        ({"met": True, "p": "0.9"}, "a verdict has `status` 'ok', `met` True and `p` '0.9'"),
        ({"p": 1.5}, "and `p` 1.5"),
        ({"met": None}, "`met` None"),
        ({"status": "abstained", "met": True}, "`status` 'abstained', `met` True"),
    ],
)
def test_a_file_that_somebody_else_wrote_is_one_sentence(
    paid: Path, capsys: pytest.CaptureFixture[str], line: Any, why: str
) -> None:
    [ledger] = (paid / "ledger").iterdir()
    first, second, *_ = ledger.read_text().splitlines()
    whole = {**json.loads(second), **line} if isinstance(line, dict) and "n" not in line else line
    ledger.write_text(f"{first}\n{json.dumps(whole)}\n")
    assert _plan(paid, f"a={paid / 'ledger'}", f"b={paid / 'large.results.jsonl'}") == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--verdicts", "a"), "--verdicts a: write NAME=PATH"),
        (("--verdicts", "a=x", "--verdicts", "b=y", "--url", "http://c"), "--url: with --verdicts no judge is asked"),
        (
            ("--verdicts", "a=x", "--verdicts", "b=y", "--price-in", "1"),
            "--price-in: with --verdicts no judge is asked",
        ),
        (("--verdicts", "a=x"), "1 judge is no cascade"),
        (("--verdicts", "a=gone.jsonl", "--verdicts", "b=y"), "gone.jsonl: there is no such file or folder"),
    ],
)
def test_misuse_is_one_sentence(
    file: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], why: str
) -> None:
    assert main(["cascade", "plan", str(file), *options]) == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1
