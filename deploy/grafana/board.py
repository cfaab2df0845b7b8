"""A page of rows of panels: their places, their numbers, and the variables that every query uses.

Always true: panels fill their rows from the left and never overlap; a row that is closed is not asked for.
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
    Panel,
    RowPanel,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.panels import SOURCE, Card, panel

COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Row:
    """`closed` until somebody opens it: for a closer look, not for the first one."""

    title: str
    cards: tuple[Card, ...]
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """`uid` is its address and its file's name. `variables` are beside those of source, deployment and replica."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[VariableModel, ...] = ()


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where the next panel may go, and the next number."""

    y: int = 0
    number: int = 1


def dashboard(board: Board) -> Dashboard:
    """As Grafana writes it."""
    made = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(["rubricd"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .build()
    )
    made.timezone = "browser"
    made.links = [
        DashboardLink(
            "rubricd", DashboardLinkType.DASHBOARDS, tags=["rubricd"], include_vars=True, keep_time=True, icon=""
        )
    ]
    made.templating.list_val = [_source(), _job(), _namespace(), _instance(), *board.variables]
    made.panels = [*_placed(board.rows)]
    return made


def _placed(rows: Sequence[Row]) -> Iterator[Panel | RowPanel]:
    cursor = _Cursor()
    for row in rows:
        header = RowPanel(collapsed=row.closed, title=row.title, id_val=cursor.number)
        header.grid_pos = GridPos(h=1, w=COLUMNS, x=0, y=cursor.y)
        cursor = _Cursor(cursor.y + 1, cursor.number + 1)
        panels, cursor = _filled(row.cards, cursor)
        header.panels = panels if row.closed else []
        yield header
        if row.closed:
            cursor = replace(cursor, y=header.grid_pos.y + 1)
        else:
            yield from panels


def _filled(cards: Sequence[Card], cursor: _Cursor) -> tuple[list[Panel], _Cursor]:
    """The cards from left to right and down, and what comes after them."""
    panels: list[Panel] = []
    x, y, highest = 0, cursor.y, 0
    for place, card in enumerate(cards):
        if x + card.width > COLUMNS:
            x, y, highest = 0, y + highest, 0
        made = panel(card, cursor.number + place)
        made.grid_pos = GridPos(h=card.height, w=card.width, x=x, y=y)
        panels.append(made)
        x, highest = x + card.width, max(highest, card.height)
    return panels, _Cursor(y + highest, cursor.number + len(cards))


def _source() -> VariableModel:
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus").build()


def _job() -> VariableModel:
    """One at a time: two deployments have two judges."""
    return query_variable("job", "Job", "label_values(rubricd_ready, job)").multi(False).build()


def _namespace() -> VariableModel:
    """Kubernetes' one; elsewhere there is none, which `.*` allows."""
    return every(query_variable("namespace", "Namespace", 'label_values(rubricd_ready{job="$job"}, namespace)'))


def _instance() -> VariableModel:
    return every(
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


def every(variable: builders.QueryVariable | builders.CustomVariable) -> VariableModel:
    """Several may be chosen, at first all."""
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".*").current(everything).build()
