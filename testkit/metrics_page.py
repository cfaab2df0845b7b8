"""Reads the metrics page as Prometheus reads it."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from service.observability import Telemetry


class Page:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [s for family in text_string_to_metric_families(text) for s in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels. Fails if no sample has this name."""
        named = [sample for sample in self.samples if sample.name == name]
        assert named, f"no {name}"
        return sum(s.value for s in named if labels.items() <= s.labels.items())

    def has(self, name: str, **labels: str) -> bool:
        return any(s.name == name and labels.items() <= s.labels.items() for s in self.samples)

    def named(self, name: str) -> dict[str, float]:
        """The samples of this name by their label values, without that of a judge that has no name; empty where nothing
        was counted yet."""
        found = (s for s in self.samples if s.name == name)
        return {
            "/".join(value for label, value in s.labels.items() if value or label != "judge"): s.value for s in found
        }


async def page_of(client: httpx.AsyncClient) -> Page:
    return Page((await client.get("/metrics")).text)


def exposed(telemetry: Telemetry) -> Page:
    """The page of a telemetry without a service around it."""
    return Page(telemetry.exposition().decode())
