"""Evaluates how new a trained policy's answers are to the policy it came from, and how open it still is.

Guarantees: an answer without tokens has no ratio; it is counted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from trainer_client.evaluation.kinds.rubrics import Place, by_prompt
from trainer_client.evaluation.novelty import TAILS, log_ratio, novelty, sampled_entropy
from trainer_client.evaluation.outcome import Evaluation, Measure, Table


@dataclass(frozen=True, slots=True)
class Read:
    """The log-probabilities of one answer's tokens under both policies. `entropies` are the trained policy's in each
    place, empty where only the tokens' log-probabilities are known."""

    trained: tuple[float, ...]
    base: tuple[float, ...]
    entropies: tuple[float, ...] = ()


def on_novelty(policy: str, base: str, read: Mapping[Place, Read]) -> Evaluation:
    ratios = {place: log_ratio(one.trained, one.base) for place, one in read.items()}
    known = [one for one in ratios.values() if one is not None]
    found = novelty(known)
    rows: list[list[str | float | int | None]] = []
    if found is not None:
        rows += [["mean", found.mean], ["median", found.median]]
        rows += [[f"above {tail}", count] for tail, count in zip(TAILS, found.above, strict=True)]
        rows += [["answers", found.n], ["share of the largest in the sum", found.most]]
    exact = all(one.entropies for one in read.values() if one.trained)
    entropy = {place: fmean(one.entropies) if one.entropies else _surprise(one.trained) for place, one in read.items()}
    surprise = {place: _surprise(one.base) for place, one in read.items()}
    return Evaluation(
        "novelty",
        policy,
        (
            Measure("log_ratio", "mean log ratio of a token", by_prompt(ratios)),
            Measure("entropy", "entropy of the policy at a token, in nats", by_prompt(entropy)),
            Measure("base_surprise", f"surprise of {base} at a token, in nats", by_prompt(surprise)),
        ),
        tables=(
            Table(
                f"Ratios to {base}",
                "exp of the mean over an answer's tokens of log p(trained) less log p(base). The mean is often that of "
                "one answer; the median and the counts say more.",
                ("", "value"),
                rows,
            ),
        ),
        notes=tuple(_notes(exact, sum(one is None for one in ratios.values()))),
        details={"base": base, "ratio": None if found is None else found.as_json()},
        missing=sum(one is None for one in ratios.values()),
    )


def _surprise(logprobs: tuple[float, ...]) -> float | None:
    return sampled_entropy([logprobs])


def _notes(exact: bool, empty: int) -> Iterator[str]:
    if exact:
        yield "The entropy is exact, of the whole vocabulary in each place of these answers."
    else:
        yield (
            "The entropy is the mean surprise of the tokens that were written. That is right on average for answers "
            "drawn at temperature 1 and top-p 1, and too low for others."
        )
    if empty:
        yield f"{empty:,} answers are empty and have no ratio."
