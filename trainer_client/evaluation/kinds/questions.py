"""Evaluates answers to questions of multiple choice: accuracy with its intervals, and how the options were read.

Guarantees: an answer from which no option can be read is wrong, in every figure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from trainer_client import wire
from trainer_client.agreement.shares import wilson
from trainer_client.evaluation.answers import Answers, Prompt
from trainer_client.evaluation.choice import Chosen, Put, Question, chosen, put
from trainer_client.evaluation.kinds.rubrics import Place, by_prompt
from trainer_client.evaluation.outcome import Evaluation, Measure, Table


def put_all(questions: Sequence[Question], seeds: int) -> dict[Place, Put]:
    return {(one.id, seed): put(one, seed) for seed in range(seeds) for one in questions}


def prompts_of(puts: Mapping[Place, Put]) -> list[Prompt]:
    return [Prompt(id, seed, [{"role": "user", "content": one.prompt}]) for (id, seed), one in puts.items()]


def choices(puts: Mapping[Place, Put], answers: Answers) -> dict[Place, Chosen]:
    return {place: chosen(answers[place][0].text, one.options) for place, one in puts.items()}


def fallback_items(
    puts: Mapping[Place, Put], answers: Answers, found: Mapping[Place, Chosen]
) -> tuple[list[Place], list[wire.Item]]:
    """For each answer from which no option was read, the question to a judge whether its final answer is the right one,
    as in Rubrics as Rewards."""
    places = [place for place, one in found.items() if one.letter is None and answers[place][0].text.strip()]
    return places, [_item(puts[place], answers[place][0].text) for place in places]


def _item(one: Put, text: str) -> wire.Item:
    option = one.options[ord(one.right) - ord("A")]
    criterion = wire.Criterion(text=f"States as its final answer option {one.right}, which is: {option}", points=1)
    return wire.Item(prompt=one.prompt, response=text, rubric=wire.Rubric(criteria=[criterion]))


def on_choice(
    policy: str,
    questions: Sequence[Question],
    puts: Mapping[Place, Put],
    found: Mapping[Place, Chosen],
    by_judge: Mapping[Place, bool | None],
) -> Evaluation:
    """`by_judge` says of answers without a readable option whether a judge found them right."""
    right = {
        place: float(found[place].letter == one.right if found[place].letter else by_judge.get(place) is True)
        for place, one in puts.items()
    }
    unread = {place: float(one.letter is None and place not in by_judge) for place, one in found.items()}
    how: Counter[str] = Counter("judge" if place in by_judge else one.how for place, one in found.items())
    groups = {one.id: one.group for one in questions}
    missing = sum(verdict is None for verdict in by_judge.values())
    seeds = sorted({seed for _, seed in puts})
    return Evaluation(
        "choice",
        policy,
        (
            Measure("accuracy", "accuracy", by_prompt(right), shares=True),
            Measure("unread", "answers without a readable option", by_prompt(unread), shares=True),
        ),
        tables=tuple(_tables(right, groups, how, seeds)),
        notes=tuple(_notes(missing, len(seeds), fmean(1 / len(one.options) for one in puts.values()))),
        details={"read": dict(how), "seeds": [_wilson(right, seed) for seed in seeds]},
        missing=missing,
    )


def _wilson(right: Mapping[Place, float], seed: int) -> dict[str, Any]:
    own = [value for (_, other), value in right.items() if other == seed]
    interval = wilson(sum(own), len(own)) if own else None
    return {
        "seed": seed,
        "right": int(sum(own)),
        "questions": len(own),
        "interval_95": None if interval is None else list(interval),
    }


def _tables(
    right: Mapping[Place, float], groups: Mapping[str, str], how: Mapping[str, int], seeds: Sequence[int]
) -> Iterator[Table]:
    rows: list[list[str | float | int | None]] = []
    for seed in seeds:
        one = _wilson(right, seed)
        low, high = one["interval_95"] or (None, None)
        rows.append([f"seed {seed}", one["right"] / one["questions"], low, high, one["questions"]])
    yield Table(
        "Each seed",
        "Each seed puts the options in another order. The interval is Wilson's, of one seed's questions.",
        ("", "accuracy", "from", "to", "questions"),
        rows,
    )
    if any(groups.values()):
        subjects: dict[str, list[float]] = {}
        for (id, _), value in right.items():
            subjects.setdefault(groups[id] or "none", []).append(value)
        yield Table(
            "By subject",
            "Over all seeds.",
            ("", "accuracy", "answers"),
            [[name, sum(some) / len(some), len(some)] for name, some in sorted(subjects.items())],
        )
    words = {
        "boxed": "in a box",
        "stated": "by its words, without a box",
        "judge": "no option read; a judge was asked",
        "none": "not at all, and so wrong",
    }
    yield Table(
        "How the option was read", "", ("", "answers"), [[about, how.get(name, 0)] for name, about in words.items()]
    )


def _notes(missing: int, seeds: int, chance: float) -> Iterator[str]:
    yield f"Guessing is right in {chance:.1%} of the cases."
    if missing:
        yield f"The judge gave no verdict on {missing:,} of the answers that it was asked about; they count as wrong."
    if seeds == 1:
        yield "With one seed the order of the options is one of many; several seeds say how much it matters."
