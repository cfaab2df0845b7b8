"""Builds the labelled set: the model's answers and edits of them, criteria in words, and what the rules say.

A rubric belongs to a question and is judged on several responses: the model's own, and copies of it in which a coin
decides for each criterion whether an edit makes it true or false. So about half of the labels of each criterion are
true, and the responses of one question can be put in order.

Guarantees: every label is what the criterion's rule says of the finished response. The same answers give the same set.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from labelled.checks import language
from labelled.rules import BESIDE_LANGUAGES, LANGUAGES, ONE_OF, RULES, STAGES, Option, Rule
from labelled.topics import TOPICS, Half, Topic

ANSWERS = Path(__file__).with_name("answers.jsonl")
RESPONSES = 6
CRITERIA = 8
_LANGUAGE_SHARE = 0.3
"""Share of the questions whose responses are partly translations."""
_RARER, _OFTENER = 2, 4
"""Of the six responses a criterion is met by at least two and at most four."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Split:
    """`questions` of each topic are used, each with so many `rubrics` and their responses."""

    name: str
    topics: Half
    rules: Half
    questions: slice
    rubrics: int = 1


SPLITS = (
    Split("train", "train", "train", slice(0, 3), rubrics=2),
    Split("held_out", "held_out", "held_out", slice(0, 3)),
    Split("unseen_topics", "held_out", "train", slice(0, 1)),
)


@dataclass(frozen=True, slots=True)
class Check:
    """A rule with what stands in its places. `denied` says that the criterion is the rule's contrary."""

    rule: Rule
    option: Option
    denied: bool

    @property
    def text(self) -> str:
        return (self.rule.denies if self.denied else self.rule.says).format(*self.option)

    def met(self, response: str) -> bool:
        return self.rule.holds(response, *self.option) != self.denied


def rows(split: Split, answers: Path = ANSWERS) -> Iterator[Json]:
    """The rows of a split: items with `met` by criterion id, and what each was made from as tags and metadata."""
    texts = written(answers)
    rules = [rule for rule in RULES if rule.half == split.rules]
    balance: dict[str, int] = {}
    for topic in TOPICS:
        if topic.half == split.topics:
            for question in topic.questions[split.questions]:
                for number in range(split.rubrics):
                    yield from _group(split, topic, question, number, texts[question], rules, balance)


def written(path: Path) -> Mapping[str, str]:
    with path.open(encoding="utf-8") as file:
        return {line["prompt"]: line["response"] for line in map(json.loads, file)}


def _group(
    split: Split,
    topic: Topic,
    question: str,
    rubric: int,
    answer: str,
    rules: Sequence[Rule],
    balance: dict[str, int],
) -> Iterator[Json]:
    """The rows of one question with one rubric. `balance` counts for each rule how many more of its labels are true
    than false."""
    draw = Random(f"{split.name}/{question}/{rubric}")
    checks = _rubric(topic, question, rules, draw)
    responses = _responses(answer, checks, draw)
    kept = [one for one in checks if _RARER <= sum(map(one.met, responses)) <= _OFTENER]
    chosen = []
    for check in kept:
        excess = 2 * sum(map(check.met, responses)) - len(responses)
        # The contrary of a criterion evens out the labels of its rule.
        if balance.get(check.rule.name, 0) * excess > 0:
            check = Check(check.rule, check.option, not check.denied)
            excess = -excess
        balance[check.rule.name] = balance.get(check.rule.name, 0) + excess
        chosen.append((check, draw.choice((1, -1)) * draw.randint(1, 10)))
    for number, response in enumerate(responses if chosen else ()):
        yield _row(split, topic, question, f"{question} {rubric}/{number}", response, chosen)


def _rubric(topic: Topic, question: str, rules: Sequence[Rule], draw: Random) -> list[Check]:
    """Rules in random order, of which no two take the same place in a response."""
    translated = draw.random() < _LANGUAGE_SHARE and any(rule.place == "language" for rule in rules)
    taken: set[str] = set()
    checks: list[Check] = []
    for rule in draw.sample(rules, len(rules)):
        fits = rule.place in BESIDE_LANGUAGES if translated else rule.place != "language"
        if not fits or rule.place in taken or len(checks) == CRITERIA:
            continue
        if rule.place != "anywhere":
            taken |= ONE_OF if rule.place in ONE_OF else {rule.place}
        options = list(rule.options(topic, question))
        for option in draw.sample(options, len(LANGUAGES) - 1 if rule.place == "language" else 1):
            checks.append(Check(rule, option, draw.random() < 0.5))
    return sorted(checks, key=lambda one: STAGES.index(one.rule.place))


def _responses(answer: str, checks: Sequence[Check], draw: Random) -> list[str]:
    """The model's own answer and edits of it, all different. Each rule is made true in three of six."""
    found = [answer]
    plans = [draw.sample([True, True, True, False, False], RESPONSES - 1) for _ in checks]
    for number in range(RESPONSES - 1):
        text = answer
        for check, plan in zip(checks, plans, strict=True):
            edited = (check.rule.make if plan[number] else check.rule.unmake)(text, *check.option)
            if edited.strip() and check.rule.holds(text, *check.option) != plan[number]:
                text = edited
        if text not in found:
            found.append(text)
    return found


def _row(
    split: Split, topic: Topic, question: str, id: str, response: str, chosen: Sequence[tuple[Check, int]]
) -> Json:
    spoken = language(response)
    common = {"topic": topic.name, "split": split.name, **({} if spoken is None else {"language": spoken})}
    criteria, met = [], {}
    for number, (check, points) in enumerate(chosen):
        tags = {"rule": check.rule.name, "family": check.rule.family, **common}
        criteria.append({"id": f"c{number}", "text": check.text, "points": points, "tags": tags})
        met[f"c{number}"] = check.met(response)
    item = {"id": id, "prompt": question, "response": response, "rubric": criteria}
    return {"item": item, "met": met}
