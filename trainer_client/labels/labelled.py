"""Defines labelled rows: items whose criteria somebody has decided, with each annotator's own word.

Guarantees: a label that nobody gave is None and not False. Where annotators tie, or all abstain, there is no label.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer_client import wire

Word = bool | None
"""What one annotator says of a criterion; None is an abstention, or nothing said."""


@dataclass(frozen=True, slots=True)
class LabelledItem:
    """One response with its rubric, in which every criterion has an id. By criterion id: `met` is the label, and
    `annotators` has each annotator's word, in the order of `Labels.annotators`, `levels` the
    place of the level of a graded criterion. Items of one `group` belong to one
    prompt: the bootstrap draws groups, and the order of responses is compared within them."""

    item: wire.Item
    met: Mapping[str, Word]
    annotators: Mapping[str, tuple[Word, ...]]
    group: str
    levels: Mapping[str, int] = field(default_factory=dict)

    @property
    def criteria(self) -> Sequence[wire.Criterion]:
        return () if self.item.rubric is None else self.item.rubric.criteria


@dataclass(frozen=True, slots=True)
class Labels:
    """All items of the sources, in order. `annotators` names who spoke, empty where the labels are the truth of a rule.
    `digest` is a sha256 of the content, whatever files and formats it was read from."""

    items: tuple[LabelledItem, ...]
    annotators: tuple[str, ...]
    digest: str

    @property
    def labelled(self) -> int:
        """The number of criteria that have a label."""
        return sum(met is not None for one in self.items for met in one.met.values())

    @property
    def graded(self) -> int:
        """The number of criteria whose label is a level."""
        return sum(len(one.levels) for one in self.items)


def majority(words: Iterable[Word]) -> Word:
    """What more annotators say than not; None where they tie or nobody spoke."""
    spoken = [word for word in words if word is not None]
    balance = 2 * sum(spoken) - len(spoken)
    return None if balance == 0 else balance > 0


def item_digest(item: wire.Item) -> str:
    """A sha256 of what a judge may see of an item: not its id, its group or its metadata."""
    return digest(item.model_dump(mode="json", by_alias=True, exclude={"id", "group", "metadata"}))


def labels_digest(items: Iterable[LabelledItem], annotators: Sequence[str]) -> str:
    hashed = hashlib.sha256(_canonical(list(annotators)))
    for one in items:
        words = {id: list(spoken) for id, spoken in one.annotators.items()}
        graded = [dict(one.levels)] if one.levels else []  # without them the digest is what it always was
        hashed.update(_canonical([item_digest(one.item), dict(one.met), words, one.group, *graded]))
    return hashed.hexdigest()


def digest(value: Any) -> str:
    """A sha256 of the value as JSON, whatever the order of its keys."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    """ASCII, in which also a lone surrogate can be written. It ends in a line feed, which JSON text has nowhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"
