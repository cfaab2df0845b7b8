"""Defines what an audit asks the judge, what it is answered, and the rows that it asks about.

Guarantees: what the judge did not decide is absent from an answer, and is no number. Equal askings have one key, so
that checks share what they have in common.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from trainer_client import wire


@dataclass(frozen=True, slots=True)
class Judged:
    """P(met) of a criterion, or in the rating modes the whole response's normalised rating, which is neither met nor
    not met. Of a graded criterion `level` is the place of its level."""

    p: float
    met: bool | None
    level: int | None = None


Answer = Mapping[str, Judged]
"""By criterion id. In the rating modes it holds the one entry RATING."""
RATING = "rating"


@dataclass(frozen=True, slots=True)
class Asking:
    """One response with its criteria, as it is sent. `attempt` tells equal ones apart that are asked again."""

    item: wire.Item
    attempt: int = 0

    @property
    def key(self) -> str:
        text = self.item.model_dump_json(exclude_none=True, exclude={"id", "group", "metadata"})
        return hashlib.sha256(f"{self.attempt}:{text}".encode()).hexdigest()[:24]


Ask = Callable[[Asking], Answer]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One response with a text and criteria that the judge decides, each with an id. `group` names its prompt, `rates`
    says that the judge rates it as a whole, `together` that a verdict may depend on the other criteria. `other` is the
    answer to another prompt that is closest in length."""

    name: str
    item: wire.Item
    group: str
    rates: bool = False
    together: bool = False
    other: str | None = None
    rival: "Rival | None" = None

    @property
    def response(self) -> str:
        assert isinstance(self.item.response, str)
        return self.item.response

    @property
    def criteria(self) -> Sequence[wire.Criterion]:
        return () if self.item.rubric is None else self.item.rubric.criteria


@dataclass(frozen=True, slots=True)
class Rival:
    """Another policy's answer to a row's prompt, and what people said of both answers, by id of the row's criteria."""

    response: str
    own_labels: Mapping[str, bool | None]
    labels: Mapping[str, bool | None]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of an audit, and how many of the file are not among them, by reason."""

    rows: tuple[AuditRow, ...]
    left_out: Mapping[str, int]


def audit_rows(
    items: Iterable[wire.Item],
    most: int,
    *,
    rates: bool = False,
    together: bool = False,
    rivals: Mapping[int, Rival] | None = None,
) -> Rows:
    """At most `most` rows, from as many prompts as there are; the same ones whenever the items are the same. `rivals`
    are by the place of their item."""
    found: list[AuditRow] = []
    left_out: Counter[str] = Counter()
    for place, item in enumerate(items):
        for name, one in _single(place, item):
            row = _row(name, one)
            if isinstance(row, str):
                left_out[row] += 1
            else:
                found.append(replace(row, rates=rates, together=together, rival=(rivals or {}).get(place)))
    chosen = _chosen(found, most)
    if len(chosen) < len(found):
        left_out["not in the sample"] = len(found) - len(chosen)
    return Rows(tuple(_with_others(chosen)), dict(left_out))


def _single(place: int, item: wire.Item) -> Iterable[tuple[str, wire.Item]]:
    names = item.result_ids(place)
    responses = [item.response] if item.responses is None else item.responses
    for name, response in zip(names, responses, strict=True):
        yield name, item.model_copy(update={"response": response, "responses": None})


def _row(name: str, item: wire.Item) -> AuditRow | str:
    """The row, or the reason why it is left out."""
    if not isinstance(item.response, str):
        return "a trajectory"
    if not item.response.strip():
        return "an empty response"
    group = item.group or group_of(item)
    rubric = item.rubric
    if rubric is not None:
        ids = list(rubric.ids())
        criteria = [
            criterion.model_copy(update={"id": id})
            for id, criterion in zip(ids, rubric.criteria, strict=True)
            if criterion.verifier is None
        ]
        if not criteria:
            return "no criterion for the judge"
        rubric = rubric.model_copy(update={"criteria": criteria})
    return AuditRow(
        name, item.model_copy(update={"id": None, "group": None, "metadata": None, "rubric": rubric}), group
    )


def group_of(item: wire.Item) -> str:
    """A name for the item's prompt."""
    return hashlib.sha256(item.model_dump_json(include={"prompt"}).encode()).hexdigest()[:16]


def _chosen(rows: list[AuditRow], most: int) -> list[AuditRow]:
    """A sample that takes a first row of each prompt, then a second one, in the order of the file."""
    shuffled = list(enumerate(rows))
    Random(0).shuffle(shuffled)
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, int]] = []
    for place, row in shuffled:
        ranked.append((seen[row.group], len(ranked), place))
        seen[row.group] += 1
    return [rows[place] for place in sorted(place for _, _, place in sorted(ranked)[:most])]


def _with_others(rows: Sequence[AuditRow]) -> Iterable[AuditRow]:
    for row in rows:
        others = [one.response for one in rows if one.group != row.group and one.response != row.response]
        closest = min(others, key=lambda text: abs(len(text) - len(row.response)), default=None)
        yield replace(row, other=closest)
