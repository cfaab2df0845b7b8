"""Writes the reference page of the HTTP contract from `docs/openapi.json`: its routes, and the models of their bodies.

Guarantees: a model stands behind the one that first uses it, in the order of the routes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.python_page import cell

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
Schema = Mapping[str, Any]
_REFERENCE = re.compile(r'"#/components/schemas/(\w+)"')


def page(wrote: str) -> str:
    """The page as Markdown."""
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    models = document["components"]["schemas"]
    operations = [
        (f"{m.upper()} {path}", one) for path, methods in document["paths"].items() for m, one in methods.items()
    ]
    routes = "".join(
        f"| `{route}` | {_sentence(one)} | {_links(one.get('requestBody'))} | {_links(_answered(one))} |\n"
        for route, one in operations
    )
    parts = [part for _, one in operations for part in (one.get("requestBody"), one["responses"]) if part is not None]
    ordered = list(dict.fromkeys(name for part in parts for name in _used(part, models)))
    ordered += [name for name in models if name not in ordered]
    return (
        f"# The wire\n\n{wrote}\nThe HTTP contract, which `openapi.json` has in full; a running service shows it at "
        "`/docs`. The routes of other trainers and of typed decisions are in [protocols.md](../guide/protocols.md). A "
        "refusal is a [Problem](#problem), and [errors.md](errors.md) lists them.\n\n"
        f"| route | what it does | body | answer |\n|---|---|---|---|\n{routes}"
        + "".join(_model(name, models[name]) for name in ordered)
    )


def _answered(operation: Schema) -> Schema | None:
    responses: Mapping[str, Schema] = operation["responses"]
    return responses.get("200")


def _links(part: Schema | None) -> str:
    return ", ".join(f"[{name}](#{name.lower()})" for name in dict.fromkeys(_REFERENCE.findall(json.dumps(part))))


def _used(part: Schema, models: Mapping[str, Schema], seen: set[str] | None = None) -> Iterator[str]:
    """The models that it names, each followed by those that it uses."""
    seen = set() if seen is None else seen
    for name in _REFERENCE.findall(json.dumps(part)):
        if name not in seen and name != "Problem":
            seen.add(name)
            yield name
            yield from _used(models[name], models, seen)


def _sentence(operation: Schema) -> str:
    text = operation.get("description") or operation.get("summary", "")
    return re.split(r"(?<=\.) ", cell(text))[0]


def _model(name: str, schema: Schema) -> str:
    required = set(schema.get("required", ()))
    rows = [
        f"| `{field}` | {_kind(kind)} | {'required' if field in required else _default(kind)} "
        f"| {cell(kind.get('description', ''))} |\n"
        for field, kind in schema.get("properties", {}).items()
    ]
    table = f"\n| field | type | default | meaning |\n|---|---|---|---|\n{''.join(rows)}" if rows else ""
    return f"\n## {name}\n\n{cell(schema.get('description', ''))}\n{table}"


def _default(schema: Schema) -> str:
    return f"`{json.dumps(schema['default'], ensure_ascii=False)}`" if "default" in schema else ""


def _kind(schema: Schema) -> str:
    """A type in a few words, with a link where it is a model of its own."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if variants := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_kind, variants))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))
