"""Decides which proposed criteria join a row's rubric, how much they count, which stay and which are retired.

The rules are those of RLER (DR Tulu, arXiv 2511.19399) and OnlineRubrics (2510.07284): criteria are proposed from the
answers of a group, both what good ones have and how answers win points that they do not deserve. They count for that
group at once. Those that tell its answers apart best stay with the row; what tells nothing apart is retired.

Guarantees: a criterion that asks what the rubric asks already, or what was retired of late, does not join. Evolved
criteria hold at most the share `drift` of a rubric's points, and at most `active` of them stay. A criterion without a
verdict on at least two answers is neither promoted nor retired: it leaves if it was new, and else stays. Nothing here
has side effects.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from statistics import fmean, pstdev
from typing import Any, Literal

from trainer_client import wire

Kind = Literal["positive", "anti_hack"]
What = Literal["proposed", "duplicate", "promoted", "left", "retired", "crowded_out"]
TAG = "evolved"
"""The tag of evolved criteria; its value is their kind."""
_ALIKE = 0.7
_REMEMBERED = 64
_LEAST = 1e-6  # points of a criterion, as the contract has it


@dataclass(frozen=True, slots=True)
class Evolution:
    """`every`: steps between two proposals. `propose`: criteria that are asked for from a group. `active`: evolved
    criteria of a row at most. `drift`: the largest share of a rubric's |points| that they hold. `promote`: the spread,
    a standard deviation of verdicts within the group, from which a criterion stays with its row; None: none stays."""

    every: int = 1
    propose: int = 3
    active: int = 5
    drift: float = 0.3
    promote: float | None = 0.1

    def __post_init__(self) -> None:
        if self.every < 1 or self.propose < 1 or self.active < 1:
            raise ValueError("`every`, `propose` and `active` are at least 1")
        if not 0 < self.drift < 1 or (self.promote is not None and not 0 <= self.promote <= 0.5):
            raise ValueError("`drift` lies between 0 and 1, and `promote` between 0 and 0.5, the largest spread")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a proposer said: a statement about an answer, and whether it is good (`positive`) or a way to win points
    that are not deserved (`anti_hack`)."""

    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Evolved:
    """An evolved criterion with where it comes from: the step, the proposer, and the hashes of the group's answers.
    `spread` is that of the last group in which it was judged."""

    id: str
    text: str
    kind: Kind
    step: int
    proposer: str
    rollouts: tuple[str, ...]
    promoted: bool = False
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class RowRubric:
    """What has evolved of one row's rubric. `version` grows with each change of `active`; `retired` are texts."""

    version: int = 0
    active: tuple[Evolved, ...] = ()
    retired: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> "RowRubric":
        active = (Evolved(**{**one, "rollouts": tuple(one["rollouts"])}) for one in told["active"])
        return cls(int(told["version"]), tuple(active), tuple(told["retired"]))


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a criterion, for the log."""

    what: What
    criterion: Evolved


def admitted(
    row: RowRubric, rubric: Sequence[wire.Criterion], proposals: Iterable[Proposal], origin: Evolved, most: int
) -> tuple[RowRubric, list[Change]]:
    """The row with at most `most` of the proposals, in their order. `origin` has the step, proposer and rollouts."""
    known = [one.judged_text for one in rubric] + [one.text for one in row.active] + list(row.retired)
    active, changes = list(row.active), []
    for proposal in proposals:
        text = " ".join(proposal.text.split())
        made = replace(origin, id=_id(text), text=text, kind=proposal.kind)
        if any(alike(text, other) for other in known):
            changes.append(Change("duplicate", made))
        elif len(active) - len(row.active) < most:
            active.append(made)
            known.append(text)
            changes.append(Change("proposed", made))
    grown = len(active) > len(row.active)
    return replace(row, version=row.version + grown, active=tuple(active)), changes


def settled(
    row: RowRubric, verdicts: Mapping[str, Sequence[float]], evolution: Evolution
) -> tuple[RowRubric, list[Change]]:
    """The row after its group was judged. `verdicts` are those of each evolved criterion, by id; one that is missing
    is not among them."""
    changes: list[Change] = []
    kept: list[Evolved] = []
    for one in row.active:
        measured = spread(verdicts.get(one.id, ()))
        what, now = _fate(one, measured, evolution)
        if what is not None:
            changes.append(Change(what, now))
        if what not in ("left", "retired"):
            kept.append(now)
    # Stable, so that the older one stays of two that are equal.
    crowded_out = sorted(kept, key=lambda one: -(one.spread or 0.0))[evolution.active :]
    changes += [Change("crowded_out", one) for one in crowded_out]
    kept = [one for one in kept if one not in crowded_out]
    retired = [change.criterion.text for change in changes if change.what == "retired"]
    retired = [*row.retired, *retired][-_REMEMBERED:]
    return RowRubric(row.version + (len(kept) < len(row.active)), tuple(kept), tuple(retired)), changes


def _fate(one: Evolved, measured: float | None, evolution: Evolution) -> tuple[What | None, Evolved]:
    now = replace(one, spread=one.spread if measured is None else measured)
    if measured == 0.0:
        return "retired", now
    if one.promoted:
        return None, now
    if evolution.promote is None or measured is None or measured < evolution.promote:
        return "left", now
    return "promoted", replace(now, promoted=True)


def spread(verdicts: Sequence[float]) -> float | None:
    """The standard deviation of a group's verdicts (0 or 1, or P(met)); None for fewer than two."""
    return pstdev(verdicts) if len(verdicts) > 1 else None


def grown(rubric: Sequence[wire.Criterion], row: RowRubric, drift: float) -> list[wire.Criterion]:
    """The rubric with the row's evolved criteria behind it.

    Each has the mean |points| of the rubric's counted criteria, negative for `anti_hack`, or less where all of them
    together would hold more than `drift` of the |points|: then n evolved ones share drift / (1 - drift) x the rubric's.
    """
    own = [abs(one.worth) for one in rubric if one.worth != 0]
    if not own or not row.active:
        return list(rubric)
    each = min(fmean(own), drift / (1 - drift) * sum(own) / len(row.active))
    if each < _LEAST:
        return list(rubric)
    return [*rubric, *(_criterion(one, each) for one in row.active)]


def _criterion(one: Evolved, points: float) -> wire.Criterion:
    signed = points if one.kind == "positive" else -points
    # Whether it is a fault was said by the proposer; a text that begins with "Pitfall" must not put that in doubt.
    polarity: wire.Polarity | None = None if one.kind == "positive" else "negative"
    return wire.Criterion(id=one.id, text=one.text, points=signed, polarity=polarity, tags={TAG: one.kind})


def alike(one: str, other: str) -> bool:
    """Whether two criteria ask the same: they share at least 70 % of all their words. A text and its opposite do."""
    first, second = _words(one), _words(other)
    return len(first & second) >= _ALIKE * len(first | second)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def _id(text: str) -> str:
    return f"{TAG}-{sha256(text.encode()).hexdigest()[:12]}"


def rollout_hash(answer: str) -> str:
    """By which a log names an answer."""
    return sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()[:16]
