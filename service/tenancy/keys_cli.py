"""The keys command makes, lists and revokes the keys of teams in the teams file: `python -m service keys`.

Guarantees: a key is printed once and never stored, the file holds its SHA-256; a file is replaced as a whole, by one
that the service would accept, or left as it was; two operators at the same time both succeed. Where there is no file
the first key makes it, with its team; a team is added to no other file, as its name may be misspelt.
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

from service.clock import SystemClock
from service.errors import ConfigurationError
from service.settings import KeysSettings
from service.tenancy import teams_file

_SHOWN_DIGITS = 12
"""So many hex digits of a hash are printed."""
_PREFIX_DIGITS = 8
"""So many hex digits, at least, name a key."""


class _Refused(Exception):
    """The operator's command cannot be carried out. The message says what can."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of `keys` and their flags."""
    parser.description = "Make, list and revoke teams' keys. Exit status: 2 when nothing was changed."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    for name, summary in (
        ("new", "make a key and print it, once"),
        ("revoke", "take a key out of the file"),
        ("list", "print the beginning of each key's hash"),
    ):
        action = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        action.add_argument("team", metavar="TEAM", help="the name of a team in the file")
        action.add_argument("--teams", metavar="FILE", type=Path, help="the teams file (default: $RUBRICD_TEAMS)")
        if name == "list":
            action.add_argument("--json", action="store_true", help="print them as JSON")
        if name == "revoke":
            which = action.add_mutually_exclusive_group()
            which.add_argument(
                "--key", metavar="PREFIX", help=f"the key whose hash begins so, {_PREFIX_DIGITS} digits or more"
            )
            which.add_argument("--all", action="store_true", help="all keys of the team")


def run(args: argparse.Namespace) -> int:
    """Carries out one action. Exit status: 0 when it is done, 2 when nothing was changed."""
    try:
        file: Path | None = args.teams or KeysSettings().teams
        if file is None:
            raise _Refused("name the teams file with `--teams FILE`, or in RUBRICD_TEAMS")
        actions: dict[str, Callable[[argparse.Namespace, Path], None]] = {"new": _new, "list": _list, "revoke": _revoke}
        actions[args.action](args, file.resolve())
        if warning := teams_file.warning(file):
            print(f"rubricd keys: {warning}", file=sys.stderr)
    except (_Refused, ConfigurationError) as error:
        print(f"rubricd keys: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"rubricd keys: the teams file cannot be changed: {error}", file=sys.stderr)
        return 2
    return 0


def _new(args: argparse.Namespace, file: Path) -> None:
    key = "rbd_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode()).hexdigest()

    def add(keys: list[Any]) -> list[Any]:
        if len(keys) >= teams_file.MAX_KEYS:
            raise _Refused(f"team {args.team} has {len(keys)} keys; revoke one first\n{_shown(keys)}")
        today = datetime.fromtimestamp(SystemClock().wall(), UTC).date()
        return [*keys, {"sha256": digest, "created": today.isoformat() if file.suffix == ".json" else today}]

    is_new = not file.exists()
    _edit(file, args.team, add, begins=True)
    if is_new:
        print(f"made the teams file {file}, with team {args.team}", file=sys.stderr)
    print(key)
    print(
        f"This is the only time this key is shown. Team {args.team} sends it as `Authorization: Bearer KEY`.\n"
        f"The file has its hash, {digest[:_SHOWN_DIGITS]}; a running service reads it within a second.",
        file=sys.stderr,
    )


def _revoke(args: argparse.Namespace, file: Path) -> None:
    revoked: list[Any] = []

    def remove(keys: list[Any]) -> list[Any]:
        revoked.extend(keys if args.all else [_chosen(args.team, keys, args.key)])
        return [key for key in keys if key not in revoked]

    _edit(file, args.team, remove)
    print(
        f"revoked {len(revoked)} of team {args.team}; a running service refuses them within a second", file=sys.stderr
    )
    if revoked:
        print(_shown(revoked), file=sys.stderr)


def _list(args: argparse.Namespace, file: Path) -> None:
    raw = teams_file.read(file)
    teams_file.parse(raw, file)
    keys = _team(_document(raw, file)[0], args.team, file).get("keys", [])
    if args.json:
        print(json.dumps([{"sha256": key["sha256"][:_SHOWN_DIGITS], "created": str(key["created"])} for key in keys]))
    elif keys:
        print(_shown(keys))
    else:
        print(f"team {args.team} has no keys; `python -m service keys new {args.team}` makes one", file=sys.stderr)


def _chosen(team: str, keys: list[Any], prefix: str | None) -> Any:
    if prefix is not None and len(prefix) < _PREFIX_DIGITS:
        raise _Refused(f"--key needs the first {_PREFIX_DIGITS} digits of the hash, or more\n{_shown(keys)}")
    fitting = [key for key in keys if prefix is None or key["sha256"].startswith(prefix.lower())]
    if not fitting:
        raise _Refused(f"team {team} has no such key\n{_shown(keys)}")
    if len(fitting) > 1:
        raise _Refused(
            f"team {team} has {len(keys)} keys; name one with --key PREFIX, or all with --all\n{_shown(keys)}"
        )
    return fitting[0]


def _shown(keys: Sequence[Any]) -> str:
    return "\n".join(f"{key['sha256'][:_SHOWN_DIGITS]}  created {key['created']}" for key in keys)


def _team(document: Any, name: str, file: Path) -> Any:
    for team in document["teams"]:
        if team["name"] == name:
            return team
    known = ", ".join(team["name"] for team in document["teams"])
    raise _Refused(
        f"there is no team {name} in {file}; there are: {known}; for a new one add its line `- name: {name}`"
    )


def _edit(file: Path, team: str, change: Callable[[list[Any]], list[Any]], *, begins: bool = False) -> None:
    """Gives the team other keys, in a new file where there is none and it `begins` one. Raises ConfigurationError,
    OSError, and what `change` raises."""
    with _locked(file.parent):
        raw = _first(file, team) if begins and not os.path.lexists(file) else teams_file.read(file)
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


def _first(file: Path, team: str) -> bytes:
    """A file with this team alone."""
    return (
        json.dumps({"teams": [{"name": team}]}) if file.suffix == ".json" else f'teams:\n  - name: "{team}"\n'
    ).encode()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks the folder, because the file itself is replaced."""
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
    """The content of the file, and a function that writes it: comments and indentation stay."""
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
    """Replaces the file as a whole or not at all. Its mode and owner stay; a new one may be read by everybody, as the
    service runs as a user of its own."""
    before = file.stat() if file.exists() else None
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            if before is not None:
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, 0o644 if before is None else before.st_mode & 0o7777)
            out.flush()
            os.fsync(descriptor)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
