"""Runs `rubricd rubrics`: stores rubrics under versions that are their content, in the service or in a folder of files.

Guarantees: what is read has the content that its reference names. Nothing is changed under a version.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.cli.ending import CANNOT_GO_ON, ended
from trainer_client.cli.service_arguments import add_service
from trainer_client.client import JudgeClient
from trainer_client.data.formats import harbor
from trainer_client.data.reader import signed
from trainer_client.data.records import RowError
from trainer_client.errors import DataError
from trainer_client.rubric_folder import RubricFolder

DESCRIPTION = "Store rubrics under a name and a version that is a digest of their content, and read them back."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    put = _action(actions, "put", "store a rubric and print its reference, NAME@VERSION", _put)
    put.add_argument("name", metavar="NAME", help="its name: letters, digits, dots, underscores and hyphens")
    put.add_argument("file", metavar="FILE", help="its criteria as JSON, a Harbor judge.toml, or - for standard input")
    put.add_argument("--pitfalls", choices=get_args(wire.Pitfalls), help="what meeting a RaR pitfall means")
    get = _action(actions, "get", "print a stored rubric as JSON", _get)
    get.add_argument("ref", metavar="NAME@VERSION", help="the version to read")
    get.add_argument("--into", type=Path, metavar="FOLDER", help="store it as a file of this folder instead")
    listed = _action(actions, "list", "list what is stored, the newest first", _list)
    listed.add_argument("name", nargs="?", metavar="NAME", help="the versions of this rubric alone")
    listed.add_argument("--json", action="store_true", help="print it as JSON")
    remove = _action(actions, "remove", "remove one version", _remove)
    remove.add_argument("ref", metavar="NAME@VERSION", help="the version to remove")


def _action(
    actions: Any, name: str, about: str, work: Callable[[argparse.Namespace], Awaitable[int]]
) -> argparse.ArgumentParser:
    own: argparse.ArgumentParser = actions.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    own.add_argument("--folder", type=Path, metavar="FOLDER", help="plain files in this folder, and no service")
    add_service(own)
    own.set_defaults(work=work, parser=own)
    return own


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 done, 1 the service refused, 2 for what cannot be used, 130 for an interrupt."""
    try:
        code: int = asyncio.run(args.work(args))
        return code
    except CANNOT_GO_ON as error:
        return ended(error, args, resumed="", refused=1)


def _client(args: argparse.Namespace) -> JudgeClient:
    return JudgeClient(args.url, token=os.environ.get(args.token_env) or None)


async def _put(args: argparse.Namespace) -> int:
    try:
        rubric = signed(_read(args.file), args.pitfalls, "criteria")
    except RowError as error:
        raise DataError(f"{args.file}: {error}") from None
    if args.folder is not None:
        print(RubricFolder(args.folder).put(args.name, rubric).ref)
        return 0
    async with _client(args) as client:
        stored = await client.rubrics.put(args.name, rubric)
    print(stored.ref)
    if not stored.created:
        print("rubricd: the service had this version already", file=sys.stderr)
    return 0


async def _get(args: argparse.Namespace) -> int:
    if args.folder is not None:
        rubric = RubricFolder(args.folder).get(args.ref)
    else:
        async with _client(args) as client:
            rubric = await client.rubrics.get(args.ref)
    if args.into is not None:
        print(RubricFolder(args.into).put(wire.split_ref(args.ref)[0], rubric).ref)
    else:
        print(rubric.model_dump_json(exclude_none=True, by_alias=True, exclude={"ref"}, indent=2))
    return 0


async def _list(args: argparse.Namespace) -> int:
    if args.folder is not None:
        refs = [ref for ref in RubricFolder(args.folder).refs() if args.name in (None, ref.partition("@")[0])]
        print(json.dumps(refs, indent=2) if args.json else "\n".join(refs))
        return 0 if refs or args.name is None else 1
    async with _client(args) as client:
        stored = await client.rubrics.versions(args.name)
    if args.json:
        print(stored.model_dump_json(indent=2))
        return 0
    _print_table(stored.versions)
    print(
        f"the team has stored {stored.stored:,} of {stored.max_stored:,} versions, {stored.stored_bytes:,} of "
        f"{stored.max_stored_bytes:,} bytes"
    )
    return 0


def _print_table(versions: Sequence[wire.StoredVersion]) -> None:
    width = max((len(one.ref) for one in versions), default=0)
    for one in versions:
        stored_at = datetime.fromtimestamp(one.stored_at, UTC).isoformat(" ", "seconds")
        print(f"{one.ref:{width}}  {one.bytes:>9,} bytes  {stored_at}")


async def _remove(args: argparse.Namespace) -> int:
    if args.folder is not None:
        RubricFolder(args.folder).remove(args.ref)
        return 0
    async with _client(args) as client:
        await client.rubrics.remove(args.ref)
    return 0


def _read(file: str) -> wire.Rubric:
    """Raises DataError."""
    if file.endswith(".toml"):
        found: Any = {"criteria": harbor.rubric(Path(file))}
    else:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        try:
            found = wire.read_json(text)
        except wire.JsonFault as fault:
            raise DataError(f"{file}: this is {fault}; write a list of criteria like {{text, points}}") from None
    if isinstance(found, dict) and "rubric" in found:
        found = found["rubric"]
    try:
        return wire.Rubric.model_validate(found)
    except ValidationError as error:
        raise DataError(f"{file}: {_sentence(error)}") from None


_SAID = {
    "missing": "it is missing; write it",
    "extra_forbidden": "there is no such field; leave it out",
    "model_type": "a criterion is an object like {text, points}",
}


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = _SAID.get(first["type"], first["msg"].removeprefix("Value error, "))
    return f"{place}: {message}" if place else message
