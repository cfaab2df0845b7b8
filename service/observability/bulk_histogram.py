"""The bulk histogram takes observations by the thousand: 0.1 us each, where prometheus_client's own takes about 3 us.

It is written by hand for that: a verdict has three observations, and the library takes them one at a time.

Guarantees: an observation is counted in the first bucket whose upper bound it does not exceed.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class BulkHistogram(Collector):
    def __init__(
        self, name: str, help: str, labels: Sequence[str], *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._type = "histogram"
        self._labelnames = tuple(labels)
        self._help = help
        self._bounds = (*(float(bound) for bound in buckets), float("inf"))
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        if not labels:
            self.observe(())
        registry.register(self)

    def observe(self, values: Sequence[float], *labels: str) -> None:
        """`labels` are label values, in the order of the label names."""
        counts, bounds = self._counts.setdefault(labels, [0] * len(self._bounds)), self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + sum(values)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._help, labels=self._labelnames)
        bounds = [floatToGoString(bound) for bound in self._bounds]  # type: ignore[no-untyped-call]
        for labels, counts in self._counts.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), self._sums[labels])
        yield family
