"""Writes the JSON schema of `judges.yaml` from its models: `make judges-schema`."""

import json
from pathlib import Path

from service.settings.deployment import JudgesFile

PAGE = Path(__file__).resolve().parents[1] / "docs" / "judges.schema.json"


def written() -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "judges.yaml",
        **{name: value for name, value in JudgesFile.model_json_schema().items() if name != "title"},
    }
    engine = schema["$defs"]["EngineJudge"]["properties"]
    engine.pop("remote_key")  # refused in a file
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
