"""Writes the table of settings in docs/operate/operations.md from the settings themselves: `make settings`."""

import json
import re
from pathlib import Path

from service.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operate" / "operations.md"
HEAD = "| setting | default | meaning |\n|---|---|---|\n"


def table() -> str:
    rows = [
        f"| `{name}` | {'' if field.default is None else f'`{json.dumps(field.default)}`'} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(re.escape(HEAD) + r"(\|.*\n)+", lambda _: table(), page, count=1), encoding="utf-8")
