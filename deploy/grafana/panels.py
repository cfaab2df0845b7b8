"""What a panel is made of, and Grafana's words for it. A panel says what it shows, and what to do when it looks wrong.

Always true: no panel names a data source or a colour of its own; what is written here is Grafana's own types.
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
    Panel,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import Dataquery, PromQueryFormat

RUNBOOK = "https://github.com/rubricd/rubricd/blob/main/docs/operate/runbook.md"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
Stacked = Literal["no", "normal", "percent"]


@dataclass(frozen=True, slots=True)
class Query:
    """`right` puts its lines on an axis of their own, with a unit of their own."""

    expr: str
    legend: str = ""
    right: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What every panel has. `runbook` names the alerts that watch the same."""

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    runbook: tuple[str, ...] = ()
    width: int = 8
    height: int = 8


@dataclass(frozen=True, slots=True)
class Stat(Card):
    """The last values, large. `steps` are the values from which they turn orange and red; falling ones turn the other
    way round."""

    steps: tuple[float, float] | None = None
    decimals: int | None = None
    width: int = 4
    height: int = 4


@dataclass(frozen=True, slots=True)
class Lines(Card):
    """Lines over time from zero up, or areas that are stacked. `most` is the end of the axis, `least` how far it goes
    at least, `limit` a red line."""

    stacked: Stacked = "no"
    most: float | None = None
    least: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Heat(Card):
    """A histogram over time; its query is the growth of its buckets."""


@dataclass(frozen=True, slots=True)
class Table(Card):
    """One row for each value of `key`, one column a query, named by its legend; a column's unit is its query's
    `right`. Each is asked for the end of the time shown."""

    key: str = ""


def panel(card: Card, number: int) -> Panel:
    """As Grafana writes it; its place on the page is not chosen yet."""
    match card:
        case Stat():
            made = _stat(card)
        case Lines():
            made = _lines(card)
        case Heat():
            made = _heat(card)
        case Table():
            made = _table(card)
        case _:
            raise TypeError(f"nobody draws a {type(card).__name__}")
    made.id_val, made.title, made.description, made.datasource = number, card.title, card.about, SOURCE
    made.links = [_link(alert) for alert in card.runbook]
    made.targets = [_target(card, name, query) for name, query in _named(card)]
    return made


def _link(alert: str) -> DashboardLink:
    return DashboardLink(
        title=f"Runbook: {alert}",
        type_val=DashboardLinkType.LINK,
        url=f"{RUNBOOK}#{alert.lower()}",
        target_blank=True,
    )


def _named(card: Card) -> list[tuple[str, Query]]:
    """Grafana calls a panel's queries A, B, C."""
    return [(ascii_uppercase[place], query) for place, query in enumerate(card.queries)]


def _target(card: Card, name: str, query: Query) -> Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").ref_id(name)
    match card:
        case Table():
            target = target.instant().format(PromQueryFormat.TABLE)
        case Heat():
            target = target.range().format(PromQueryFormat.HEATMAP)
        case _:
            target = target.range()
    return target.datasource(SOURCE).build()


def _stat(card: Stat) -> Panel:
    builder = (
        stat.Panel()
        .unit(card.unit)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(looks.BigValueGraphMode.AREA)
        .color_mode(looks.BigValueColorMode.VALUE)
        .text_mode(looks.BigValueTextMode.VALUE if len(card.queries) == 1 else looks.BigValueTextMode.VALUE_AND_NAME)
        .thresholds(_thresholds(card.steps))
        .color_scheme(builders.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    )
    return (builder if card.decimals is None else builder.decimals(card.decimals)).build()


def _thresholds(steps: tuple[float, float] | None) -> builders.ThresholdsConfig:
    if steps is None:
        colours: Sequence[tuple[float | None, str]] = [(None, "blue")]
    elif steps[0] <= steps[1]:
        colours = [(None, "green"), (steps[0], "orange"), (steps[1], "red")]
    else:
        colours = [(None, "red"), (steps[1], "orange"), (steps[0], "green")]
    config = builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    return config.steps([Threshold(value, colour) for value, colour in colours])


def _lines(card: Lines) -> Panel:
    builder = (
        timeseries.Panel()
        .unit(card.unit)
        .min(0)
        .line_width(1)
        .fill_opacity(8 if card.stacked == "no" else 40)
        .show_points(looks.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(_STACKING[card.stacked]).group("A"))
        .color_scheme(builders.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.LIST)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
    )
    if card.most is not None:
        builder = builder.max(card.most)
    if card.least is not None:
        builder = builder.axis_soft_max(card.least)
    if card.limit is not None:
        line = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.LINE)
        steps = [Threshold(None, "transparent"), Threshold(card.limit, "red")]
        builder = builder.thresholds(builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        builder = builder.thresholds_style(line)
    for name, query in _named(card):
        if query.right is not None:
            axis = [("custom.axisPlacement", "right"), ("unit", query.right), ("custom.fillOpacity", 0)]
            builder = builder.override_by_query(name, [DynamicConfigValue(key, value) for key, value in axis])
    return builder.build()


_STACKING = {
    "no": looks.StackingMode.NONE,
    "normal": looks.StackingMode.NORMAL,
    "percent": looks.StackingMode.PERCENT,
}


def _heat(card: Heat) -> Panel:
    return (
        heatmap.Panel()
        .unit(card.unit)
        .calculate(False)
        .cell_gap(1)
        .color(heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Inferno").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(card.unit).axis_placement(looks.AxisPlacement.LEFT))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(looks.HeatmapCellLayout.AUTO))
        .hide_legend()
        .build()
    )


def _table(card: Table) -> Panel:
    """The queries' tables are joined by `key`; of a query alone every label is a column."""
    alone = len(card.queries) == 1
    names = {"Value" if alone else f"Value #{name}": query.legend for name, query in _named(card)}
    made = table.Panel().transformations(
        [
            DataTransformerConfig("joinByField", options={"byField": card.key, "mode": "outer"}),
            DataTransformerConfig(
                "organize",
                options={
                    "excludeByName": {key: True for key in _times(len(card.queries))},
                    "renameByName": names,
                },
            ),
        ]
    )
    for query in card.queries:
        if query.right is not None:
            made = made.with_override(MatcherConfig("byName", query.legend), [DynamicConfigValue("unit", query.right)])
    return made.build()


def _times(queries: int) -> list[str]:
    """What joined tables call their columns of times."""
    return ["Time", *(f"Time {place + 1}" for place in range(queries))]
