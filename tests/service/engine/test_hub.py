from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from service.engine import hub
from service.engine.hub import CHECKPOINT_FILES, TOKENIZER_FILES, resolve
from service.errors import ConfigurationError


@pytest.mark.parametrize("files", [CHECKPOINT_FILES, TOKENIZER_FILES])
def test_a_name_is_fetched_without_code_or_pickles(
    files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, tuple(allow_patterns)))
        assert not {"*.bin", "*.py", "*.pt", "*"} & set(allow_patterns)
        return str(tmp_path / "0123456789abcdef")

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    folder, revision = resolve("maker/judge", "main", files)
    assert asked == [("maker/judge", "main", files)]
    assert (folder.name, revision) == ("0123456789abcdef", "0123456789abcdef"), "the commit, not the branch"


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve(str(tmp_path), "v2") == (tmp_path, "v2")


def test_a_name_that_nobody_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    with pytest.raises(ConfigurationError, match="change the judge's model"):
        resolve("maker/judge", None)
