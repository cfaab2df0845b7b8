"""Files that operators name: what stands in their place holds up nothing, and the reason names the setting."""

import os
from pathlib import Path

import pytest

from service.api.operator_files.calibration import read_calibration_file
from service.api.operator_files.cascade_plan import read_plan_file
from service.api.operator_files.labelled_rows import read_labelled_rows
from service.api.operator_files.reading import read_named
from service.errors import ConfigurationError


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "some").write_bytes(b"12345")
    assert read_named("exam", tmp_path / "some", 5) == b"12345"
    with pytest.raises(ConfigurationError, match=r"`exam`: .*some is larger than 4 bytes"):
        read_named("exam", tmp_path / "some", 4)


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("calibration", read_calibration_file),
        ("plan", read_plan_file),
        ("labelled_canaries", lambda file: read_labelled_rows(file, "labelled_canaries")),
    ],
)
def test_what_is_no_regular_file_ends_the_start_and_waits_for_nobody(
    setting: str, read: object, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place, why in (("fifo", "a FIFO"), (".", "a folder"), ("none", "No such file")):
        with pytest.raises(ConfigurationError, match=rf"`{setting}` cannot be read: .*{why}"):
            read(tmp_path / place)  # type: ignore[operator]
