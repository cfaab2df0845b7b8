"""The dashboards: what is committed is what the code says, and Grafana can read it. Grafana itself is not here: its own
types stand for it. tests/loadtests/test_dashboards.py asks every query of a real Prometheus."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from ruamel.yaml import YAML

from deploy.grafana.__main__ import BOARDS, file, written
from service.observability import Telemetry
from testkit.dashboard_queries import FILES, bare, metrics, panels, selectors
from testkit.processes import ROOT

GRAFANA, RULES = ROOT / "deploy" / "grafana", ROOT / "deploy" / "prometheus"
NAMES = [path.stem for path in FILES]
GIVEN = {"__interval", "__range", "__rate_interval"}
"""Variables that Grafana itself fills in."""
NO_PANEL = {"rubricd_teams_file_ok", "rubricd_teams_file_read_timestamp_seconds"}
"""Metrics that are not drawn: an alert tells of them, and its runbook entry of the time."""
WORDS = {"sum", "max", "min", "count", "rate", "increase", "histogram_quantile", "vector", "by", "or", "and", "on"}
LABELS = {"team", "class", "le", "source", "mode", "outcome", "status", "code", "tier", "route"}
LABELS |= {
    "judge",
    "member",
    "query_type",
    "reason",
    "shadow",
    "spread",
    "instance",
    "fingerprint",
    "model",
    "engine",
    "layout",
    "prompt",
    "figure",
}
OWN = {"up"}


@pytest.fixture(scope="module", autouse=True)
def types() -> None:
    register_default_plugins()


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def _boxes(drawn: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Every row and panel by its number; those of a closed row as if it were the page's last."""
    for one in drawn["panels"]:
        yield one["id"], one["gridPos"]
        yield from ((inner["id"], inner["gridPos"]) for inner in one.get("panels", []))


def _lost(ours: Any, again: Any, place: str = "") -> Iterator[str]:
    """Places of what is not there again, or is another; defaults may come to it."""
    if isinstance(ours, dict) and isinstance(again, dict):
        for key, value in ours.items():
            yield from _lost(value, again.get(key), f"{place}/{key}")
    elif isinstance(ours, list) and isinstance(again, list) and len(ours) == len(again):
        for number, (one, other) in enumerate(zip(ours, again, strict=True)):
            yield from _lost(one, other, f"{place}/{number}")
    elif ours != again:
        yield place


def test_the_files_are_what_the_code_says() -> None:
    assert {file(board) for board in BOARDS} == set(FILES)
    for board in BOARDS:
        assert file(board).read_text(encoding="utf-8") == written(board), "run `make dashboards`"


@pytest.mark.parametrize("name", NAMES)
def test_grafanas_own_types_read_them_and_lose_nothing(name: str) -> None:
    again = json.loads(json.dumps(Dashboard.from_json(_read(name)), cls=JSONEncoder))
    assert [*_lost(_read(name), again)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_a_number_and_a_place_of_its_own(name: str) -> None:
    drawn = _read(name)
    numbers = [number for number, _ in _boxes(drawn)]
    assert len(numbers) == len(set(numbers))
    for one in [drawn, *(row for row in drawn["panels"] if row.get("panels"))]:
        for (_, a), (_, b) in combinations([(p["id"], p["gridPos"]) for p in one["panels"]], 2):
            apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a, b)
    assert all(box["x"] >= 0 and box["x"] + box["w"] <= 24 for _, box in _boxes(drawn))


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_shows_in_which_unit_and_asks_the_chosen_source(name: str) -> None:
    for panel in panels(GRAFANA / "dashboards" / f"{name}.json"):
        assert len(panel.drawn["description"]) > 40, panel.name
        assert panel.drawn["type"] == "table" or panel.drawn["fieldConfig"]["defaults"]["unit"], panel.name
        assert panel.drawn["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel.drawn["datasource"] for target in panel.drawn["targets"])
        assert panel.queries and len({asked.name for asked in panel.queries}) == len(panel.queries)


@pytest.mark.parametrize("name", NAMES)
def test_every_query_is_of_the_chosen_replicas_and_uses_what_is_there(name: str) -> None:
    path = GRAFANA / "dashboards" / f"{name}.json"
    variables = {one["name"] for one in _read(name)["templating"]["list"]} | GIVEN
    for panel in panels(path):
        for asked in panel.queries:
            assert set(re.findall(r"\$\{?(\w+)", asked.expr)) <= variables, panel.name
            for selector in selectors(asked.expr):
                assert 'job="$job", namespace=~"$namespace", instance=~"$instance"' in selector
            rest = set(re.findall(r"(?<![\w$])[a-zA-Z_:]\w*", re.sub(r"\[[^]]*\]", "", bare(asked.expr))))
            assert rest <= WORDS | LABELS, panel.name
            if "rate(" in asked.expr:
                assert "[$__rate_interval]" in asked.expr


def _exposed() -> set[str]:
    """Names of series as Prometheus stores them."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)", Telemetry().exposition().decode(), re.M):
        found |= {f"{name}_{end}" for end in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return found


def test_every_metric_in_a_panel_is_one_that_the_service_has() -> None:
    used = {name for path in FILES for panel in panels(path) for asked in panel.queries for name in metrics(asked.expr)}
    ours = {name for name in used if not name.startswith("vllm:")}
    assert ours <= _exposed() | OWN
    assert len(used - ours) >= 5


def test_every_metric_is_in_a_panel_or_said_to_be_in_none() -> None:
    asked = " ".join(asked.expr for path in FILES for panel in panels(path) for asked in panel.queries)
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in _exposed() if name.startswith("rubricd_")}
    assert {name for name in families if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", asked)} == NO_PANEL


def test_every_alert_has_a_panel_that_links_its_entry_in_the_runbook() -> None:
    groups = _yaml(RULES / "alerts.yml")["groups"]
    known = {rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"] if "alert" in rule}
    linked = {link["url"] for path in FILES for panel in panels(path) for link in panel.drawn["links"]}
    assert linked == known


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_of_every_panel_what_it_answers(name: str) -> None:
    page = (ROOT / "docs" / "operate" / "dashboards.md").read_text(encoding="utf-8")
    found = panels(GRAFANA / "dashboards" / f"{name}.json")
    [section] = [part for part in page.split("\n## ") if part.startswith(f"{found[0].board}\n")]
    rows = re.findall(r"^\| `([^`]+)` \|", section, re.M)
    assert rows == [panel.title for panel in found]


def test_what_is_provisioned_is_where_compose_puts_it() -> None:
    [source] = _yaml(GRAFANA / "provisioning" / "datasources" / "prometheus.yaml")["datasources"]
    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert source["jsonData"]["timeInterval"] == _yaml(RULES / "prometheus.yml")["global"]["scrape_interval"]
    [provider] = _yaml(GRAFANA / "provisioning" / "dashboards" / "rubricd.yaml")["providers"]
    grafana = _yaml(ROOT / "deploy" / "compose.yaml")["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in grafana["volumes"]
    assert grafana["image"].startswith("grafana/grafana:11.6.")
