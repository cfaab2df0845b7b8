"""Reads `judges.yaml`, and says of each mistake in it where it stands and what to change.

Guarantees: a file is accepted as a whole or not at all. An error repeats names of judges and fields, and no values.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.reader import ReaderError

from service.errors import ConfigurationError
from service.settings.deployment import (
    Cascade,
    EngineJudge,
    JudgeEntry,
    JudgesFile,
    Panel,
    Route,
    Routed,
    RubricdJudge,
    Shadow,
)
from service.settings.yaml_nodes import NodeFault, check_nodes

Place = tuple[str | int, ...]

_MODELS: Mapping[str, type[BaseModel]] = {
    "engine": EngineJudge,
    "rubricd": RubricdJudge,
    "panel": Panel,
    "routed": Routed,
    "cascade": Cascade,
    "shadow": Shadow,
}
_NAMING = frozenset({"panel", "cascade", "routed", "default", "shadow", "of", "required"})
_SHOWN_ERRORS = 10
_MAX_BYTES = 500_000
_MOST_VALUES = 100_000
_MOST_ASKED = 64


def read_judges(file: Path) -> JudgesFile:
    """Raises ConfigurationError with the line and the field of each mistake."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"`judges` is {file}, which cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigurationError(f"`judges` is {file}, which is larger than {_MAX_BYTES} bytes; no judges need that")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    document, root = _loaded(text, file)
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{file}: the file holds no mapping; begin it with `judges:` and a name below that")
    try:
        found = JudgesFile.model_validate(document)
    except ValidationError as error:
        mistakes = [_mistake(one["loc"], one["type"], one["msg"]) for one in error.errors(include_url=False)]
        raise _wrong(file, root, mistakes) from None
    if mistakes := list(_unknown_members(found)) or list(_circles(found)) or list(_crowds(found)):
        raise _wrong(file, root, mistakes)
    return found


def _loaded(content: str, file: Path) -> tuple[Any, Node | None]:
    """What the file says, and where each part of it stands."""
    try:
        root = YAML(typ="safe", pure=True).compose(content)
        if root is not None:
            check_nodes(root, _MOST_VALUES)  # before it is loaded: an alias may stand for millions
        return YAML(typ="safe", pure=True).load(content), root
    except DuplicateKeyError as error:
        raise ConfigurationError(f"{file}, {_line(error)}: a name stands twice in one mapping; keep one") from None
    except MarkedYAMLError as error:
        raise ConfigurationError(f"{file}, {_line(error)}: not YAML: {error.problem}") from None
    except NodeFault as fault:
        raise ConfigurationError(f"{file}, line {fault.line}: {fault}") from None
    except ReaderError:
        raise ConfigurationError(f"{file} holds a character that YAML does not allow; save it as plain text") from None
    except (ValueError, RecursionError) as error:  # a value that its type cannot hold, or a nesting without end
        raise ConfigurationError(
            f"{file} cannot be read as YAML ({type(error).__name__}); look at its values"
        ) from None


def _line(error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return "somewhere" if mark is None else f"line {mark.line + 1}"


def _mistake(loc: Place, kind: str, message: str) -> tuple[Place, str]:
    """The place in the file, without the kind of judge that pydantic puts between, and what to change."""
    entry = loc[2] if len(loc) > 2 and loc[0] == "judges" else None
    model: type[BaseModel] = JudgesFile
    if isinstance(entry, str) and entry in _MODELS:
        model = Route if entry == "routed" and len(loc) > 4 else _MODELS[entry]
        loc = (*loc[:2], *loc[3:])
    if kind == "extra_forbidden":
        return loc, f"there is no such field{_near(str(loc[-1]), model.model_fields)}"
    if kind == "string_type" and (loc[-1] == "[key]" or any(part in _NAMING for part in loc)):
        return loc[:-1] if loc[-1] == "[key]" else loc, "a judge's name is a text: write it in quotes"
    if kind == "missing":
        return loc[:-1], f"`{loc[-1]}` is missing"
    if kind == "string_pattern_mismatch" and len(loc) == 3 and loc[-1] == "[key]":
        return loc[:2], "a judge's name has at most 64 of the characters A-Z, a-z, 0-9, `_`, `.` and `-`; rename it"
    return loc, message.removeprefix("Value error, ")


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}"


def _unknown_members(file: JudgesFile) -> Iterator[tuple[Place, str]]:
    for place, name in _named(file):
        if name not in file.judges:
            yield place, f"`{name}` is no judge of this file{_near(name, file.judges)}"


def _named(file: JudgesFile) -> Iterator[tuple[Place, str]]:
    for name, entry in file.judges.items():
        yield from ((("judges", name, *place), member) for place, member in _members_of(entry))
    for at, name in enumerate(file.required or ()):
        yield ("required", at), name


def _members_of(entry: JudgeEntry) -> Iterator[tuple[Place, str]]:
    if isinstance(entry, Panel):
        yield from ((("panel", at), member) for at, member in enumerate(entry.panel))
    elif isinstance(entry, Cascade):
        yield from ((("cascade", at), member) for at, member in enumerate(entry.cascade))
    elif isinstance(entry, Shadow):
        yield ("shadow",), entry.shadow
        yield ("of",), entry.of
    elif isinstance(entry, Routed):
        yield from ((("routed", at, "judge"), route.judge) for at, route in enumerate(entry.routed))
        yield ("default",), entry.default


def _circles(file: JudgesFile) -> Iterator[tuple[Place, str]]:
    """The first judge that is made of itself, if any is."""
    for name in file.judges:
        above = [name]
        seen: set[str] = set()
        while above:
            for member in file.judges[above.pop()].members:
                if member == name:
                    yield ("judges", name), f"`{name}` is made of itself; leave it out of its members"
                    return
                if member not in seen:
                    seen.add(member)
                    above.append(member)


class WrongJudgesFile(ConfigurationError):
    """Each of the `mistakes` is where it stands, and what to change."""

    def __init__(self, file: Path, mistakes: Sequence[tuple[str, str]]) -> None:
        self.mistakes = mistakes
        shown = "; ".join(f"{where}: {message}" for where, message in mistakes[:_SHOWN_ERRORS])
        more = f"; and {len(mistakes) - _SHOWN_ERRORS} more" if len(mistakes) > _SHOWN_ERRORS else ""
        super().__init__(f"{file} is wrong: {shown}{more}")


def _crowds(file: JudgesFile) -> Iterator[tuple[Place, str]]:
    """Compositions of compositions that ask too many: each level may double them."""
    asked: dict[str, int] = {}
    for name in file.in_order():
        entry = file.judges[name]
        of_members = [asked[member] for member in entry.members] or [1]
        asked[name] = max(of_members) if isinstance(entry, Routed) else sum(of_members)
        if asked[name] > _MOST_ASKED:
            message = f"`{name}` may ask {asked[name]} judges about one criterion, and {_MOST_ASKED} are the most"
            yield ("judges", name), f"{message}; name fewer members, or fewer compositions among them"
            return


def _wrong(file: Path, root: Node | None, mistakes: Iterable[tuple[Place, str]]) -> WrongJudgesFile:
    found = [(f"line {_line_of(root, place)}, `{_shown(place)}`", message) for place, message in mistakes]
    return WrongJudgesFile(file, found)


def _shown(place: Place) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    return path if path and re.fullmatch(r"[\w.\[\]-]{1,200}", path) else "the file"


def _line_of(node: Node | None, place: Place) -> int:
    """The line of the place, or of what is nearest to it in the file."""
    line = 0 if node is None else node.start_mark.line
    for part in place:
        if isinstance(node, MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1
