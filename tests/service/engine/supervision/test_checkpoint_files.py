"""Other files are another judge."""

import shutil
from pathlib import Path

import pytest

from service.engine.build import MINIATURE
from service.engine.identity import checkpoint_facts
from service.engine.supervision.checkpoint_files import CheckpointFiles
from service.errors import ConfigurationError


def test_files_that_were_written_with_the_same_bytes_are_the_same_judge(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MINIATURE, tmp_path / "judge"))
    files = CheckpointFiles(folder, checkpoint_facts(folder))
    config = folder / "config.json"
    before = config.read_bytes()
    config.write_bytes(before + b"\n")
    with pytest.raises(ConfigurationError, match="changed since the start"):
        files.check_unchanged()
    config.write_bytes(before)
    files.check_unchanged()
