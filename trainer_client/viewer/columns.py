"""Packs logged rollouts into columns, in which every text is held once.

A column is null where nothing has a value, {"all": value} where all have the same one, and otherwise a list.

Guarantees: numbers are the log's own, and what is missing is null. A response that was never judged has an entry for
each criterion of its rubric, without a verdict and with the response's own reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer_client.rollouts import LoggedVerdict, Rollout
from trainer_client.rollouts.logged import Turns

Column = list[Any]


@dataclass(frozen=True, slots=True)
class Source:
    """What one path held."""

    name: str
    rollouts: Sequence[Rollout]


@dataclass(slots=True)
class _Numbered:
    """Distinct things, each with its number in the order in which they were first seen."""

    found: dict[Any, int] = field(default_factory=dict)

    def of(self, thing: Any) -> int:
        return self.found.setdefault(thing, len(self.found))


@dataclass(slots=True)
class _Pools:
    """What rows share: texts, talks (turns, each a role and the number of its text), criteria, tags and groups."""

    texts: _Numbered = field(default_factory=_Numbered)
    talks: _Numbered = field(default_factory=_Numbered)
    criteria: _Numbered = field(default_factory=_Numbered)
    tags: _Numbered = field(default_factory=_Numbered)
    groups: _Numbered = field(default_factory=_Numbered)

    def text(self, text: str | None) -> int | None:
        return None if text is None else self.texts.of(text)

    def talk(self, said: str | Turns, role: str) -> int:
        turns = [(role, said)] if isinstance(said, str) else [(str(one["role"]), said_in(one)) for one in said]
        return self.talks.of(tuple((self.texts.of(who), self.texts.of(what)) for who, what in turns))

    def criterion(self, one: LoggedVerdict) -> int:
        tags = tuple(self.tags.of(f"{key}: {value}") for key, value in one.tags.items())
        return self.criteria.of((self.texts.of(one.text or one.id), one.points, tags))


def pack(sources: Sequence[Source]) -> dict[str, Any]:
    """All sources as one object of JSON's types."""
    pools = _Pools()
    rows: dict[str, Column] = {name: [] for name in _ROW}
    verdicts: dict[str, Column] = {name: [] for name in _VERDICT}
    ends = []
    for file, source in enumerate(sources):
        for rollout in source.rollouts:
            _append(rows, _row(pools, file, rollout))
            for one in entries_of(rollout):
                _append(verdicts, _verdict(pools, one))
            ends.append(len(verdicts["met"]))
    return {
        "files": [source.name for source in sources],
        "rows": _packed(rows, len(ends)),
        "ends": ends,
        "verdicts": _packed(verdicts, len(verdicts["met"])),
        "criteria": [[text, points, [*tags]] for text, points, tags in pools.criteria.found],
        "tags": [*pools.tags.found],
        "groups": len(pools.groups.found),
        "talks": [[part for turn in talk for part in turn] for talk in pools.talks.found],
        "texts": [*pools.texts.found],
    }


def entries_of(rollout: Rollout) -> Sequence[LoggedVerdict]:
    """The verdicts of a rollout, or where it has none its criteria with the reason."""
    if rollout.criteria or rollout.rubric is None or rollout.score is not None:
        return rollout.criteria
    ids = rollout.rubric.ids()
    return [
        LoggedVerdict(
            id=id,
            text=one.judged_text,
            points=one.worth,
            tags=one.tags,
            status=rollout.status,
            met=None,
            p=None,
            source=None,
            explanation=None,
            fingerprint=None,
        )
        for id, one in zip(ids, rollout.rubric.criteria, strict=True)
    ]


def said_in(turn: Mapping[str, Any]) -> str:
    """The text of a turn. What it holds beside, such as calls of tools, follows as JSON."""
    content = turn.get("content")
    parts = content if isinstance(content, list) else [content]
    text = "".join(str(one.get("text", "")) if isinstance(one, Mapping) else str(one or "") for one in parts)
    more = {key: value for key, value in turn.items() if key not in ("role", "content") and value is not None}
    beside = json.dumps(more, ensure_ascii=False, indent=1) if more else ""
    return "\n".join(filter(None, (text, beside)))


_ROW = (
    *("file", "id", "step", "group", "prompt", "response", "status", "detail", "judge"),
    *("score", "reward", "advantage", "coverage", "low", "high"),
)
_VERDICT = (
    *("criterion", "met", "p", "raw", "status", "source", "explanation", "detail"),
    *("level", "value", "levels", "extracted", "members"),
)


def _row(pools: _Pools, file: int, one: Rollout) -> Sequence[Any]:
    low, high = one.bounds or (None, None)
    return (
        file,
        pools.texts.of(one.id),
        one.step,
        pools.groups.of((file, one.group)),
        pools.talk(one.prompt, "user"),
        pools.talk(one.response, "assistant"),
        pools.texts.of(one.status),
        pools.text(one.detail),
        pools.text(one.judge),
        *(one.score, one.reward, one.advantage, one.coverage, low, high),
    )


def _verdict(pools: _Pools, one: LoggedVerdict) -> Sequence[Any]:
    return (
        pools.criterion(one),
        None if one.met is None else int(one.met),
        *(one.p, one.p_raw),
        pools.text(one.status),
        pools.text(one.source),
        pools.text(one.explanation),
        pools.text(one.detail),
        None if one.level is None else pools.texts.of(_level(one, one.level)),
        one.value,
        _levels(pools, one),
        pools.text(one.extracted),
        [_member(pools, told) for told in one.members] if one.members else None,
    )


def _member(pools: _Pools, told: Mapping[str, Any]) -> list[Any]:
    """The number of a judge's name, its verdict, its P(met) and the number of its status."""
    met = told.get("met")
    said = None if met is None else int(met)
    return [pools.texts.of(str(told.get("judge"))), said, told.get("p"), pools.text(told.get("status"))]


def _levels(pools: _Pools, one: LoggedVerdict) -> list[list[Any]] | None:
    """Of each level the number of its text, its probability and its share of the points. They are there where the log
    holds either."""
    count = max(len(one.p_levels or ()), len(one.level_values))
    if one.level is None or not count:
        return None
    return [
        [
            pools.texts.of(_level(one, place)),
            None if one.p_levels is None or place >= len(one.p_levels) else one.p_levels[place],
            one.level_values[place] if place < len(one.level_values) else None,
        ]
        for place in range(count)
    ]


def _level(one: LoggedVerdict, place: int) -> str:
    """Its text, where the log holds the rubric; else its number, from 1."""
    return one.levels[place] if place < len(one.levels) else f"level {place + 1}"


def _append(columns: Mapping[str, Column], values: Sequence[Any]) -> None:
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)


def _packed(columns: Mapping[str, Column], n: int) -> dict[str, Any]:
    return {"n": n, **{name: _short(column) for name, column in columns.items()}}


def _short(column: Column) -> Any:
    if not column or all(value is None for value in column):
        return None
    first = column[0]
    return {"all": first} if all(value == first for value in column) else column
