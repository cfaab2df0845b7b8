"""Makes the labelled sets on which prompts are compared, with the content-free queries that show a judge's bias.

A criterion that says nothing stands behind those of each response, and an empty response with each criterion behind
those of each conversation. Neither has a label, so that they are in no figure of agreement.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.files import sources
from trainer_client.data.reader import LENIENT
from trainer_client.labels import LabelledItem, Labels, read_labels

PRIOR = "prior"
"""The id of the criterion that says nothing."""
_NOTHING = "N/A"
_FEW_PROMPTS = 15


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """`prompts` is how many conversations it has."""

    name: str
    labels: Labels

    @property
    def prompts(self) -> int:
        return len({one.group for one in self.labels.items})

    def cheaper(self) -> "LabelledSet":
        """Without the queries that show a bias, and every third conversation where there are many."""
        chosen = list(dict.fromkeys(one.group for one in self.labels.items))[:: 3 if self.prompts > _FEW_PROMPTS else 1]
        items = [
            _with_criteria(
                one,
                [criterion for criterion in one.criteria if criterion.id != PRIOR],
                {id: label for id, label in one.met.items() if id != PRIOR},
            )
            for one in self.labels.items
            if one.group in chosen and any(label is not None for label in one.met.values())
        ]
        return LabelledSet(self.name, Labels(tuple(items), (), f"{self.name}, less"))


def rules(file: Path, prompts: int) -> LabelledSet:
    """The first conversations of a file of rows whose truth a rule decides, with all of their responses."""
    items = read_labels([str(file)]).items
    chosen = list(dict.fromkeys(one.group for one in items))
    # Neighbours are about one topic: every so many, so that all topics are there.
    chosen = chosen[:: max(1, len(chosen) // prompts)][:prompts]
    return _with_priors("rules", [one for one in items if one.group in chosen])


def written(answers: Path, rows: Path) -> LabelledSet:
    """Answers written by hand for rows of HealthBench, with the criteria that tell a good answer from a vague one. Each
    row is judged with its good and its vague answer, with the good answer of the row before, and with an empty one."""
    wanted = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    # The rows have prompts and criteria only.
    items = [reader.to_score({**row, "response": ""}, LENIENT).item for _, row in sources.rows([str(rows)])]
    found: list[LabelledItem] = []
    for n, one in enumerate(wanted):
        responses = {
            "good": one["good"],
            "vague": one["vague"],
            "off": wanted[n - 1]["good"],
            "empty": "",
        }
        for kind, response in responses.items():
            found.append(_judged_by_hand(items[one["row"]], one, kind, response))
    return _with_priors("written", found)


def _judged_by_hand(item: wire.Item, one: Mapping[str, Any], kind: str, response: str) -> LabelledItem:
    """A good answer meets the criteria that it was written for, and no fault; every other one the other way round."""
    assert item.rubric is not None
    good, faults = one["met_by_good_not_by_vague"], one["met_by_vague_not_by_good"]
    criteria = [
        item.rubric.criteria[index].model_copy(update={"id": str(index), "tags": {"response": kind}})
        for index in (*good, *faults)
    ]
    met = {str(index): (index in good) == (kind == "good") for index in (*good, *faults)}
    made = item.model_copy(
        update={"id": None, "response": response, "rubric": item.rubric.model_copy(update={"criteria": criteria})}
    )
    return LabelledItem(made, met, {}, f"row {one['row']}")


def _with_priors(name: str, items: Sequence[LabelledItem]) -> LabelledSet:
    return LabelledSet(name, Labels((*map(_with_nothing, items), *_empty(items)), (), name))


def _with_nothing(one: LabelledItem) -> LabelledItem:
    nothing = one.criteria[0].model_copy(update={"id": PRIOR, "text": _NOTHING})
    return _with_criteria(one, [*one.criteria, nothing], {**one.met, PRIOR: None})


def _empty(items: Sequence[LabelledItem]) -> Iterator[LabelledItem]:
    """An empty response to each conversation, with each text of its criteria."""
    by_group: dict[str, list[LabelledItem]] = defaultdict(list)
    for one in items:
        by_group[one.group].append(one)
    for members in by_group.values():
        texts = {criterion.text: criterion for one in members for criterion in one.criteria}
        criteria = [text.model_copy(update={"id": str(n)}) for n, text in enumerate(texts.values())]
        empty = replace(members[0], item=members[0].item.model_copy(update={"response": ""}))
        yield _with_criteria(empty, criteria, dict.fromkeys(map(str, range(len(criteria)))))


def _with_criteria(
    one: LabelledItem, criteria: Sequence[wire.Criterion], met: Mapping[str, bool | None]
) -> LabelledItem:
    assert one.item.rubric is not None
    rubric = one.item.rubric.model_copy(update={"criteria": list(criteria)})
    return replace(one, item=one.item.model_copy(update={"rubric": rubric}), met=dict(met))
