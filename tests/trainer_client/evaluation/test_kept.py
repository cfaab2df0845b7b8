"""Lines that are kept under keys: found again, cut behind a torn one, and refused where they are damaged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer_client.errors import DataError
from trainer_client.evaluation.kept import KeptLines


def test_what_was_kept_is_found_by_the_same_about_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with KeptLines(path, "one") as kept:
        kept.keep("a", {"n": 1})
        kept.keep("b", {"n": 2}, final=False)
        assert kept.find("b") == {"n": 2}
    with KeptLines(path, "one") as kept:
        assert (kept.find("a"), kept.find("b")) == ({"n": 1}, None)
    with KeptLines(path, "another") as kept:
        assert kept.find("a") is None


def test_a_process_that_is_killed_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom trainer_client.evaluation.kept import KeptLines\n"
        "kept = KeptLines(Path(sys.argv[1]), 'one')\n"
        "for n in range(100):\n    kept.keep(str(n), {'n': n})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], env=dict(os.environ))
    assert ended.returncode == -signal.SIGKILL
    path.write_bytes(path.read_bytes() + b'{"key": "torn"')
    with KeptLines(path, "one") as kept:
        assert [kept.find(str(n)) for n in range(100)] == [{"n": n} for n in range(100)]
        kept.keep("after", {})
    assert len(path.read_bytes().splitlines()) == 101


@pytest.mark.parametrize("line", ["no JSON", "[]", '{"key": "a"}', '{"key": "a", "about": "one", "kept": 3}'])
def test_any_other_damage_is_an_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(DataError, match="line 1"):
        KeptLines(path, "one")
