"""The bulk histogram exposes what prometheus_client's own histogram does."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.observability.bulk_histogram import BulkHistogram
from testkit.metrics_page import Page


@given(st.lists(st.floats(0, 100) | st.sampled_from([0.1, 0.5, 2.0, 10.0, 60.0])))
def test_it_equals_prometheus_clients_histogram(values: list[float]) -> None:
    registry = CollectorRegistry()
    bulk = BulkHistogram("bulk", "Same.", ["team"], buckets=(0.1, 0.5, 2, 10, 60), registry=registry)
    own = Histogram("own", "Same.", ["team"], buckets=(0.1, 0.5, 2, 10, 60), registry=registry)
    half = len(values) // 2
    bulk.observe(values[:half], "a")
    bulk.observe(values[half:], "a")
    own.labels("a")
    for value in values:
        own.labels("a").observe(value)
    page = Page(generate_latest(registry).decode())
    found: dict[str, list[tuple[str, tuple[tuple[str, str], ...], float]]] = {"bulk": [], "own": []}
    for sample in page.samples:
        kind, _, part = sample.name.partition("_")
        found[kind].append((part, tuple(sorted(sample.labels.items())), round(sample.value, 6)))
    assert sorted(found["bulk"]) == sorted(found["own"])
