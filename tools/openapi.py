"""Writes docs/openapi.json: the API's description as the service serves it at `/openapi.json`.

python -m tools.openapi
"""

import json
from pathlib import Path

from service.app import create_app
from service.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"


def written() -> str:
    return json.dumps(create_app(Settings()).openapi(), indent=1) + "\n"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
