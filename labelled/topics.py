"""Holds the topics of the set: what is asked about each, and the words that an answer may or may not mention.

Guarantees: a topic is in one half, `train` or `held_out`, so that no question and no answer of one half stands in the
other.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Half = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True)
class Topic:
    """`words` are nouns of the field, of which an answer mentions some; `languages` has one short answer by the name of
    each foreign language, written by hand."""

    name: str
    half: Half
    questions: tuple[str, ...]
    words: tuple[str, ...]
    languages: Mapping[str, str]


def _read(path: Path) -> tuple[Topic, ...]:
    with path.open(encoding="utf-8") as file:
        return tuple(
            Topic(one["name"], one["half"], tuple(one["questions"]), tuple(one["words"]), one["languages"])
            for one in map(json.loads, file)
        )


TOPICS = _read(Path(__file__).with_name("topics.jsonl"))
