"""How the dashboards' queries are read and their variables are filled in."""

import pytest

from testkit.dashboard_queries import Shown, chosen, filled, metrics, selectors
from testkit.processes import ROOT, Failed

TEAMS = ROOT / "deploy" / "grafana" / "dashboards" / "teams.json"


def test_variables_are_filled_in_as_grafana_does() -> None:
    variables = {"job": "rubricd", "team": ".*", **Shown(100, 400, 5, 15).variables()}
    assert filled('rate(a{job="$job", t=~"${team:regex}"}[$__rate_interval])', variables) == (
        'rate(a{job="rubricd", t=~".*"}[60000ms])'
    )
    assert filled("increase(a[$__range])", variables) == "increase(a[300000ms])"
    assert Shown(0, 9000, 60, 15).variables()["__rate_interval"] == "75000ms"
    with pytest.raises(Failed, match=r"\$class has no value"):
        filled('a{class="$class"}', variables)


def test_of_several_values_all_are_chosen_and_the_rest_is_named() -> None:
    everything = dict.fromkeys(("namespace", "instance", "team", "class"), ".*")
    assert chosen(TEAMS, job="a", price="2") == {**everything, "job": "a", "price": "2"}
    with pytest.raises(Failed, match="has no variable shade"):
        chosen(TEAMS, shade="2")


def test_every_series_that_a_query_reads_is_found_in_it() -> None:
    expr = '(sum(rate(a_total{x="{"}[5m])) or vector(0)) / sum by (le) (b{y=~"c|d"}) + b{y=~"c|d"}'
    assert selectors(expr)[-1] == 'b{y=~"c|d"}'
    assert metrics('sum(a{b="c"}) / vllm:d{e="f"}') == {"a", "vllm:d"}
