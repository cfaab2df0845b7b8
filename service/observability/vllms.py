"""vLLM's own metrics, on the same page as this service's.

Always true: of what else registers itself in this process nothing is told.
"""

from collections.abc import Iterable

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.registry import Collector


class VllmMetrics(Collector):
    """vLLM counts in the process's one registry."""

    def collect(self) -> Iterable[Metric]:
        return (metric for metric in REGISTRY.collect() if metric.name.startswith("vllm:"))
