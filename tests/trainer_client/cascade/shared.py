"""Makes labelled verdicts of two made-up judges, of which the truth is known exactly."""

import numpy as np

from trainer_client.cascade.verdicts import Bools, Floats, Ints, JudgedRows


def logistic(at: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-at)))


def two_judges(
    seed: int, prompts: int, *, criteria: int = 6, weak: float = 2.5, strong: float = 8.0, shared: float = 1.0
) -> JudgedRows:
    """A cheap judge and a good one, whose evidence about the truth has these strengths. `shared` is how much of the
    noise all criteria of a prompt have in common: those of one prompt are far from independent."""
    draw = np.random.default_rng(seed)
    groups: Ints = np.repeat(np.arange(prompts), criteria).astype(np.intp)
    label: Bools = draw.random(len(groups)) < 0.4
    towards = np.where(label, 1.0, -1.0)
    p = []
    for strength in (weak, strong):
        noise = draw.normal(0, 1, len(groups)) + shared * draw.normal(0, 1, prompts)[groups]
        p.append(logistic(strength * towards + 1.5 * noise))
    seen = np.array(p)
    return JudgedRows(
        label=label,
        decided=np.ones_like(seen, np.bool_),
        met=seen >= 0.5,
        p=seen,
        groups=groups,
        responses=groups.copy(),
    )
