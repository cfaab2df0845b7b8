"""Keeps what judges' verdicts on labelled rows took, in a file of JSON lines, so that a run which resumes still knows.

Guarantees: a cost is a mean of verdicts that were computed. Where none was, or a price is missing, it is None.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer_client.agreement.spent import Spent, money_of
from trainer_client.errors import DataError
from trainer_client.json_lines import whole_lines


@dataclass(frozen=True, slots=True)
class Cost:
    """What a verdict of one judge takes on average; None where that is not known."""

    tokens: float | None = None
    seconds: float | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took of one judge. `seconds` is None where the service's cache gave verdicts, which took none."""

    judge: str
    labels: str
    judgements: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float | None


def keep_run(path: Path, judge: str, labels: str, spent: Spent) -> None:
    """Adds a line, unless nothing was computed."""
    if not spent.judgements:
        return
    seconds = None if spent.cache_hits else spent.seconds
    run = Run(judge, labels, spent.judgements, spent.prompt_tokens, spent.completion_tokens, seconds)
    with path.open("a+b") as file:
        for _ in whole_lines(file):
            pass  # a torn last one is cut off
        file.write(f"{json.dumps(asdict(run))}\n".encode())


def cost(path: Path, judge: str, labels: str, price_in: float | None, price_out: float | None) -> Cost:
    """Over all runs of this judge on these labels. Prices are for a million tokens. Raises DataError."""
    runs = [run for run in _read(path) if (run.judge, run.labels) == (judge, labels)]
    computed = sum(run.judgements for run in runs)
    if not computed:
        return Cost()
    read, written = (sum(getattr(run, name) for run in runs) for name in ("prompt_tokens", "completion_tokens"))
    timed = [(run.seconds, run.judgements) for run in runs if run.seconds is not None]
    money = money_of((read, price_in), (written, price_out))
    return Cost(
        tokens=(read + written) / computed,
        seconds=sum(one for one, _ in timed) / sum(number for _, number in timed) if timed else None,
        money=None if money is None else money / computed,
    )


def _read(path: Path) -> list[Run]:
    if not path.exists():
        return []
    found = []
    with path.open("r+b") as file:
        for number, text in whole_lines(file):
            try:
                found.append(Run(**json.loads(text)))
            except (ValueError, TypeError):
                raise DataError(
                    f"{path}, line {number}: not a line that `rubricd cascade plan` wrote; remove it"
                ) from None
    return found
