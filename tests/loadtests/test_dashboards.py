"""How the check of the dashboards reads them, what it calls empty, and how it ends."""

import json
import sys
from math import nan
from pathlib import Path
from typing import Any

import pytest

from loadtests.dashboards import __main__
from loadtests.dashboards.panels import look, report
from testkit.dashboard_queries import Shown
from testkit.processes import Failed
from testkit.prometheus import Prometheus, Series


class Answering(Prometheus):
    """Knows every series that is not called `gone`; `never` is not a number."""

    def query_range(self, expr: str, start: float, end: float, step_s: float) -> list[Series]:
        if expr.startswith("count(gone"):
            return []
        return [Series({"asked": f"{expr} {start:g}-{end:g}/{step_s:g}"}, ((end, nan if "never" in expr else 1.0),))]


def _drawn(title: str, *exprs: str, instant: bool = False) -> dict[str, Any]:
    targets = [{"refId": "AB"[place], "expr": expr, "instant": instant} for place, expr in enumerate(exprs)]
    return {"type": "stat", "title": title, "targets": targets}


def _board(path: Path, *panels: dict[str, Any]) -> Path:
    variables = {"list": [{"name": "job"}, {"name": "datasource"}]}
    path.write_text(json.dumps({"title": "x: Board", "templating": variables, "panels": panels}))
    return path


def test_a_panel_is_empty_where_a_query_has_no_number_or_reads_what_is_not_there(tmp_path: Path) -> None:
    shut = {"type": "row", "title": "shut", "panels": [_drawn("inside", "never{}")]}
    path = _board(
        tmp_path / "board.json",
        _drawn("fine", 'here{job="$job"}', "here{}"),
        _drawn("hidden", "here{}", 'gone{a="b"} or vector(0)'),
        _drawn("table", "here{}[$__range]", instant=True),
        shut,
    )
    found = look(Answering("nowhere"), path, Shown(100, 400, 5, 15))
    assert report([found]) == "\n".join(
        (
            'Board / hidden: B reads nothing: gone{a="b"}',
            "Board / inside: A shows nothing: never{}",
            "2 of 4 panels are empty",
        )
    )
    asked = {one.panel.title: one.found[0][0].labels["asked"] for one in found.answers}
    assert asked["fine"] == 'here{job="rubricd"} 100-400/5'
    assert asked["table"] == "here{}[300000ms] 400-400/5"


@pytest.mark.parametrize(("expr", "status", "last"), [("here{}", 0, "0 of 1"), ("gone{} or vector(0)", 1, "1 of 1")])
def test_the_last_line_counts_the_empty_and_the_status_says_whether_there_are_any(
    expr: str,
    status: int,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = _board(tmp_path / "board.json", _drawn("one", expr))
    found = look(Answering("nowhere"), path, Shown(100, 400, 5, 15))
    monkeypatch.setattr(__main__, "check", lambda files, seconds, folder: [found])
    monkeypatch.setattr(sys, "argv", ["check_dashboards"])
    assert __main__.main() == status
    assert capsys.readouterr().out.splitlines()[-1] == f"{last} panels are empty"


def test_services_that_do_not_start_end_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(files: object, seconds: float, folder: Path) -> None:
        raise Failed("it ended; its log ends: out of memory")

    monkeypatch.setattr(__main__, "check", fails)
    monkeypatch.setattr(sys, "argv", ["check_dashboards"])
    assert __main__.main() == 1
    assert "out of memory" in capsys.readouterr().err
