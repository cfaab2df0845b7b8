"""What stands in a file's place, who may change it, and a reading that never ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.tenancy.regular_file import SpareDescriptor, read_bounded, writable_by_others
from testkit.descriptors import every_descriptor_used
from testkit.processes import ROOT
from testkit.waiting import HUNG_S


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * 10)
    assert [len(read_bounded(file, bound)) for bound in (20, 10, 9, 5)] == [10, 10, 10, 6]
    assert read_bounded(file, 5, SpareDescriptor()) == b"x" * 6


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(OSError, match="a FIFO"):
        read_bounded(tmp_path / "f", 5)


def test_the_spare_descriptor_is_used_when_there_is_no_other_and_is_kept_again(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    spare = SpareDescriptor()
    with every_descriptor_used() as used:
        assert [read_bounded(tmp_path / "f", 5, spare) for _ in range(100)] == [b"x"] * 100
        none_left = SpareDescriptor()
        with pytest.raises(OSError, match="Too many open files"):
            read_bounded(tmp_path / "f", 5, none_left)
        os.close(used.pop())
        assert read_bounded(tmp_path / "f", 5, none_left) == b"x"
        assert read_bounded(tmp_path / "f", 5, none_left) == b"x"


def test_who_else_may_change_a_file(tmp_path: Path) -> None:
    folder, file, link = tmp_path / "d", tmp_path / "d" / "f", tmp_path / "link"
    folder.mkdir(mode=0o755)
    file.write_text("")
    link.symlink_to(file)
    file.chmod(0o644)
    assert writable_by_others(file) is writable_by_others(link) is None
    file.chmod(0o646)
    assert writable_by_others(file) == writable_by_others(link) == f"any user may write the file {file}"
    file.chmod(0o644)
    folder.chmod(0o777)
    assert writable_by_others(file) == f"any user may write its folder {folder}"
    folder.chmod(0o1777)  # sticky, as a mounted Secret's folder is: nobody replaces another's file
    assert writable_by_others(file) is None
    file.chmod(0o664)
    assert writable_by_others(file) is None
    if os.geteuid() == 0:
        os.chown(file, 0, 4321)
        assert writable_by_others(file) == f"another group may write the file {file}"


def test_a_reading_that_never_ends_does_not_keep_the_process() -> None:
    code = "import threading; from service.tenancy.regular_file import in_daemon_thread; "
    code += "in_daemon_thread(threading.Event().wait)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=HUNG_S).returncode == 0
