"""Serves `/docs`: a reference page of `POST /v1/score` for people, generated from the wire models.

Guarantees: the page needs no network, no script and no other file; a browser runs none on it.
"""

import functools
import html
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse

from service.api.pages import FOLDER
from service.api.pages.headers import headers_of
from trainer_client import wire
from trainer_client.pages.assembly import style

DOCS_ROUTE = "/docs"
RULES: tuple[type[BaseModel], ...] = (
    wire.MathVerify,
    wire.Regex,
    wire.Contains,
    wire.Choice,
    wire.Length,
    wire.JsonSchema,
    wire.Exact,
)
_STYLE = style(FOLDER, "shared/palette.css", "reference.css")
_PROSE = """
<h2 id="signs">Points, polarity, categories and tags</h2>
<p>A criterion with <code>points</code> above 0 is wanted, one below 0 is a fault that costs its points when it is met,
and one with 0 is judged and reported, and never counted. <code>polarity</code> overrides the sign where a data set's
convention is wrong; it never changes the size.</p>
<p><code>category</code> is essential, important, optional or pitfall. The tag <code>category</code> and a text that
begins with, say, <code>Essential Criteria: </code> mean the same; the field and the tag go before the text.
Aggregation <code>rar_explicit</code> weighs by category, and <code>gated</code> needs every essential criterion.
A tag named by an aggregation's options groups criteria or makes them a condition.</p>
<p><code>tags</code> are a dict, or a list of <code>"key:value"</code>. RuscaRL's tags <code>verifier:rule</code>,
<code>function:…</code> and <code>parameters:…</code> name a verifier.</p>
"""


async def reference(request: Request) -> HTMLResponse:
    page = _page()
    return HTMLResponse(page, headers=headers_of(page))


@functools.cache
def _page() -> str:
    sent = _schemas("validation", wire.ScoreRequest, wire.Item, wire.Rubric, wire.Criterion)
    rules = {model.__name__: sent.pop(model.__name__) for model in RULES}
    answered = _schemas("serialization", wire.ScoreResponse, wire.Result, wire.CriterionResult, wire.Problem)
    example = json.dumps(wire.ScoreRequest.model_json_schema()["examples"][0], indent=2, ensure_ascii=False)
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8"><title>rubricd: POST /v1/score</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
        f"<style>{_STYLE}</style>",
        "<main><h1>POST /v1/score</h1>",
        '<p>The same as a machine reads it, with every other route: <a href="openapi.json">openapi.json</a>. '
        'Try it on <a href="./">the playground</a>.</p>',
        f"<pre>{html.escape(example)}</pre>",
        "<h2>What is sent</h2>",
        *itertools.starmap(_table, sent.items()),
        _PROSE,
        "<h2>Verifiers</h2><p>A rule that decides a criterion instead of the judge.</p>",
        *itertools.starmap(_table, rules.items()),
        "<h2>What is answered</h2>",
        *itertools.starmap(_table, answered.items()),
        "</main></html>",
    ]
    return "\n".join(parts)


def _schemas(mode: JsonSchemaMode, *models: type[BaseModel]) -> dict[str, Any]:
    """The schemas of these models, in their order, and then of all that they refer to."""
    _, document = models_json_schema([(model, mode) for model in models])
    found: dict[str, Any] = document["$defs"]
    return {model.__name__: found[model.__name__] for model in models} | found


def _table(name: str, schema: Mapping[str, Any]) -> str:
    rows = "".join(_rows(schema, frozenset(schema.get("required", ()))))
    about = _code(schema.get("description", ""))
    return f'<h3 id="{name}">{name}</h3><p>{about}</p><table><tr><th>field<th>type<th>meaning</tr>{rows}</table>'


def _rows(schema: Mapping[str, Any], required: frozenset[str]) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        default = field.get("default")
        notes = "Required. " if name in required else "" if default in (None, {}, []) else f"Default `{default}`. "
        about = _code(notes + field.get("description", ""))
        yield f"<tr><td><code>{html.escape(name)}</code><td>{_type(field)}<td>{about}</tr>"


def _type(field: Mapping[str, Any]) -> str:
    """The field's type in words, as HTML. A model is a link to its table."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if "const" in field or "enum" in field:
        return ", ".join(f"<code>{html.escape(str(one))}</code>" for one in field.get("enum", [field.get("const")]))
    if "anyOf" in field or "oneOf" in field:
        return " or ".join(dict.fromkeys(_type(one) for one in field.get("anyOf", field.get("oneOf"))))
    if field.get("type") == "array":
        inner = field.get("items", {})
        return f"list of {_type(inner)}" if inner else "list"
    bounds = [f"{words} {field[key]:g}" for key, words in _BOUNDS.items() if key in field]
    return html.escape(" ".join([str(field.get("type", "any")), *([f"({', '.join(bounds)})"] if bounds else [])]))


_BOUNDS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "minLength": "at least",
    "maxLength": "at most",
}


def _code(text: str) -> str:
    """Text as HTML; what stands in backticks is code."""
    pieces = html.escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))
