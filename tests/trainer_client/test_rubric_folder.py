"""Rubrics as plain files: content is the version, whatever happens to the folder."""

import hashlib
from pathlib import Path

import pytest

from trainer_client import wire
from trainer_client.errors import DataError
from trainer_client.rubric_folder import RubricFolder

RUBRIC = wire.Rubric.model_validate([{"text": "Says to rest.", "points": 5}, {"text": "Says “läuft”.", "points": -3}])


def test_what_is_put_comes_back_with_its_reference(tmp_path: Path) -> None:
    folder = RubricFolder(tmp_path / "rubrics")
    stored = folder.put("knee", RUBRIC)
    assert stored.criteria == RUBRIC.criteria
    assert stored.ref is not None
    assert folder.get(stored.ref) == stored == folder.put("knee", stored)
    assert list(folder.refs()) == [stored.ref]
    (file,) = folder.path.iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith(stored.ref.partition("@")[2])
    folder.remove(stored.ref)
    assert list(folder.refs()) == []


def test_a_pitfall_without_a_sign_is_not_stored(tmp_path: Path) -> None:
    rubric = wire.Rubric.model_validate([{"text": "Pitfall Criteria: Runs.", "points": -1}])
    with pytest.raises(ValueError, match="criterion 0 is a pitfall with negative points"):
        RubricFolder(tmp_path / "rubrics").put("knee", rubric)
    assert not (tmp_path / "rubrics").exists()


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("knee@0123456789abcdef", "rubricd rubrics get knee@0123456789abcdef --into"),
        ("knee", "there is no latest one"),
        ("../knee@0123456789abcdef", "the name of a `ref`"),
    ],
)
def test_what_is_not_there_is_told_with_what_to_do(tmp_path: Path, ref: str, says: str) -> None:
    with pytest.raises(DataError, match=says.replace("`", ".")):
        RubricFolder(tmp_path).get(ref)


def test_a_changed_file_is_refused_by_name(tmp_path: Path) -> None:
    folder = RubricFolder(tmp_path)
    ref = folder.put("knee", RUBRIC).ref or ""
    file = tmp_path / f"{ref}.json"
    file.write_text(file.read_text().replace("5.0", "6.0"))
    with pytest.raises(DataError, match="is not the rubric that its name says"):
        folder.get(ref)
    assert folder.put("knee", RUBRIC).ref == ref
    assert folder.get(ref).criteria == RUBRIC.criteria


def test_a_name_leads_out_of_no_folder(tmp_path: Path) -> None:
    for name in ("..", "a/b", "", ".hidden", "a@b"):
        with pytest.raises(ValueError, match="the name of a rubric"):
            RubricFolder(tmp_path / "rubrics").put(name, RUBRIC)
    assert list(tmp_path.iterdir()) == []
