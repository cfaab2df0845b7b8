"""Chooses the bands of a cascade that save the most while a promise about its agreement with labels holds.

A third of the prompts proposes bands and their order. On the others the hypothesis that the promise is broken is tested
for one after the other, each at level delta, until the first one that cannot be rejected: testing in a fixed sequence,
so that the chance of choosing bands that break the promise is at most delta (Angelopoulos, Bates, Candes, Jordan and
Lei, "Learn then Test", 2021, arXiv 2110.01052; the p-value is that of `betting`).

Guarantees: what is promised rests on prompts that took no part in proposing the bands. The same labels, verdicts and
seed give the same plan. Where nothing can be promised, or nothing is saved, there is no plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from trainer_client import wire
from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import Bounded, Figure, Statistic, figures, share
from trainer_client.cascade.betting import fewest_prompts, p_value
from trainer_client.cascade.candidates import candidates
from trainer_client.cascade.spending import Cost
from trainer_client.cascade.verdicts import Bands, Decided, Floats, Ints, JudgedRows, cascade

_PROPOSING = 1 / 3
"""The share of the prompts that proposes: an order needs fewer of them than a promise."""
FEWEST_PROPOSING = 5
Kind = Literal["agreement", "loss"]


class NoPlan(ValueError):
    """The labels allow no plan; the message says why, and what would."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`agreement`: at least `level` of the labels; `loss`: at most `level` less than the last judge alone."""

    kind: Kind
    level: float
    delta: float

    @property
    def limit(self) -> float:
        """Of the mean loss."""
        return 1 - self.level if self.kind == "agreement" else self.level

    def losses(self, rows: JudgedRows, decided: Decided) -> Floats:
        """One a prompt. (G,)"""
        last = rows.wrong(rows.judges - 1) if self.kind == "loss" else np.zeros(len(rows))
        return rows.by_prompt(decided.wrong - last)


@dataclass(frozen=True, slots=True)
class Tested:
    """Bands with the p-value of a broken promise and the agreement, on held-out prompts; `last` is the share of
    criteria that reach the last judge."""

    bands: Bands
    p_value: float
    agreement: float
    last: float


@dataclass(frozen=True, slots=True)
class Planned:
    """`tested` has the sequence until it ended, and `chosen` is its last one that passed. `agreement` has figures of
    the cascade and of each judge alone, `saves` what of the last judge's costs is saved, `decides` the share of
    criteria that each judge decides; all on the held-out prompts. `left_out` prompts had no verdict of some judge on
    some criterion."""

    bands: Bands
    wanted: Wanted
    prompts: int
    criteria: int
    held_out: int
    tested: Sequence[Tested]
    chosen: Tested
    agreement: dict[str, Figure]
    saves: dict[str, Figure]
    decides: Sequence[float]
    undecided: float
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """The bands that were tested, the last of them that passed, and the prompts on which they were."""

    tested: Sequence[Tested]
    chosen: Tested
    held_out: JudgedRows


def plan(rows: JudgedRows, costs: Sequence[Cost], wanted: Wanted, *, seed: int = 0) -> Planned:
    """Raises NoPlan."""
    return _planned(rows, choose(rows, costs, wanted, seed=seed), costs, wanted)


def choose(rows: JudgedRows, costs: Sequence[Cost], wanted: Wanted, *, seed: int = 0) -> Choice:
    """Raises NoPlan."""
    proposing, held_out = _split(rows, seed)
    needed = fewest_prompts(wanted.limit, wanted.delta)
    if held_out.prompts < needed or proposing.prompts < FEWEST_PROPOSING:
        prompts = max(_whole(needed), 3 * FEWEST_PROPOSING)
        raise NoPlan(
            f"{rows.prompts:,} labelled prompts are too few to promise anything at this level: even without any error "
            f"{prompts:,} are needed; label more prompts, or promise less (--agreement, --lose, --delta)"
        )
    order = np.random.default_rng([seed, 1]).permutation(held_out.prompts)
    tested: list[Tested] = []
    for bands in candidates(proposing, _weights(costs)):
        tested.append(_tested(held_out, bands, wanted, order))
        if tested[-1].p_value > wanted.delta:
            break
    passed = [one for one in tested if one.p_value <= wanted.delta]
    if not passed:
        raise NoPlan(_not_reached(held_out, wanted))
    chosen = passed[-1]
    if chosen.last == 1.0:
        raise NoPlan(
            "no verdict of a cheaper judge can stand: with the narrowest band the promise has a p-value of "
            f"{tested[-1].p_value:.3f}, and {wanted.delta:g} is asked; label more prompts, promise less, or leave the "
            "cheaper judges out"
        )
    return Choice(tested, chosen, held_out)


def _tested(held_out: JudgedRows, bands: Bands, wanted: Wanted, order: Ints) -> Tested:
    """`order` is in which the test sees the prompts."""
    found = cascade(held_out, bands)
    p = p_value(wanted.losses(held_out, found)[order], wanted.limit)
    return Tested(bands, p, 1 - float(held_out.by_prompt(found.wrong).mean()), float(found.asked[-1].mean()))


def _split(rows: JudgedRows, seed: int) -> tuple[JudgedRows, JudgedRows]:
    """Whole prompts, drawn by the seed."""
    prompts = np.unique(rows.groups)
    drawn = np.random.default_rng(seed).permutation(prompts)[: int(len(prompts) * _PROPOSING)]
    proposes = np.isin(rows.groups, drawn)
    return rows.where(proposes), rows.where(~proposes)


def _whole(held_out: int) -> int:
    """The fewest prompts of which so many are held out."""
    whole = held_out
    while whole - int(whole * _PROPOSING) < held_out:
        whole += 1
    return whole


def _weights(costs: Sequence[Cost]) -> list[float]:
    """By what bands are put in order: money, else tokens, else every verdict alike. One measure for all judges."""
    for measure in ("money", "tokens"):
        values = [getattr(one, measure) for one in costs]
        if all(value is not None for value in values):
            return values
    return [1.0] * len(costs)


def _not_reached(held_out: JudgedRows, wanted: Wanted) -> str:
    last = 1 - float(held_out.by_prompt(held_out.wrong(held_out.judges - 1)).mean())
    return (
        f"an agreement of {wanted.level:g} cannot be promised even if the last judge decides everything: it agrees "
        f"with {last:.3f} of the labels on {held_out.prompts:,} held-out prompts; promise less, label more, or use a "
        "better last judge"
    )


def _planned(rows: JudgedRows, choice: Choice, costs: Sequence[Cost], wanted: Wanted) -> Planned:
    held_out, chosen = choice.held_out, choice.chosen
    found = cascade(held_out, chosen.bands)
    # Each criterion counts for its share of its prompt, as in the promise.
    _, place, sizes = np.unique(held_out.groups, return_inverse=True, return_counts=True)
    part = 1 / sizes[place]

    def agreement(wrong: Floats) -> Statistic:
        return Bounded(lambda weights: 1 - statistics.mean(wrong, weights * part))

    last = held_out.wrong(held_out.judges - 1)
    alone = {f"judge_{n}": agreement(held_out.wrong(n)) for n in range(held_out.judges)}
    lost = Bounded(lambda weights: statistics.mean(found.wrong - last, weights * part), least=-1.0)
    return Planned(
        bands=chosen.bands,
        wanted=wanted,
        prompts=rows.prompts,
        criteria=len(rows),
        held_out=held_out.prompts,
        tested=choice.tested,
        chosen=chosen,
        agreement=figures({"cascade": agreement(found.wrong), **alone, "lost": lost}, held_out.groups),
        saves=_saves(held_out, found, costs),
        decides=[float((found.by == n).mean()) for n in range(held_out.judges)],
        undecided=float((found.by < 0).mean()),
    )


def _saves(rows: JudgedRows, found: Decided, costs: Sequence[Cost]) -> dict[str, Figure]:
    never = (~found.asked[-1]).astype(np.float64)
    measured: dict[str, Statistic] = {"last_judge": share(never)}
    for measure in ("tokens", "seconds", "money"):
        each = [getattr(one, measure) for one in costs]
        if all(value is not None for value in each) and each[-1] > 0:
            saved = 1 - np.asarray(each) @ found.asked / each[-1]
            # At worst every judge is asked.
            measured[measure] = Bounded(partial(statistics.mean, saved), least=1 - sum(each) / each[-1])
    whole = figures(measured, rows.groups)
    _, first, place = np.unique(rows.responses, return_index=True, return_inverse=True)
    spared = (np.bincount(place, found.asked[-1]) == 0).astype(np.float64)
    return whole | figures({"last_judge_responses": share(spared)}, rows.groups[first])


def as_wire(planned: Planned, judges: Sequence[tuple[str, wire.Judge]], digest: str) -> wire.CascadePlan:
    """The plan file. `judges` have names and are in the order of the bands; `digest` is that of the labels."""
    saves = {name: _interval(figure) for name, figure in planned.saves.items()}
    agreement = _interval(planned.agreement["cascade"])
    return wire.CascadePlan(
        judges=tuple(
            wire.CascadeJudge(
                name=name,
                fingerprint=judge.fingerprint,
                model=judge.model,
                mode="reasoned" if judge.mode == "reasoned" else "verdict",  # labels are judged in no other
                layout=judge.layout,
                prompt=judge.prompt,
                band=band,
            )
            for (name, judge), band in zip(judges, planned.bands, strict=True)
        ),
        promise=wire.CascadePromise(
            kind=planned.wanted.kind,
            level=planned.wanted.level,
            delta=planned.wanted.delta,
            prompts=planned.held_out,
            p_value=planned.chosen.p_value,
        ),
        data=wire.CascadeData(digest=digest, prompts=planned.prompts, criteria=planned.criteria),
        agreement=agreement,
        saves=wire.CascadeSavings(**saves),
    )


def _interval(figure: Figure) -> wire.Interval:
    assert figure.value is not None and figure.low is not None and figure.high is not None
    return wire.Interval(value=figure.value, low=min(figure.low, figure.value), high=max(figure.high, figure.value))
