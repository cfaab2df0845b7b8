"""Rows that name a stored rubric: read with its criteria from a folder, and sent by the name."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_client import wire
from trainer_client.data.items import read_items
from trainer_client.data.reader import Law
from trainer_client.data.rows import read_rows
from trainer_client.errors import DataError
from trainer_client.rubric_folder import RubricFolder

RUBRIC = wire.Rubric.model_validate(
    [{"text": "Essential Criteria: Rests.", "points": 5}, {"text": "Runs.", "points": -3}]
)
PITFALL = wire.Rubric.model_validate([{"text": "Pitfall Criteria: Runs.", "points": -3}])


@pytest.fixture
def folder(tmp_path: Path) -> RubricFolder:
    return RubricFolder(tmp_path / "rubrics")


def rows(tmp_path: Path, rubric: Any) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "Knee?", "response": "Rest.", "rubric": rubric}) + "\n")
    return file


def test_a_row_has_the_criteria_of_the_folder_and_keeps_the_reference(tmp_path: Path, folder: RubricFolder) -> None:
    stored = folder.put("knee", RUBRIC)
    file, law = rows(tmp_path, {"ref": stored.ref}), Law(stored=folder.get)
    assert [row.rubric for row in read_rows(file, law=law)] == [stored]
    assert [item.rubric for item in read_items(file, law=law)] == [stored]


def test_without_a_folder_only_what_needs_no_criteria_reads_it(tmp_path: Path, folder: RubricFolder) -> None:
    ref = folder.put("knee", RUBRIC).ref
    file = rows(tmp_path, {"ref": ref})
    (item,) = read_items(file, law=Law(refs=True))
    assert item.rubric == wire.Rubric(ref=ref)
    with pytest.raises(DataError, match=f"rubricd rubrics get {ref} --into FOLDER"):
        list(read_rows(file))


@pytest.mark.parametrize("ref", ["knee@0123456789abcdef", "knee"])
def test_a_reference_that_leads_nowhere_is_refused_with_its_place(
    tmp_path: Path, folder: RubricFolder, ref: str
) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl.*(has no rubric knee@|no latest one)"):
        list(read_rows(rows(tmp_path, {"ref": ref}), law=Law(stored=folder.get)))


def test_a_rubric_that_the_caller_gives_a_sign_is_sent_by_its_criteria(tmp_path: Path, folder: RubricFolder) -> None:
    """The stored one does not say what meeting its pitfall means, and what is sent must."""
    content = wire.rubric_content(PITFALL)
    ref = f"fall@{wire.version_of(content)}"
    folder.path.mkdir()
    (folder.path / f"{ref}.json").write_bytes(content)  # as an earlier version of rubricd stored it
    file = rows(tmp_path, {"ref": ref})
    (row,) = read_rows(file, law=Law(pitfalls="met_is_good", stored=folder.get))
    assert row.rubric is not None
    assert (row.rubric.ref, row.rubric.criteria[0].worth) == (None, 3)
