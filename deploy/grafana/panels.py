"""Panels are described here in a few fields each, and built as Grafana's own types.

Guarantees: every panel uses the data source that the dashboard's variable chooses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.dashboard import (
    DashboardLink,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    MatcherConfig,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.dashboard import Panel as GrafanaPanel
from grafana_foundation_sdk.models.prometheus import Dataquery, PromQueryFormat

RUNBOOK = "https://github.com/rubricd/rubricd/blob/main/docs/operate/runbook.md"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
Stacked = Literal["no", "normal", "percent"]


@dataclass(frozen=True, slots=True)
class Query:
    """`right` is the unit of a second axis on the right, for the lines of this query."""

    expr: str
    legend: str = ""
    right: str | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """The fields of every panel. `description` says what it shows and what to do when it looks wrong; `runbook` names
    the alerts on the same metrics."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    runbook: tuple[str, ...] = ()
    width: int = 8
    height: int = 8


@dataclass(frozen=True, slots=True)
class Stat(Panel):
    """The last values, in large type. `steps` are the thresholds of orange and red; where the first is larger, lower
    values are worse."""

    steps: tuple[float, float] | None = None
    decimals: int | None = None
    width: int = 4
    height: int = 4


@dataclass(frozen=True, slots=True)
class Lines(Panel):
    """Lines over time, or stacked areas. The axis begins at zero; `max` is its end, `soft_max` the least value that it
    reaches, `limit` a red line."""

    stacked: Stacked = "no"
    max: float | None = None
    soft_max: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Heat(Panel):
    """A histogram over time; its query is the increase of the buckets."""


@dataclass(frozen=True, slots=True)
class Table(Panel):
    """One row for each value of `key`, and one column for each query, named by its legend. A column's unit is the
    query's `right`. Each query is evaluated at the end of the time range."""

    key: str = ""


def build(panel: Panel, number: int) -> GrafanaPanel:
    """The panel as Grafana stores it, without its place on the page."""
    match panel:
        case Stat():
            built = _stat(panel)
        case Lines():
            built = _lines(panel)
        case Heat():
            built = _heat(panel)
        case Table():
            built = _table(panel)
        case _:
            raise TypeError(f"unknown type of panel: {type(panel).__name__}")
    built.id_val, built.title, built.description, built.datasource = number, panel.title, panel.description, SOURCE
    built.links = [_link(alert) for alert in panel.runbook]
    built.targets = [_target(panel, name, query) for name, query in _named(panel)]
    return built


def _link(alert: str) -> DashboardLink:
    return DashboardLink(
        title=f"Runbook: {alert}",
        type_val=DashboardLinkType.LINK,
        url=f"{RUNBOOK}#{alert.lower()}",
        target_blank=True,
    )


def _named(panel: Panel) -> list[tuple[str, Query]]:
    """The queries with the names that Grafana gives them: A, B, C."""
    return [(ascii_uppercase[place], query) for place, query in enumerate(panel.queries)]


def _target(panel: Panel, name: str, query: Query) -> Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").ref_id(name)
    match panel:
        case Table():
            target = target.instant().format(PromQueryFormat.TABLE)
        case Heat():
            target = target.range().format(PromQueryFormat.HEATMAP)
        case _:
            target = target.range()
    return target.datasource(SOURCE).build()


def _stat(panel: Stat) -> GrafanaPanel:
    builder = (
        stat.Panel()
        .unit(panel.unit)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(looks.BigValueGraphMode.AREA)
        .color_mode(looks.BigValueColorMode.VALUE)
        .text_mode(looks.BigValueTextMode.VALUE if len(panel.queries) == 1 else looks.BigValueTextMode.VALUE_AND_NAME)
        .thresholds(_thresholds(panel.steps))
        .color_scheme(builders.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    )
    return (builder if panel.decimals is None else builder.decimals(panel.decimals)).build()


def _thresholds(steps: tuple[float, float] | None) -> builders.ThresholdsConfig:
    if steps is None:
        colours: Sequence[tuple[float | None, str]] = [(None, "blue")]
    elif steps[0] <= steps[1]:
        colours = [(None, "green"), (steps[0], "orange"), (steps[1], "red")]
    else:
        colours = [(None, "red"), (steps[1], "orange"), (steps[0], "green")]
    config = builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    return config.steps([Threshold(value, colour) for value, colour in colours])


def _lines(panel: Lines) -> GrafanaPanel:
    builder = (
        timeseries.Panel()
        .unit(panel.unit)
        .min(0)
        .line_width(1)
        .fill_opacity(8 if panel.stacked == "no" else 40)
        .show_points(looks.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(_STACKING[panel.stacked]).group("A"))
        .color_scheme(builders.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.LIST)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
    )
    if panel.max is not None:
        builder = builder.max(panel.max)
    if panel.soft_max is not None:
        builder = builder.axis_soft_max(panel.soft_max)
    if panel.limit is not None:
        line = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.LINE)
        steps = [Threshold(None, "transparent"), Threshold(panel.limit, "red")]
        builder = builder.thresholds(builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        builder = builder.thresholds_style(line)
    for name, query in _named(panel):
        if query.right is not None:
            axis = [("custom.axisPlacement", "right"), ("unit", query.right), ("custom.fillOpacity", 0)]
            builder = builder.override_by_query(name, [DynamicConfigValue(key, value) for key, value in axis])
    return builder.build()


_STACKING = {
    "no": looks.StackingMode.NONE,
    "normal": looks.StackingMode.NORMAL,
    "percent": looks.StackingMode.PERCENT,
}


def _heat(panel: Heat) -> GrafanaPanel:
    return (
        heatmap.Panel()
        .unit(panel.unit)
        .calculate(False)
        .cell_gap(1)
        .color(heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Inferno").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(panel.unit).axis_placement(looks.AxisPlacement.LEFT))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(looks.HeatmapCellLayout.AUTO))
        .hide_legend()
        .build()
    )


def _table(panel: Table) -> GrafanaPanel:
    """The tables of the queries are joined by `key`; with a single query every label is a column."""
    single = len(panel.queries) == 1
    names = {"Value" if single else f"Value #{name}": query.legend for name, query in _named(panel)}
    built = table.Panel().transformations(
        [
            DataTransformerConfig("joinByField", options={"byField": panel.key, "mode": "outer"}),
            DataTransformerConfig(
                "organize",
                options={
                    "excludeByName": {key: True for key in _time_columns(len(panel.queries))},
                    "renameByName": names,
                },
            ),
        ]
    )
    for query in panel.queries:
        if query.right is not None:
            built = built.with_override(
                MatcherConfig("byName", query.legend), [DynamicConfigValue("unit", query.right)]
            )
    return built.build()


def _time_columns(queries: int) -> list[str]:
    """The names of the time columns of joined tables."""
    return ["Time", *(f"Time {place + 1}" for place in range(queries))]
