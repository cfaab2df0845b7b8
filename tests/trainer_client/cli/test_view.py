"""`rubricd view` writes a page of what a run or `rubricd score` has logged, and tables where they are wanted."""

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from testkit.made_results import write_results
from trainer_client.cli.main import main


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "one.results.jsonl", 12)


def test_the_page_is_beside_the_results(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(results)]) == 0
    page = results.with_name("one.results.html")
    assert capsys.readouterr().out == f"rubricd: page {page}\n" and "12 responses" in page.read_text()


def test_tables_are_written_beside(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = [
        "--out",
        str(tmp_path / "p.html"),
        "--csv",
        str(tmp_path / "t.csv"),
        "--parquet",
        str(tmp_path / "t.parquet"),
    ]
    assert main(["view", str(results), *out]) == 0
    assert f"responses {tmp_path / 't.csv'}, verdicts {tmp_path / 't.criteria.csv'}" in capsys.readouterr().out
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 12
    assert pq.read_table(tmp_path / "t.criteria.parquet").num_rows == 120
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 13


def test_files_of_one_name_are_told_apart_by_their_folders(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / results.name
    other.parent.mkdir()
    other.write_bytes(results.read_bytes())
    assert main(["view", str(results), str(other)]) == 0
    page = results.with_name("one.results.html")
    assert f"{tmp_path.name}/{results.name} and other/{results.name}</h1>" in page.read_text()
    assert main(["view", str(results), str(results)]) == 0
    assert f"{results.name} (1) and {results.name} (2)</h1>" in page.read_text()
    packed = tmp_path / "two.jsonl.gz"
    packed.write_bytes(gzip.compress(results.read_bytes()))
    assert main(["view", str(packed), str(results)]) == 0
    assert 'id="compare"' in (tmp_path / "two.html").read_text()


def test_a_mistake_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path / "none.jsonl")]) == 2
    assert capsys.readouterr().err == f"rubricd: {tmp_path / 'none.jsonl'}: there is no such file or folder\n"
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["view", str(tmp_path / "empty.jsonl")]) == 2
    assert "no rollouts yet" in capsys.readouterr().err


def test_no_browser_is_said(results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def find_none(url: str) -> bool:
        asked.append(url)
        return False

    monkeypatch.setattr("webbrowser.open", find_none)
    assert main(["view", str(results), "--open"]) == 0
    assert asked == [results.with_name("one.results.html").as_uri()]
    assert "no browser was found" in capsys.readouterr().err
