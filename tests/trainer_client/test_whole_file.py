import os
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.waiting import HUNG_S
from trainer_client.whole_file import write_whole


def test_a_file_is_written_whole_with_what_utf8_cannot_hold(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_whole(file, "first\n")
    write_whole(file, "é \ud800\n")
    assert file.read_bytes() == "é \\ud800\n".encode()
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "page.html"
    file.write_text("first\n")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as half:
            half.write(content[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "second\n")
    assert file.read_text() == "first\n" and list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("first\n")
    link.symlink_to(file)
    write_whole(link, "second\n")
    assert link.is_symlink() and file.read_text() == "second\n"


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no such device here")
def test_standard_output_is_written_to() -> None:
    before = os.lstat("/dev/stdout")
    code = "from pathlib import Path; from trainer_client.whole_file import write_whole\n"
    code += "write_whole(Path('/dev/stdout'), 'figures')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HUNG_S, check=True)
    assert done.stdout == "figures" and os.lstat("/dev/stdout") == before
