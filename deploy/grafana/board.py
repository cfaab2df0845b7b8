"""A dashboard is built from rows of panels: their places, their ids, and the variables that the queries use.

Guarantees: panels fill their rows from the left and do not overlap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLink,
    DashboardLinkType,
    GridPos,
    RowPanel,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.dashboard import Panel as GrafanaPanel

from deploy.grafana.panels import SOURCE, Panel, build

COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Row:
    """A row of panels. Grafana does not query the panels of a `collapsed` row until somebody opens it."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. `uid` is its address and the name of its file. `variables` are added to those of every dashboard:
    data source, job, namespace and replica."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[VariableModel, ...] = ()


@dataclass(frozen=True, slots=True)
class _Cursor:
    """The next free row of the grid, and the next id."""

    y: int = 0
    id: int = 1


def dashboard(board: Board) -> Dashboard:
    """The dashboard as Grafana stores it."""
    built = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["rubricd"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .build()
    )
    built.timezone = "browser"
    built.links = [
        DashboardLink(
            "rubricd", DashboardLinkType.DASHBOARDS, tags=["rubricd"], include_vars=True, keep_time=True, icon=""
        )
    ]
    built.templating.list_val = [_source(), _job(), _namespace(), _instance(), *board.variables]
    built.panels = [*_place(board.rows)]
    return built


def _place(rows: Sequence[Row]) -> Iterator[GrafanaPanel | RowPanel]:
    cursor = _Cursor()
    for row in rows:
        header = RowPanel(collapsed=row.collapsed, title=row.title, id_val=cursor.id)
        header.grid_pos = GridPos(h=1, w=COLUMNS, x=0, y=cursor.y)
        cursor = _Cursor(cursor.y + 1, cursor.id + 1)
        panels, cursor = _fill(row.panels, cursor)
        header.panels = panels if row.collapsed else []
        yield header
        if row.collapsed:
            cursor = replace(cursor, y=header.grid_pos.y + 1)
        else:
            yield from panels


def _fill(panels: Sequence[Panel], cursor: _Cursor) -> tuple[list[GrafanaPanel], _Cursor]:
    """The panels from left to right and down, and the cursor after them."""
    placed: list[GrafanaPanel] = []
    x, y, highest = 0, cursor.y, 0
    for place, panel in enumerate(panels):
        if x + panel.width > COLUMNS:
            x, y, highest = 0, y + highest, 0
        built = build(panel, cursor.id + place)
        built.grid_pos = GridPos(h=panel.height, w=panel.width, x=x, y=y)
        placed.append(built)
        x, highest = x + panel.width, max(highest, panel.height)
    return placed, _Cursor(y + highest, cursor.id + len(panels))


def _source() -> VariableModel:
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus").build()


def _job() -> VariableModel:
    """A single value: two deployments have two judges."""
    return query_variable("job", "Job", "label_values(rubricd_ready, job)").multi(False).build()


def _namespace() -> VariableModel:
    """The Kubernetes namespace; `.*` also matches series without one."""
    return with_all(query_variable("namespace", "Namespace", 'label_values(rubricd_ready{job="$job"}, namespace)'))


def _instance() -> VariableModel:
    return with_all(
        query_variable(
            "instance", "Replica", 'label_values(rubricd_ready{job="$job", namespace=~"$namespace"}, instance)'
        )
    )


def query_variable(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def with_all(variable: builders.QueryVariable | builders.CustomVariable) -> VariableModel:
    """Allows several values; all of them are chosen at first."""
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".*").current(everything).build()
