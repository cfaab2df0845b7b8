"""A ledger is as it was written, or `check` says where it is not."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer_client import wire
from trainer_client.cli.main import main
from trainer_client.errors import DataError
from trainer_client.ledger import checking, entries
from trainer_client.ledger.writing import LedgerWriter


def lines(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"criterion": entries.digest(str(n)), "p": n / 7, "met": None} for n in range(first, first + count)]


def written(folder: Path, *batches: int, max_bytes: int = 1_000_000, at_s: float = 0.0) -> list[Path]:
    writer = LedgerWriter(folder, {"by": "test"}, max_bytes=max_bytes)
    for n, count in enumerate(batches):
        assert writer.write(lines(count), at_s + n) == count
    return sorted(folder.iterdir())


def test_what_is_written_is_read_and_holds(tmp_path: Path) -> None:
    (file,) = written(tmp_path / "ledger", 3, 0, 4)
    found = list(checking.entries(file))
    assert [one["n"] for one in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [one["p"] for one in found] == [n / 7 for n in (0, 1, 2, 0, 1, 2, 3)]
    report = checking.check([tmp_path / "ledger"])
    assert (report.files, report.entries, report.problems, report.notes) == (1, 7, [], [])


def test_a_full_file_is_followed_by_another_and_a_new_process_by_its_own(tmp_path: Path) -> None:
    assert len(written(tmp_path, 10, 10, 10, max_bytes=1_000)) == 3
    assert len(written(tmp_path, 5, at_s=100.0)) == 4
    report = checking.check([tmp_path])
    assert (report.files, report.entries, report.problems, report.notes) == (4, 35, [], [])


def changed(raw: bytes, rng: random.Random) -> bytes:
    """The bytes of a file with one thing done to them that is no adding of lines."""
    listed = raw.splitlines(keepends=True)
    at = rng.randrange(len(listed))
    match rng.randrange(5):
        case 0:
            place = rng.randrange(len(raw))
            return raw[:place] + bytes([raw[place] ^ (1 << rng.randrange(7))]) + raw[place + 1 :]
        case 1:
            return b"".join(listed[:at] + listed[at + 1 :])
        case 2:
            return b"".join([*listed[:at], listed[at], *listed[at:]])
        case 3:
            return b"".join(listed[:at])
        case _:
            other = rng.randrange(len(listed))
            listed[at], listed[other] = listed[other], listed[at]
            return b"".join(listed)


def test_of_1000_changes_to_a_file_with_a_successor_every_one_is_found(tmp_path: Path) -> None:
    files = written(tmp_path, 10, 10, 10, 10, max_bytes=1_000)
    assert checking.check([tmp_path]).problems == []
    rng, missed, tried = random.Random(5), 0, 0
    while tried < 1000:
        file = rng.choice(files[:-1])
        raw = file.read_bytes()
        other = changed(raw, rng)
        if other == raw:
            continue
        tried += 1
        file.write_bytes(other)
        missed += not checking.check([tmp_path]).problems
        file.write_bytes(raw)
    assert missed == 0
    assert checking.check([tmp_path]).problems == []


def test_a_file_that_is_missing_between_others_is_found_and_an_older_one_is_told(tmp_path: Path) -> None:
    first, second, third = written(tmp_path, 10, 10, 10, max_bytes=1_000)
    raw = second.read_bytes()
    second.unlink()
    assert checking.check([tmp_path]).problems == [f"{third}: it follows {second.name}, which is missing"]
    second.write_bytes(raw)
    first.unlink()
    report = checking.check([tmp_path])
    assert (report.problems, report.notes) == ([], [f"{second}: it follows {first.name}, which is older and not here"])


def test_lines_that_are_added_to_a_file_that_has_ended_are_found(tmp_path: Path) -> None:
    """Who knows how a line is linked can add one that follows; the next file knows how many there were."""
    from trainer_client.ledger import chain

    first, _ = written(tmp_path, 10, 1, max_bytes=1_000)
    link = chain.said_link(first.read_bytes().splitlines()[-1])
    raw, _ = chain.sealed({"n": 11, "met": True}, link or "")
    with first.open("ab") as file:
        file.write(raw + b"\n")
    assert checking.check([first]).problems == []
    assert [one.endswith("began") for one in checking.check([tmp_path]).problems] == [True]


def test_a_torn_last_line_is_left_out_and_the_next_process_goes_on_from_the_whole_ones(tmp_path: Path) -> None:
    (first,) = written(tmp_path, 5)
    first.write_bytes(first.read_bytes()[:-10])
    report = checking.check([tmp_path])
    assert (report.entries, report.problems, len(report.notes)) == (4, [], 1)
    assert len(list(checking.entries(first))) == 4
    written(tmp_path, 2, at_s=100.0)
    report = checking.check([tmp_path])
    assert (report.entries, report.problems, len(report.notes)) == (6, [], 1)


@pytest.mark.parametrize(
    ("text", "problems"), [("[1,2,3]", 1), ('{"prompt": "p"}', 1), ('{"led', 0), ('{"ledger":1,"wri', 0)]
)
def test_a_file_of_another_kind_is_no_ledger_with_a_torn_line(tmp_path: Path, text: str, problems: int) -> None:
    (tmp_path / "ledger-1.jsonl").write_text(text)
    report = checking.check([tmp_path / "ledger-1.jsonl"])
    assert (len(report.problems), len(report.notes)) == (problems, 1 - problems)


@pytest.mark.parametrize("number", ['"x":1', '"n":null', '"n":"5"', '"n":1.5', '"n":[]'])
def test_a_file_without_a_number_at_its_end_is_followed_by_none(tmp_path: Path, number: str) -> None:
    (tmp_path / "ledger-20200101T000000-aaaaaaaa-00001.jsonl").write_text(f'{{{number},"chain":"{"0" * 32}"}}\n')
    assert len(written(tmp_path, 5)) == 2


_ENDLESS = """
import sys, itertools
from pathlib import Path
from trainer_client.ledger.writing import LedgerWriter
writer = LedgerWriter(Path(sys.argv[1]), max_bytes=20_000)
for n in itertools.count():
    writer.write([{"p": n}] * 7, float(n))
    if n == 100:
        print("begun", flush=True)
"""


def test_a_killed_process_leaves_a_ledger_that_holds_and_the_next_one_continues_it(tmp_path: Path) -> None:
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(signal.SIGKILL)
        report = checking.check([tmp_path])
        assert report.problems == []
    assert report.entries > 3 * 700
    assert sum(json.loads(path.read_bytes().splitlines()[0])["file"] == 1 for path in tmp_path.iterdir()) == 3


def test_a_full_disk_loses_whole_batches_and_no_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LedgerWriter(tmp_path)
    writer.write(lines(3), 0.0)
    left = 100

    def write(file: int, raw: Any) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        wrote = real(file, raw[:left])
        left -= wrote
        return wrote

    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space"):
            writer.write(lines(4), 1.0)
        for _ in range(100):
            with pytest.raises(OSError, match="No space"):
                writer.write(lines(4), 1.0)
        assert len(list(tmp_path.iterdir())) == 1  # no empty files
    assert writer.write(lines(2), 2.0) == 2
    report = checking.check([tmp_path])
    assert (report.files, report.entries, report.problems, report.notes) == (2, 5, [], [])


def test_digests_are_of_what_was_sent_in_whichever_shape() -> None:
    turns = [wire.Message(role="user", content="Knee?")]
    assert entries.turns_digest("Knee?") == entries.turns_digest(turns)
    assert entries.digest("Rest.") == entries.response_digest("Rest.") == "a75893997ee92de8195208fcbf0f2895"
    item = wire.Item(prompt="Knee?", responses=["a", "b"], reference="Rest.")
    first, second = entries.of_item(item)
    assert first["prompt"] == second["prompt"]
    assert first["response"] != second["response"]
    assert first["reference"] == entries.digest("Rest.")


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = written(tmp_path / "ledger", 3)
    assert main(["ledger", "verify", str(tmp_path / "ledger")]) == 0
    assert capsys.readouterr().out == "3 verdicts in 1 file(s): as they were written\n"
    file.write_bytes(file.read_bytes().replace(b'"met":null', b'"met":true', 1))
    assert main(["ledger", "verify", str(file)]) == 1
    assert f"problem: {file}, line 2: it does not follow" in capsys.readouterr().out
    assert main(["ledger", "verify", str(file), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1
    assert main(["ledger", "verify", str(tmp_path / "none")]) == 2
    with pytest.raises(DataError, match="no file of a ledger"):
        checking.check([tmp_path])
