"""Keys as an operator makes, lists and revokes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.admission.keys_command import main
from service.admission.roster import Door
from service.clock import ManualClock
from service.errors import Unauthorized

TEXT = """\
# Whom to ask about this file: the platform team.
teams:
  - name: medicine   # the big one
    weight: 3
    quota: {tokens_per_minute: 2000000}  # a lot
  - name: law
    cache_scope: "lab"
    keys: []  # none yet
# the end
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "teams.yaml"
    made.write_text(TEXT)
    made.chmod(0o640)
    return made


def new(file: Path, team: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["new", team, "--teams", str(file)]) == 0
    return capsys.readouterr().out.strip()


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(argv) == 2
    return capsys.readouterr().err


def hashes(file: Path, team: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["list", team, "--teams", str(file)]) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def team_of(file: Path, key: str) -> str | None:
    try:
        return Door.open(file, ManualClock()).team_of(f"Bearer {key}").name
    except Unauthorized:
        return None


def test_a_new_key_opens_the_door_and_is_nowhere_in_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = [new(file, "medicine", capsys), new(file, "medicine", capsys), new(file, "law", capsys)]
    assert [team_of(file, key) for key in keys] == ["medicine", "medicine", "law"]
    assert all(len(key) == 47 and key not in file.read_text() for key in keys)
    assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(file.parent) == [file.name]


def test_comments_and_lines_stay(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new(file, "medicine", capsys)
    new(file, "medicine", capsys)
    new(file, "law", capsys)
    main(["revoke", "medicine", "--all", "--teams", str(file)])
    main(["revoke", "law", "--teams", str(file)])
    lines = file.read_text().splitlines()
    assert [line for line in TEXT.splitlines() if line not in lines] == []


def test_a_third_key_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new(file, "law", capsys)
    new(file, "law", capsys)
    before = file.read_bytes()
    assert "revoke one first" in refused(["new", "law", "--teams", str(file)], capsys)
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["teams.yaml", "teams.json"])
def test_revoke(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, where = tmp_path / name, ["--teams", str(tmp_path / name)]
    file.write_text(json.dumps({"teams": [{"name": "a"}]}))
    old = new(file, "a", capsys)
    assert main(["revoke", "a", *where]) == 0
    assert team_of(file, old) is None
    first, second = new(file, "a", capsys), new(file, "a", capsys)
    shown = hashes(file, "a", capsys)
    ambiguous = refused(["revoke", "a", *where], capsys)
    assert all(one in ambiguous for one in shown)
    assert "8 digits" in refused(["revoke", "a", "--key", shown[0][:7], *where], capsys)
    assert "no such key" in refused(["revoke", "a", "--key", "f" * 63, *where], capsys)
    assert main(["revoke", "a", "--key", shown[0][:8], *where]) == 0
    assert (team_of(file, first), team_of(file, second)) == (None, "a")
    new(file, "a", capsys)
    assert main(["revoke", "a", "--all", *where]) == 0
    assert hashes(file, "a", capsys) == []
    assert "no such key" in refused(["revoke", "a", *where], capsys)


def test_what_cannot_be_done_is_said(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there are: medicine, law" in refused(["new", "art", "--teams", str(file)], capsys)
    assert "none.yaml" in refused(["new", "law", "--teams", str(tmp_path / "none.yaml")], capsys)
    assert "folder" in refused(["new", "law", "--teams", str(tmp_path / "no" / "none.yaml")], capsys)
    monkeypatch.delenv("RUBRICD_TEAMS", raising=False)
    assert "RUBRICD_TEAMS" in refused(["new", "law"], capsys)
    monkeypatch.setenv("RUBRICD_TEAMS", str(file))
    assert main(["new", "law"]) == 0
    file.write_text("teams: [")
    assert "not YAML" in refused(["new", "law"], capsys)
    assert file.read_text() == "teams: ["


def test_operators_at_once_all_have_their_way(tmp_path: Path) -> None:
    """8 processes, 8 teams, one file."""
    file = tmp_path / "teams.yaml"
    file.write_text("teams:\n" + "".join(f"  - name: t{n}\n" for n in range(8)))
    code = "import sys; from service.admission.keys_command import main; sys.exit(main(sys.argv[1:]))"
    commands = [[sys.executable, "-c", code, "new", f"t{n}", "--teams", str(file)] for n in range(8)]
    running = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for one in commands]
    keys = [one.communicate()[0].strip() for one in running]
    assert [team_of(file, key) for key in keys] == [f"t{n}" for n in range(8)]
