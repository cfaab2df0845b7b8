"""Proposes bands of a cascade, from the dearest, with which the last judge is asked about everything, to the cheapest.

Guarantees: the first candidate passes every verdict on. Each later one is cheaper than those before it, on the rows
that it was made from, and no candidate that costs as little errs less there.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from trainer_client.cascade.verdicts import Bands, Floats, JudgedRows, cascade
from trainer_client.wire.cascade_plan import CascadeBand

EVERYTHING = CascadeBand(low=0.0, high=1.0)
"""All verdicts are passed on."""
_EDGES = 201
"""Values of P(met) that an end of a band may have: quantiles."""
_BANDS = {2: 48, 3: 12, 4: 7}
"""Bands of one judge that are tried, by the number of judges: their product is what is looked at."""


def candidates(rows: JudgedRows, cost: Sequence[float]) -> list[Bands]:
    """In the order in which they are to be tested. `cost` is that of one verdict of each judge."""
    own = [list(_bands(rows, judge)) for judge in range(rows.judges - 1)]
    tried = [(*bands, None) for bands in product(*own)]
    measured = []
    for bands in tried:
        found = cascade(rows, bands)
        spent = float(np.asarray(cost) @ found.asked.sum(axis=1)) / len(rows)
        measured.append((spent, float(rows.by_prompt(found.wrong).mean()), bands))
    first = (*(EVERYTHING for _ in own), None)
    return [first, *(bands for bands in _frontier(measured) if bands != first)]


def _frontier(measured: Sequence[tuple[float, float, Bands]]) -> list[Bands]:
    """Without what another one beats in both cost and error; the dearest first, which errs least."""
    best: list[Bands] = []
    least = float("inf")
    for _, error, bands in sorted(measured, key=lambda one: one[:2]):
        if error < least:
            least = error
            best.append(bands)
    return best[::-1]


def _bands(rows: JudgedRows, judge: int) -> Iterator[CascadeBand | None]:
    """Bands of one judge that differ in how much stands and how often that errs more than the last judge does."""
    yield EVERYTHING
    has_p = rows.decided[judge] & np.isfinite(rows.p[judge])
    if has_p.any():
        chosen = _outlying(rows.p[judge, has_p], (rows.wrong(judge) - rows.wrong(rows.judges - 1))[has_p])
        most = _BANDS[rows.judges] - 2
        for place in np.unique(np.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().astype(int)):
            yield chosen[place]
    yield None


def _outlying(p: Floats, excess: Floats) -> list[CascadeBand]:
    """For what stands at both ends of P(met): no band here lets more stand with fewer errors in excess."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, _EDGES), method="inverted_cdf"))
    order = np.argsort(p, kind="stable")
    ordered, summed = p[order], np.append(0.0, np.cumsum(excess[order]))
    below = np.searchsorted(ordered, edges, side="left")
    above = np.searchsorted(ordered, edges, side="right")
    lows = [(0.0, 0, 0.0), *zip(edges.tolist(), below.tolist(), summed[below].tolist(), strict=True)]
    tops = (len(p) - above).tolist(), (summed[-1] - summed[above]).tolist()
    highs = [*zip(edges.tolist(), *tops, strict=True), (1.0, 0, 0.0)]
    pairs = sorted(
        (-(stand_low + stand_high), err_low + err_high, low, high)
        for low, stand_low, err_low in lows
        for high, stand_high, err_high in highs
        if low <= high
    )
    found: list[CascadeBand] = []
    least = float("inf")
    for stands, errors, low, high in pairs:
        if errors < least and stands < 0:
            least = errors
            found.append(CascadeBand(low=low, high=high))
    return found
