"""Keys as an operator makes, lists and revokes them."""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.clock import ManualClock
from service.errors import Unauthorized
from service.tenancy import keys_cli
from service.tenancy.authentication import TeamsFileAuthentication
from testkit.waiting import HUNG_S

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


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    keys_cli.add_arguments(parser)
    return keys_cli.run(parser.parse_args(argv))


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
        return TeamsFileAuthentication(file, ManualClock()).team_of(f"Bearer {key}").name
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


@pytest.mark.parametrize("name", ["teams.yaml", "teams.json"])
def test_the_first_key_makes_the_file(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As `serve` and the doctor say of a file that is missing. A second team is not added: its name may be misspelt."""
    file = tmp_path / name
    assert main(["new", "123", "--teams", str(file)]) == 0
    made = capsys.readouterr()
    assert (team_of(file, made.out.strip()), f"made the teams file {file}" in made.err) == ("123", True)
    assert file.stat().st_mode & 0o777 == 0o644
    assert team_of(file, new(file, "123", capsys)) == "123"
    assert "made the teams file" not in capsys.readouterr().err
    assert "there is no team law" in refused(["new", "law", "--teams", str(file)], capsys)


def test_a_name_that_no_team_may_have_makes_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("other", "Law", "", 'a"', "a\n  - name: b"):
        assert "is wrong" in refused(["new", name, "--teams", str(tmp_path / "teams.yaml")], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_others_may_write_is_warned_of(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new(file, "law", capsys)
    file.chmod(0o666)
    assert main(["list", "law", "--teams", str(file)]) == 0
    assert f"any user may write the file {file}" in capsys.readouterr().err


def test_a_fifo_in_the_files_place_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.unlink()
    os.mkfifo(file)
    assert "it is a FIFO" in refused(["new", "law", "--teams", str(file)], capsys)


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
    assert "`- name: art`" in refused(["new", "art", "--teams", str(file)], capsys)
    for action in ("list", "revoke"):
        said = refused([action, "law", "--teams", str(tmp_path / "none.yaml")], capsys)
        assert "none.yaml" in said and "`python -m service keys new TEAM` makes one" in said
    assert "folder" in refused(["new", "law", "--teams", str(tmp_path / "no" / "none.yaml")], capsys)
    monkeypatch.delenv("RUBRICD_TEAMS", raising=False)
    assert "RUBRICD_TEAMS" in refused(["new", "law"], capsys)
    monkeypatch.setenv("RUBRICD_TEAMS", str(file))
    assert main(["new", "law"]) == 0
    file.write_text("teams: [")
    assert "not YAML" in refused(["new", "law"], capsys)
    assert file.read_text() == "teams: ["


def test_as_an_operator_types_it(file: Path) -> None:
    """New, list and revoke by `python -m service keys`: what is printed may be piped on."""

    def typed(*words: str) -> tuple[int, str, str]:
        environment = {**os.environ, "RUBRICD_TEAMS": str(file)}
        command = [sys.executable, "-m", "service", "keys", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HUNG_S)
        return done.returncode, done.stdout, done.stderr

    made, out, said = typed("new", "law")
    key = out.removesuffix("\n")
    assert (made, re.fullmatch(r"rbd_[A-Za-z0-9_-]{43}", key) is not None, key in said) == (0, True, False)
    assert team_of(file, key) == "law"
    digest = hashlib.sha256(key.encode()).hexdigest()
    listed, out, said = typed("list", "law")
    assert (listed, re.sub(r"\d{4}-\d\d-\d\d", "DATE", out), said) == (0, f"{digest[:12]}  created DATE\n", "")
    revoked, out, said = typed("revoke", "law", "--key", digest[:8])
    assert (revoked, out, digest[:12] in said, team_of(file, key)) == (0, "", True, None)
    refused, out, said = typed("revoke", "law")
    assert (refused, out, "no such key" in said) == (2, "", True)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_the_files_mode_and_its_link_stay(file: Path, mode: int, capsys: pytest.CaptureFixture[str]) -> None:
    file.chmod(mode)
    link = file.parent / "link.yaml"
    link.symlink_to(file)
    new(link, "law", capsys)
    main(["revoke", "law", "--teams", str(link)])
    assert file.stat().st_mode & 0o7777 == mode
    assert link.is_symlink()
    assert sorted(os.listdir(file.parent)) == ["link.yaml", "teams.yaml"]


def test_a_file_that_cannot_be_replaced_is_left_as_it_was(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = file.read_bytes()
    assert main(["new", "law", "--teams", str(file)]) == 2
    said = capsys.readouterr()
    assert (said.out, "No space left" in said.err) == ("", True)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_what_the_service_would_refuse_is_not_written(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, document = file.read_bytes(), keys_cli._document
    monkeypatch.setattr(keys_cli, "_document", lambda raw, at: (document(raw, at)[0], lambda changed: b"teams: ["))
    assert "not YAML" in refused(["new", "law", "--teams", str(file)], capsys)
    assert file.read_bytes() == before


def test_who_makes_and_who_revokes_at_once_both_have_their_way(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4 processes that make a key, 4 that revoke one, and in the end what both wanted."""
    file.write_text("teams:\n" + "".join(f"  - name: t{n}\n" for n in range(8)))
    old = [new(file, f"t{n}", capsys) for n in range(4)]
    asked = [("revoke" if n < 4 else "new", f"t{n}") for n in range(8)]
    commands = [[sys.executable, "-m", "service", "keys", *words, "--teams", str(file)] for words in asked]
    running = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for one in commands]
    made = [one.communicate()[0].strip() for one in running][4:]
    assert [team_of(file, key) for key in old + made] == [None] * 4 + [f"t{n}" for n in range(4, 8)]
    assert os.listdir(file.parent) == [file.name]


def test_keys_are_listed_as_json_and_a_team_without_any_is_told_what_to_do(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(new(file, "medicine", capsys).encode()).hexdigest()
    assert main(["list", "medicine", "--json", "--teams", str(file)]) == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert listed["sha256"] == digest[:12] and re.fullmatch(r"\d{4}-\d\d-\d\d", listed["created"])
    assert main(["list", "law", "--json", "--teams", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["list", "law", "--teams", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "`python -m service keys new law` makes one" in said.err
