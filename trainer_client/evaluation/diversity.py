"""Says how far the answers to one prompt are from each other: 1 - self-BLEU, and the distance of their embeddings.

Self-BLEU (Zhu et al., Texygen, 1802.01886) is the mean BLEU of each answer with the others as its references; BLEU is
sacrebleu's sentence BLEU (4-grams, tokenised by `13a`, exponential smoothing). The distance is the mean cosine distance
of all pairs.

Guarantees: one answer alone has no diversity.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer_client.agreement.statistics import Floats
from trainer_client.errors import DataError

TOKENIZERS = ("13a", "zh", "char", "intl")
"""sacrebleu's ways to cut a text into words that need nothing else; `zh` is for Chinese, `char` for any language."""


def self_bleu_diversity(answers: Sequence[str], tokenize: str = "13a") -> float | None:
    """1 - self-BLEU, between 0 for equal answers and 1; None for fewer than two. Raises DataError without sacrebleu."""
    if len(answers) < 2:
        return None
    metric = _metric(tokenize)
    scores = [
        metric.sentence_score(answer, [*answers[:place], *answers[place + 1 :]]).score
        for place, answer in enumerate(answers)
    ]
    return 1 - float(np.mean(scores)) / 100


def embedding_distance(vectors: Floats) -> float | None:
    """The mean cosine distance of all pairs of rows (N, D); None for fewer than two, or where one has no direction."""
    lengths = np.linalg.norm(vectors, axis=1)
    count = len(vectors)
    if count < 2 or not lengths.all():
        return None
    total = (vectors / lengths[:, None]).sum(axis=0)
    # Over all ordered pairs: the square of the sum, less each row with itself.
    return 1 - float((total @ total - count) / (count * (count - 1)))


def _metric(tokenize: str) -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise DataError("diversity needs sacrebleu: pip install 'rubricd[evaluate]'") from None
    return BLEU(tokenize=tokenize, effective_order=True)
