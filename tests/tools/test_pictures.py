"""The pictures of the product show the product as it is."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tools import pictures
from tools.pictures import FOLDER, PICTURES, Picture, stale

MOST_BYTES = 150_000


def test_no_picture_is_stale() -> None:
    assert stale() == [], "run `make pictures`, and look at what it took"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_small_and_of_something(name: str) -> None:
    for glob in PICTURES[name].sources:
        assert list(pictures.ROOT.glob(glob)), f"{glob}: these sources are gone"
    assert (FOLDER / name).stat().st_size <= MOST_BYTES
    with Image.open(FOLDER / name) as taken:
        assert 320 <= taken.size[0] <= 1440 and len(taken.convert("RGB").getcolors(1 << 20) or []) > 8


def test_a_change_of_a_source_makes_its_pictures_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Picture(("*.html",), lambda browser, path: None)
    monkeypatch.setattr(pictures, "PICTURES", {"a.png": one})
    (tmp_path / "page.html").write_text("one", encoding="utf-8")
    assert stale(tmp_path, tmp_path) == ["a.png"], "it was never taken"
    (tmp_path / "a.png").touch()
    (tmp_path / "sources.json").write_text(json.dumps({"a.png": one.digest(tmp_path)}), encoding="utf-8")
    assert stale(tmp_path, tmp_path) == []
    (tmp_path / "page.html").write_text("two", encoding="utf-8")
    assert stale(tmp_path, tmp_path) == ["a.png"]
    (tmp_path / "page.html").rename(tmp_path / "other.html")
    assert stale(tmp_path, tmp_path) == ["a.png"]
