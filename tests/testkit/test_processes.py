"""Servers that are started as processes."""

import sys
from pathlib import Path

import pytest

from testkit.processes import Failed, hosted


def test_a_host_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such model'); raise SystemExit(3)"]
    host = hosted(command, log=tmp_path / "log", port=9, ready="/", env={})
    with pytest.raises(Failed, match="it ended; its log ends:\nno such model"), host:
        pass
