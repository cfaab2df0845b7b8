"""No panel of the dashboards is empty beside real services, and one with a misspelt metric is found."""

import pytest

from loadtests.dashboards.__main__ import check
from loadtests.dashboards.panels import Looked, empty, report
from testkit.dashboard_queries import FILES, panels


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> list[Looked]:
    """Every dashboard beside real services; and one whose metrics are misspelt in two panels."""
    folder = tmp_path_factory.mktemp("dashboards")
    broken = (FILES[0].parent / "service.json").read_text(encoding="utf-8")
    broken = broken.replace("vllm:kv_cache_usage_perc{", "vllm:kv_cache_usage_percent{")  # a panel's only query
    broken = broken.replace("sum(rate(rubricd_requests_total{", "sum(rate(rubricd_request_total{", 1)
    (folder / "broken.json").write_text(broken, encoding="utf-8")
    return check([*FILES, folder / "broken.json"], 30, folder)


def test_no_panel_is_empty(looked: list[Looked]) -> None:
    ours = looked[:-1]
    total = sum(len(panels(path)) for path in FILES)
    assert report(ours) == f"0 of {total} panels are empty"


def test_a_misspelt_metric_is_found_also_behind_or_vector(looked: list[Looked]) -> None:
    found = {one.panel.title: one.missing for one in empty(looked[-1:])}
    assert found.keys() == {"vLLM: KV cache", "Refused or failed"}
    assert any(why.startswith("A shows nothing: vllm:kv_cache_usage_percent{") for why in found["vLLM: KV cache"])
    assert [why.partition("{")[0] for why in found["Refused or failed"]] == ["A reads nothing: rubricd_request_total"]
    assert report(looked).splitlines()[-1] == f"2 of {sum(len(one.answers) for one in looked)} panels are empty"
