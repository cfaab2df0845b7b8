"""The teams file lists the teams, their quotas and the hashes of their keys, as YAML 1.2 or, named `.json`, as JSON.

Guarantees: a file is accepted as a whole or not at all; an error names the place and never the text, which may hold a
key; names and key hashes are distinct, and no team has a name that means other callers in the metrics; a team's own
scope never equals a shared one.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import ScalarEvent

from service.errors import ConfigurationError
from service.observability.telemetry import OTHER_TEAM, SERVICE_TEAM
from service.scheduling import PriorityClass
from service.tenancy.regular_file import SpareDescriptor, read_bounded, writable_by_others
from service.tenancy.team import CLASSES, DEFAULT_TEAM, Team

MAX_KEYS = 2
_MAX_BYTES = 500_000
"""A file of this size is parsed within the seconds that a revoked key may live."""
_SHOWN_ERRORS = 10
"""So many are written out: a file of another kind has one in each line."""
_SAID = {
    "missing": "it is missing; write it",
    "extra_forbidden": "there is no such field; leave it out",
    "model_type": "it must be a mapping; the file's begins with `teams:`",
}
_RESERVED = {
    DEFAULT_TEAM.name: "every caller where there is no teams file",
    OTHER_TEAM: "callers without a known key, in the metrics",
    SERVICE_TEAM: "the service's own queries, in the metrics",
}


@dataclass(frozen=True, slots=True)
class TeamEntry:
    """A team and the SHA-256 of each of its keys, 32 bytes each."""

    team: Team
    hashes: tuple[bytes, ...]


def read(file: Path, spare: SpareDescriptor | None = None) -> bytes:
    """The file's content, at most one byte more than it may have. Raises ConfigurationError where it cannot be read."""
    try:
        return read_bounded(file, _MAX_BYTES, spare)
    except OSError as error:
        remedy = "; `python -m service keys new TEAM` makes one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigurationError(f"the teams file {file} cannot be read: {error.strerror}{remedy}") from error


def warning(file: Path) -> str | None:
    """One sentence where others can change who has access, or None. A file that cannot be looked at gets none."""
    try:
        who = writable_by_others(file)
    except OSError:
        return None
    return who and f"{who}, and so can give itself a key; take that right away with chmod"


def parse(raw: bytes, file: Path) -> tuple[TeamEntry, ...]:
    """The teams. The name of `file` decides the syntax and is in errors. Raises ConfigurationError, whatever the bytes
    are."""
    try:
        return tuple(_entry(team) for team in _File.model_validate(_load(raw, file)).checked().teams)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        wrong = "; ".join(f"{_place(one['loc'])}: {_said(one['type'], one['msg'])}" for one in found[:_SHOWN_ERRORS])
        more = f"; and {len(found) - _SHOWN_ERRORS} more" if len(found) > _SHOWN_ERRORS else ""
        raise ConfigurationError(f"the teams file {file} is wrong: {wrong}{more}") from None
    except ValueError as error:
        raise ConfigurationError(f"the teams file {file} is wrong: {error}") from None


def _iso_date(value: object) -> object:
    """JSON has no dates."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return date.fromisoformat(value)
    return value


def _quoted(value: object) -> object:
    """YAML makes numbers, dates and truth values of some words."""
    if not isinstance(value, str):
        raise ValueError(
            "this is read as a number, a date, true, false or nothing; a name is text, so write it in quotes"
        )
    return value


_Name = Annotated[str, BeforeValidator(_quoted), Field(pattern=r"^[a-z0-9-]{1,40}\z")]
_Amount = Annotated[int, Field(gt=0, le=10**12)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Key(_Strict):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}\z")
    created: Annotated[date, BeforeValidator(_iso_date)]


class _Quota(_Strict):
    tokens_per_minute: _Amount | None = None
    concurrent_tokens: _Amount | None = None
    requests_per_minute: _Amount | None = None
    rule_seconds_per_minute: _Amount | None = None


def _free(name: object) -> object:
    if isinstance(name, str) and name in _RESERVED:
        raise ValueError(f"`{name}` stands for {_RESERVED[name]}; give the team another name")
    return name


class _Team(_Strict):
    name: Annotated[_Name, BeforeValidator(_free)]
    weight: float = Field(default=1.0, gt=0, le=1e6, allow_inf_nan=False)
    quota: _Quota = _Quota()
    classes: list[PriorityClass] = Field(default=list(CLASSES), min_length=1)
    cache_scope: _Name | None = None
    keys: list[_Key] = Field(default=[], max_length=MAX_KEYS)


class _File(_Strict):
    teams: list[_Team] = Field(min_length=1)

    def checked(self) -> "_File":
        """Itself. Raises ValueError for a name or a key hash that appears twice."""
        if twice := _twice(team.name for team in self.teams):
            raise ValueError(f"two teams are named {twice}; a name may appear once")
        if twice := _twice(key.sha256 for team in self.teams for key in team.keys):
            raise ValueError(f"the key hash {twice[:8]}... appears twice; a key belongs to one team, once")
        return self


def _twice(values: Iterable[str]) -> str | None:
    value, count = Counter(values).most_common(1)[0] if (values := list(values)) else ("", 0)
    return value if count > 1 else None


def _entry(team: _Team) -> TeamEntry:
    scope = f"team/{team.name}" if team.cache_scope is None else f"scope/{team.cache_scope}"
    return TeamEntry(
        Team(
            name=team.name,
            weight=team.weight,
            scope=scope,
            classes=frozenset(team.classes),
            tokens_per_minute=team.quota.tokens_per_minute,
            concurrent_tokens=team.quota.concurrent_tokens,
            requests_per_minute=team.quota.requests_per_minute,
            rule_seconds_per_minute=team.quota.rule_seconds_per_minute,
        ),
        tuple(bytes.fromhex(key.sha256) for key in team.keys),
    )


def _said(kind: str, message: str) -> str:
    """What to change, in words that name no class of ours."""
    return _SAID.get(kind, message.removeprefix("Value error, "))


def _place(location: tuple[int | str, ...]) -> str:
    """A place such as `teams[0].quota`, or the file itself. A name as long as a key is not repeated."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" for part in location)
    return path.removeprefix(".") or "the file"


def _shown(part: str) -> str:
    return part if re.fullmatch(r"\w{1,30}", part) else "..."


def _load(raw: bytes, file: Path) -> Any:
    """Raises ValueError."""
    if len(raw) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES} bytes; no list of teams needs that")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; save it as UTF-8") from None
    try:
        return _load_json(text) if file.suffix == ".json" else _load_yaml(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _load_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        name = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"a key stands twice in one JSON object, `{_shown(name)}`; keep one of them")
    return found


class _Unread(MarkedYAMLError):
    """The file has a part of YAML that is not read, because it can mean another thing than it seems to say."""


class _Plain(Composer):
    """Without anchors a small file cannot become a large document. Without directives, tags and leading zeros a scalar
    has one meaning, and without merge keys a team has the fields that are written in it."""

    def compose_document(self) -> Any:
        start = self.parser.peek_event()
        if start.version is not None or start.tags:
            raise _Unread("directives", problem_mark=start.start_mark)
        return super().compose_document()

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if event.anchor is not None:
            raise _Unread("anchors and aliases", problem_mark=event.start_mark)
        if event.tag is not None:
            raise _Unread("tags", problem_mark=event.start_mark)
        if isinstance(event, ScalarEvent) and event.implicit[0]:
            if event.value == "<<":
                raise _Unread("merge keys", problem_mark=event.start_mark)
            if re.fullmatch(r"[-+]?0[0-9_]+", event.value):
                raise _Unread("numbers with a leading zero", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def _load_yaml(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Plain
    try:
        return yaml.load(text)
    except _Unread as error:
        raise ValueError(f"{_line(error)}: {error.context} are not read; write it out plainly") from None
    except DuplicateKeyError as error:
        raise ValueError(f"{_line(error)}: a key stands twice in one mapping; keep one of them") from None
    except MarkedYAMLError as error:
        raise ValueError(f"{_line(error)}: not YAML 1.2 of plain values; see its syntax there") from None
    except RecursionError:
        raise
    except Exception as error:  # the parser has more ways to fail than it lists, and some repeat the text
        raise ValueError(f"it cannot be read as YAML 1.2 ({type(error).__name__})") from None


def _line(error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return "somewhere" if mark is None else f"line {mark.line + 1}"
