"""Says what judging a run took: judgements, tokens, seconds, and money where the prices of tokens are known.

Guarantees: a sum of money is of all tokens that were used, or there is none. Sums are of one process of the training.
"""

from collections.abc import Iterator
from itertools import pairwise

from trainer_client.agreement.spent import money_of, shown
from trainer_client.pages.document import row, section, table
from trainer_client.training.report.charts import Logs, points

_SUMS = {
    "judge/usage/judgements": "judgements",
    "judge/usage/cache_hits": "verdicts from the service's cache",
    "judge/usage/deduplicated": "verdicts of equal questions, asked once",
    "judge/usage/prompt_tokens": "tokens read",
    "judge/usage/cached_tokens": "of them computed before",
    "judge/usage/completion_tokens": "tokens written",
    "judge/usage/retries": "retries",
    "judge/latency_s": "seconds from request to answer",
    "judge/waited_s": "of them waited for by the trainer",
}
Prices = tuple[float | None, float | None]
"""Of a million tokens that are read, and of a million that are written."""


def total(logs: Logs, metric: str) -> float | None:
    """The sum over all batches. A log has the mean of the batches since the one before."""
    there = [(step, value) for step, value in points(logs, metric) if value is not None]
    if not there:
        return None
    batches = [there[0][0], *(later[0] - earlier[0] for earlier, later in pairwise(there))]
    return sum(value * count for (_, value), count in zip(there, batches, strict=True))


def money(logs: Logs, prices: Prices) -> float | None:
    read, written = (total(logs, f"judge/usage/{kind}_tokens") for kind in ("prompt", "completion"))
    if read is None or written is None:
        return None
    return money_of((round(read), prices[0]), (round(written), prices[1]))


def figures(logs: Logs, prices: Prices) -> Iterator[tuple[str, float]]:
    """Each sum that is known, in words."""
    for metric, about in _SUMS.items():
        value = total(logs, metric)
        if value is not None:
            yield about, value
    spent = money(logs, prices)
    if spent is not None:
        yield "money", spent


def cost(logs: Logs, prices: Prices) -> str:
    rows = [row(((about, "name"), (shown(value), "n"))) for about, value in figures(logs, prices)]
    if not rows:
        return ""
    about = "Of the whole run, by one process of it. For money name the prices: --price-in and --price-out."
    return section("What judging took", about, table((), rows))
