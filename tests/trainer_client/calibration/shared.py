"""Labelled verdicts of made-up judges whose calibration is known."""

from collections.abc import Mapping

import numpy as np

from trainer_client.calibration.curves import Floats
from trainer_client.calibration.rows import Rows


def logistic(at: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-at)))


def made(
    seed: int,
    groups: int = 200,
    *,
    sharpness: float = 1.0,
    leaning: Mapping[bool, float] | float = 0.0,
    bias: float = 0.0,
    tags: Mapping[str, float] | None = None,
    tells: float = 1.5,
) -> Rows:
    """Five criteria a prompt, of which a third are faults. The judge's log-odds are `sharpness` times the right ones,
    plus its `leaning` (by whether points are negative), plus a bias of each response with this spread, which the prior
    shows; a tag's values lean by as much as `tags` says. Log-odds have a spread of `tells`."""
    draw = np.random.default_rng(seed)
    rows = groups * 5
    group = np.repeat(np.arange(groups), 5)
    right = draw.normal(0, tells, rows) + draw.normal(0, 0.5, groups)[group]
    negative = draw.random(rows) < 1 / 3
    values = list(tags or {"none": 0.0})
    chosen = draw.integers(0, len(values), rows)
    own = np.array([(tags or {"none": 0.0})[value] for value in values])[chosen]
    by_sign = leaning if isinstance(leaning, Mapping) else dict.fromkeys((True, False), leaning)
    leans = np.where(negative, by_sign[True], by_sign[False]) + own
    of_response = draw.normal(0, bias, groups)[group]
    return Rows(
        p=logistic(sharpness * right + leans + of_response),
        met=draw.random(rows) < logistic(right),
        negative=negative,
        tags=[{"theme": values[index]} for index in chosen],
        groups=group.astype(np.intp),
        priors={"criterion": logistic(of_response)} if bias else {},
    )
