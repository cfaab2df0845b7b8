"""A dashboard drawn by us from its panels' answers, where there is no Grafana: the same places, units, legends and
colours, of Grafana's dark theme. Closed rows are drawn open.

Always true: what is drawn is what the panel's own queries found, and nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from loadtests.dashboards.drawing import draw_panel
from loadtests.dashboards.panels import Answered, Looked
from loadtests.dashboards.theme import GROUND, PANEL, TEXT, WEAK

COLUMNS, WIDTH = 24, 1500
UNIT, GAP, TOP, DPI = 38, 8, 34, 100
"""Pixels: a grid's row, the room between panels, the page's title."""


def draw(looked: Looked, path: Path) -> None:
    """Raises OSError where the picture cannot be written."""
    placed = [*_places(looked.answers)]
    height = TOP + GAP + UNIT * max(y + h for _, (_, y, _, h) in placed)
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=GROUND)
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, WIDTH), ylim=(height, 0))
    page.axis("off")
    title = f"rubricd / {looked.answers[0].panel.board}"
    page.text(GAP + 4, TOP / 2, title, color=TEXT, fontsize=12, va="center", weight="bold")
    seconds = round(looked.shown.end - looked.shown.start)
    page.text(WIDTH - GAP - 4, TOP / 2, f"the last {seconds} s", color=WEAK, fontsize=9, va="center", ha="right")
    for what, (x, y, w, h) in placed:
        left, upper = GAP + x * (WIDTH - GAP) / COLUMNS, TOP + y * UNIT
        width, tall = w * (WIDTH - GAP) / COLUMNS - GAP, h * UNIT - GAP
        if isinstance(what, str):
            page.text(left, upper + tall / 2, f"⌄ {what}", color=TEXT, fontsize=10, va="center", weight="bold")
            continue
        _frame(page, what, left, upper, width, tall)
        place = (left / WIDTH, 1 - (upper + tall) / height, width / WIDTH, tall / height)
        draw_panel(figure, place, (width, tall), what, looked.shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    with BytesIO() as whole:
        figure.savefig(whole, dpi=DPI)
        with Image.open(whole) as picture:
            smaller = picture.convert("RGB").quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            smaller.save(path, optimize=True)


Box = tuple[int, int, int, int]


def _places(answers: Sequence[Answered]) -> Iterator[tuple[Answered | str, Box]]:
    """Rows and panels with x, y, width and height in the grid, as if every row were open."""
    row, offset, end = "", 0, 0
    for answer in answers:
        grid: Mapping[str, Any] = answer.panel.drawn["gridPos"]
        if answer.panel.row != row:
            row, offset = answer.panel.row, end + 1 - grid["y"]
            yield row, (0, end, COLUMNS, 1)
        y = grid["y"] + offset
        end = max(end, y + grid["h"])
        yield answer, (grid["x"], y, grid["w"], grid["h"])


def _frame(page: Axes, answer: Answered, left: float, upper: float, width: float, tall: float) -> None:
    page.add_patch(
        FancyBboxPatch(
            (left, upper), width, tall, boxstyle="round,pad=0,rounding_size=3", facecolor=PANEL, edgecolor="#24272d"
        )
    )
    page.text(left + 9, upper + 14, answer.panel.title, color=TEXT, fontsize=9, va="center", weight="bold")
