"""Says how well annotators agree with each other: what a judge can reach, measured on the same labels.

Guarantees: each annotator is held against the majority of the others, in which the annotator's own word is not.
"""

from functools import partial

import numpy as np

from trainer_client.agreement import statistics
from trainer_client.agreement.bootstrap import RESAMPLES, Figure, Statistic, figures, numbered, share
from trainer_client.labels import Labels
from trainer_client.labels.labelled import majority


def annotator_figures(labels: Labels, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Figure]:
    """Accuracy, balanced accuracy, F1 and kappa of an annotator against the majority of the others, over all
    annotators, and Krippendorff's alpha of all. Empty where no criterion has two words."""
    wanted: list[bool] = []
    given: list[bool] = []
    groups: list[str] = []
    yes: list[float] = []
    no: list[float] = []
    units: list[str] = []
    for one in labels.items:
        for words in one.annotators.values():
            spoken = [word for word in words if word is not None]
            if len(spoken) < 2:
                continue
            yes.append(float(sum(spoken)))
            no.append(float(len(spoken) - sum(spoken)))
            units.append(one.group)
            for place, word in enumerate(spoken):
                others = majority(spoken[:place] + spoken[place + 1 :])
                if others is not None:
                    wanted.append(others)
                    given.append(word)
                    groups.append(one.group)
    if not units:
        return {}
    truth, word_of = np.array(wanted, dtype=np.bool_), np.array(given, dtype=np.bool_)
    against: dict[str, Statistic] = {
        "accuracy": share(truth == word_of),
        "balanced_accuracy": partial(statistics.balanced_accuracy, truth, word_of),
        "f1": partial(statistics.f1, truth, word_of),
        "kappa": partial(statistics.kappa, truth, word_of),
    }
    found = figures(against, numbered(groups), resamples=resamples, seed=seed)
    together: dict[str, Statistic] = {"alpha": partial(statistics.alpha, np.array(yes), np.array(no))}
    return found | figures(together, numbered(units), resamples=resamples, seed=seed)
