import gzip
import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from labelled.__main__ import FOLDER, packed
from labelled.build import SPLITS, Split
from labelled.rules import RULES
from labelled.text import words
from trainer_client.agreement.statistics import auroc
from trainer_client.labels import read_labels

Json = dict[str, Any]


def _path(split: Split) -> str:
    return str(FOLDER / f"{split.name}.jsonl.gz")


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.name)
def test_the_files_are_what_the_rules_say_now(split: Split) -> None:
    """The packed bytes depend on the zlib of the machine; what is in them does not."""
    with open(_path(split), "rb") as file:
        assert gzip.decompress(file.read()) == gzip.decompress(packed(split))


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.name)
def test_each_rule_is_met_about_as_often_as_not(split: Split) -> None:
    labels = read_labels([_path(split)])
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    signs = [0, 0]
    for one in labels.items:
        for criterion in one.criteria:
            met = one.met[criterion.id or ""]
            assert met is not None
            counts[criterion.tags["rule"]][met] += 1
            signs[criterion.points > 0] += 1
    assert set(counts) == {rule.name for rule in RULES if rule.half == split.rules}
    for rule, (no, yes) in counts.items():
        assert 0.4 <= yes / (yes + no) <= 0.6 and yes + no >= 6, rule
    assert 0.4 <= signs[1] / sum(signs) <= 0.6
    assert {one.item.prompt for one in labels.items} <= set(_questions(split))


def test_the_set_is_as_large_as_it_says() -> None:
    sizes = {split.name: read_labels([_path(split)]) for split in SPLITS}
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, labels in sizes.items():
        (row,) = (line for line in readme.splitlines() if line.startswith(f"| `{name}.jsonl.gz`"))
        assert f"| {len(labels.items)} | {labels.labelled:,} |" in row
    assert sizes["held_out"].labelled >= 600 and sizes["train"].labelled >= 600
    held_out, train = ({one.item.response for one in sizes[name].items} for name in ("held_out", "train"))
    assert not held_out & train


def test_a_wording_tells_nothing_about_the_label() -> None:
    """A criterion and its contrary are each met about half of the time, so the words alone decide nothing."""
    for split in SPLITS:
        counts: dict[bool, list[int]] = {True: [0, 0], False: [0, 0]}
        for line in gzip.decompress(packed(split)).decode().splitlines():
            row: Json = json.loads(line)
            for criterion in row["item"]["rubric"]:
                denied = any(word in criterion["text"].split() for word in ("not", "no", "another", "without", "other"))
                counts[denied][row["met"][criterion["id"]]] += 1
        for no, yes in counts.values():
            assert 0.4 <= yes / (yes + no) <= 0.6


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.name)
def test_length_and_word_overlap_are_at_chance(split: Split) -> None:
    """What a judge that does not read could go by: it has an AUROC of 0.48 to 0.53 on every file."""
    truth: list[bool] = []
    guesses: dict[str, list[float]] = {"length": [], "overlap": []}
    for one in read_labels([_path(split)]).items:
        assert isinstance(one.item.response, str)
        found = set(words(one.item.response.lower()))
        for criterion in one.criteria:
            asked = words(criterion.text.lower())
            truth.append(bool(one.met[criterion.id or ""]))
            guesses["length"].append(len(one.item.response))
            guesses["overlap"].append(sum(word in found for word in asked) / len(asked))
    for name, guess in guesses.items():
        assert 0.46 < float(auroc(np.array(truth), np.array(guess))) < 0.54, name


def _questions(split: Split) -> list[str]:
    from labelled.topics import TOPICS

    return [question for topic in TOPICS if topic.half == split.topics for question in topic.questions]
