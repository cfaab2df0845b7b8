"""Writes the dashboards as Grafana reads them (`python -m deploy.grafana`)."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import judge, service, teams
from deploy.grafana.board import Board, dashboard

BOARDS = (service.BOARD, teams.BOARD, judge.BOARD)
FOLDER = Path(__file__).resolve().parent / "dashboards"


def written(board: Board) -> str:
    """The dashboard's JSON; the same text each time."""
    return json.dumps(dashboard(board), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def file(board: Board) -> Path:
    return FOLDER / f"{board.uid.removeprefix('rubricd-')}.json"


def main() -> int:
    for board in BOARDS:
        file(board).write_text(written(board), encoding="utf-8")
        print(f"{file(board)}: {sum(len(row.panels) for row in board.rows)} panels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
