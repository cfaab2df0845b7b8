"""Makes questions for a judge about pairs of criteria, and findings of what it answers: do two criteria ask for the
same, or can they not both be met?

Pure. A pair is asked about in both orders, each criterion once as the text that is judged.

Guarantees: a finding is there where the judge says so in both orders. Without an answer there is none, and that is
counted.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from trainer_client import wire
from trainer_client.lint.codes import Found
from trainer_client.lint.repetition import said

MOST_PAIRS = 30
"""For each rubric: those that share the most words."""
MOST_CHARACTERS = 600
"""Of a criterion. Instructions to graders in many lines are not compared."""
_PROMPT = "Say in one sentence what a good answer to the question must do."
_SAME = "It asks for the same thing as this sentence: {}"
_OPPOSED = "One answer cannot do both what it asks for and what this sentence asks for: {}"


@dataclass(frozen=True, slots=True)
class Pair:
    """The places of two criteria, the first before the second."""

    first: int
    second: int


def pairs(rubric: wire.Rubric, known: Collection[int] = ()) -> list[Pair]:
    """The pairs to ask about. `known` are the places of criteria that are called a repetition already."""
    texts = {
        place: said(one.judged_text).content
        for place, one in enumerate(rubric.criteria)
        if one.verifier is None and place not in known and len(one.text) <= MOST_CHARACTERS
    }
    found = [Pair(first, second) for first in texts for second in texts if first < second]
    found.sort(key=lambda pair: -len(texts[pair.first] & texts[pair.second]))
    return found[:MOST_PAIRS]


def questions(rubric: wire.Rubric, pair: Pair) -> list[wire.Item]:
    """Two items, one for each order."""
    texts = [rubric.criteria[place].judged_text.strip() for place in (pair.first, pair.second)]
    return [_question(*texts), _question(*reversed(texts))]


def _question(text: str, other: str) -> wire.Item:
    criteria = [wire.Criterion(text=words.format(other), points=1) for words in (_SAME, _OPPOSED)]
    return wire.Item(prompt=_PROMPT, response=text, rubric=wire.Rubric(criteria=criteria))


def judged(rubric: wire.Rubric, pair: Pair, answers: Sequence[Mapping[str, bool | None]]) -> Found | None:
    """What the judge's answers to the two questions say: each has by a criterion's id whether it is met."""
    same, opposed = (all(one.get(id) for one in answers) for id in ("0", "1"))
    first, second = (rubric.criteria[place].worth for place in (pair.first, pair.second))
    if same and first * second < 0:
        why = (
            f"the judge says that it asks for the same as the criterion at index {pair.first}, which has the opposite "
            "sign"
        )
        return Found(pair.second, "judged_contradiction", why, "read both, and remove one of them if it is right")
    if same:
        why = f"the judge says that it asks for the same as the criterion at index {pair.first}"
        return Found(pair.second, "judged_duplicate", why, "read both, and merge them if it is right")
    if opposed and first > 0 and second > 0:
        why = f"the judge says that no answer can meet both it and the criterion at index {pair.first}"
        return Found(pair.second, "judged_contradiction", why, "read both, and remove one of them if it is right")
    return None
