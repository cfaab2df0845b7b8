"""Asks the judge everything that an audit needs, and keeps each answer in a file, so that an audit can go on.

Guarantees: every question is asked past the service's cache. An answer without verdicts is not kept and is asked again
by the next run. Answers of another judge, mode or layout are not used.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from trainer_client.audit.askings import RATING, Answer, Asking, Judged
from trainer_client.client import JudgeClient, Outcome, Scored
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.json_lines import whole_lines

_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Answers:
    """What the judge said by key of the asking. `missing` counts what it did not decide, by reason."""

    by_key: Mapping[str, Answer]
    missing: Mapping[str, int]
    earlier: int
    first_error: RubricdClientError | None


async def collect(
    client: JudgeClient,
    askings: Sequence[Asking],
    options: Mapping[str, Any],
    store: Path,
    told: Callable[[int], None],
) -> Answers:
    """The judge's answers. `options` are those of the scores, with `expect_judge`; `told` gets how many more
    questions are answered."""
    judge = str(options["expect_judge"])
    known = _read(store, judge)
    earlier = sum(one.key in known for one in askings)
    left = [one for one in askings if one.key not in known]
    # Equal questions are to fall into different batches, among other neighbours.
    Random(0).shuffle(left)
    left.sort(key=lambda one: one.attempt)
    missing: Counter[str] = Counter()
    errors: list[RubricdClientError] = []
    told(earlier)
    with store.open("a", encoding="utf-8") as file:
        for start in range(0, len(left), _AT_ONCE):
            some = left[start : start + _AT_ONCE]

            def record(place: int, outcome: Outcome, some: Sequence[Asking] = some) -> None:
                told(1)
                if not isinstance(outcome, Scored):
                    errors.append(outcome.error)
                    missing[outcome.error.code] += 1
                    return
                answer, lacking = _answer(outcome)
                missing.update(lacking)
                known[some[place].key] = answer
                if not lacking:
                    file.write(_line(judge, some[place].key, answer))
                    file.flush()

            await client.score([one.item for one in some], on_outcome=record, **{**options, "cache": "bypass"})
    return Answers(known, dict(missing), earlier, errors[0] if errors else None)


def _answer(outcome: Scored) -> tuple[dict[str, Judged], Counter[str]]:
    """The verdicts by criterion, and the reasons where there is none."""
    rating = outcome.result.rating
    if rating is not None:
        return {RATING: Judged(rating.normalised, None)}, Counter()
    found, lacking = {}, Counter[str]()
    for one in outcome.result.criteria:
        if one.status != "ok":
            lacking[one.status] += 1
        elif one.p is not None:  # of a value that was extracted a rule decides, without a probability
            found[one.id] = Judged(one.p, one.met, one.level)
    return found, lacking


def _line(judge: str, key: str, answer: Answer) -> str:
    verdicts = {
        id: [one.p, one.met] if one.level is None else [one.p, one.met, one.level] for id, one in answer.items()
    }
    return f"{json.dumps({'judge': judge, 'key': key, 'answer': verdicts})}\n"


def _read(store: Path, judge: str) -> dict[str, Answer]:
    """The kept answers of this judge. A last line that is cut off is dropped. Raises DataError for another file."""
    if not store.exists():
        return {}
    found: dict[str, Answer] = {}
    with store.open("r+b") as file:
        for number, line in whole_lines(file):
            try:
                one = json.loads(line)
                if one["judge"] == judge:
                    found[one["key"]] = {
                        id: Judged(float(p), met, *level) for id, (p, met, *level) in one["answer"].items()
                    }
            except (ValueError, LookupError, TypeError, AttributeError):
                raise DataError(f"{store}, line {number}: holds no answer of an audit; name another folder") from None
    return found
