"""`python -m service keys`: make, list and revoke the keys of teams.

Always true: a key is shown once and never stored, only its SHA-256; a file is replaced whole, by one that the service
would accept, or left as it was; two operators at once both have their way.
"""

import argparse
import fcntl
import hashlib
import io
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.util import load_yaml_guess_indent

from service.errors import ConfigurationError
from service.tenancy import teams_file

_SHOWN = 12
"""Hex digits of a hash that are shown."""
_PREFIX = 8
"""Hex digits that name a key, at least."""


class _Refused(Exception):
    """What the operator asked for cannot be done; says what can."""


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 when it is done, 2 when nothing was changed."""
    asked = _parser().parse_args(argv)
    try:
        if asked.teams is None:
            raise _Refused("name the teams file with `--teams FILE`, or in RUBRICD_TEAMS")
        commands: dict[str, Callable[[argparse.Namespace, Path], None]] = {"new": _new, "list": _list}
        commands.get(asked.command, _revoke)(asked, Path(asked.teams).resolve())
    except (_Refused, ConfigurationError) as error:
        print(f"rubricd keys: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"rubricd keys: the teams file cannot be changed: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service keys", description="Make, list and revoke teams' keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("new", "make a key"), ("revoke", "take a key out"), ("list", "show hashes of keys")):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("team", metavar="TEAM", help="name of a team in the file")
        command.add_argument("--teams", metavar="FILE", default=os.environ.get("RUBRICD_TEAMS"), help="teams file")
        if name == "revoke":
            which = command.add_mutually_exclusive_group()
            which.add_argument("--key", metavar="PREFIX", help="the key whose hash begins so, 8 digits or more")
            which.add_argument("--all", action="store_true", help="all keys of the team")
    return parser


def _new(asked: argparse.Namespace, file: Path) -> None:
    key = "rbd_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode()).hexdigest()

    def add(keys: list[Any]) -> list[Any]:
        if len(keys) >= teams_file.MAX_KEYS:
            raise _Refused(f"team {asked.team} has {len(keys)} keys; revoke one first\n{_shown(keys)}")
        today = datetime.now(UTC).date()
        return [*keys, {"sha256": digest, "created": today.isoformat() if file.suffix == ".json" else today}]

    _edit(file, asked.team, add)
    print(key)
    print(
        f"This is the only time this key is shown. Team {asked.team} sends it as `Authorization: Bearer KEY`.\n"
        f"The file has its hash, {digest[:_SHOWN]}; a running service reads it within a second.",
        file=sys.stderr,
    )


def _revoke(asked: argparse.Namespace, file: Path) -> None:
    revoked: list[Any] = []

    def remove(keys: list[Any]) -> list[Any]:
        revoked.extend(keys if asked.all else [_chosen(asked.team, keys, asked.key)])
        return [key for key in keys if key not in revoked]

    _edit(file, asked.team, remove)
    print(f"revoked {len(revoked)} of team {asked.team}; a running service refuses them in a second", file=sys.stderr)
    if revoked:
        print(_shown(revoked), file=sys.stderr)


def _list(asked: argparse.Namespace, file: Path) -> None:
    raw = teams_file.read(file)
    teams_file.parse(raw, file)
    if keys := _team(_document(raw, file)[0], asked.team, file).get("keys", []):
        print(_shown(keys))


def _chosen(team: str, keys: list[Any], prefix: str | None) -> Any:
    if prefix is not None and len(prefix) < _PREFIX:
        raise _Refused(f"--key needs the first {_PREFIX} digits of the hash, or more\n{_shown(keys)}")
    fitting = [key for key in keys if prefix is None or key["sha256"].startswith(prefix.lower())]
    if not fitting:
        raise _Refused(f"team {team} has no such key\n{_shown(keys)}")
    if len(fitting) > 1:
        raise _Refused(f"team {team} has {len(keys)} keys; say which with --key PREFIX, or --all\n{_shown(keys)}")
    return fitting[0]


def _shown(keys: Sequence[Any]) -> str:
    return "\n".join(f"{key['sha256'][:_SHOWN]}  created {key['created']}" for key in keys)


def _team(document: Any, name: str, file: Path) -> Any:
    for team in document["teams"]:
        if team["name"] == name:
            return team
    known = ", ".join(team["name"] for team in document["teams"])
    raise _Refused(f"there is no team {name} in {file}; there are: {known}")


def _edit(file: Path, team: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """Give the team other keys. Raises ConfigurationError, OSError, and what `change` raises."""
    with _locked(file.parent):
        raw = teams_file.read(file)
        teams_file.parse(raw, file)
        document, write = _document(raw, file)
        entry = _team(document, team, file)
        keys = change(list(entry.get("keys", [])))
        if isinstance(entry.get("keys"), list) and keys:
            entry["keys"][:] = keys
        else:
            entry["keys"] = keys
        changed = write(document)
        teams_file.parse(changed, file)
        _replace(file, changed)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder, because the file itself is replaced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise _Refused(f"there is no folder {folder}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _document(raw: bytes, file: Path) -> tuple[Any, Callable[[Any], bytes]]:
    """What the file says, and how to write it: comments and indentation stay."""
    if file.suffix == ".json":
        return json.loads(raw), lambda document: (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    document, indent, dash = load_yaml_guess_indent(raw, yaml=yaml)
    yaml.indent(mapping=2, sequence=indent or 4, offset=2 if dash is None else dash)

    def write(document: Any) -> bytes:
        out = io.BytesIO()
        yaml.dump(document, out)
        return out.getvalue()

    return document, write


def _replace(file: Path, content: bytes) -> None:
    """Whole or not at all, with the same mode and owner."""
    before = file.stat()
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, before.st_mode & 0o7777)
            out.flush()
            os.fsync(descriptor)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
