"""The metrics page, read as Prometheus reads it."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Page:
    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [s for family in text_string_to_metric_families(text) for s in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of what has these labels; a name that is not there at all is an error."""
        named = [sample for sample in self.samples if sample.name == name]
        assert named, f"no {name}"
        return sum(s.value for s in named if labels.items() <= s.labels.items())

    def has(self, name: str, **labels: str) -> bool:
        return any(s.name == name and labels.items() <= s.labels.items() for s in self.samples)

    def named(self, name: str) -> dict[str, float]:
        """All of that name by their labels' values; empty where nothing was counted yet."""
        return {"/".join(s.labels.values()): s.value for s in self.samples if s.name == name}


async def page_of(client: httpx.AsyncClient) -> Page:
    return Page((await client.get("/metrics")).text)
