"""Says in one plain sentence what the contract refuses in a row: the field as the row calls it, what is there, what to
write.

Guarantees: no sentence of pydantic's is shown.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.data.records import RowError, mapping, place, shown

_NAMES = {"text": ("text", "criterion", "description"), "points": ("points", "weight")}
"""For a field of the contract, the names that a criterion may have for it."""
_RULES = "math_verify, regex, contains, choice, length, json_schema, exact"
_WANTED = {
    "prompt": "a text or a list of {role, content}",
    "rubric": "a list of criteria like {text, points}",
    "response": "a text",
    "points": "a number",
    "weight": "a number",
    "tags": 'a list of texts "key:value", or an object of texts',
    "verifier": 'an object like {"rule": "contains", "text": "..."}',
    "rule": f"one of {_RULES}",
}
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "union_tag_not_found": f'an object like {{"rule": "contains", "text": "..."}}, with one of the rules {_RULES}',
    "union_tag_invalid": f"one of the rules {_RULES}",
    "string_pattern_mismatch": "one letter, A to Z",
    "missing": "one",
}
_THEIRS = ("criterion", "description", "title", "weight", "rule", "gold", "schema")
_KNOWN = sorted({*wire.Item.model_fields, *wire.Criterion.model_fields, *wire.Message.model_fields, *_THEIRS})


def item(fields: Mapping[str, Any], names: Mapping[str, str]) -> wire.Item:
    """The item with these fields; `names` gives the row's own name for a field. Raises RowError."""
    try:
        return wire.Item.model_validate(fields)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A field that may have several types has an error for each; the longest place is the type that was meant.
        field = errors[0]["loc"][:1]
        meant = max((one for one in errors if one["loc"][:1] == field), key=lambda one: len(one["loc"]))
        raise RowError(_sentence(meant, fields, names)) from None


def _sentence(error: Any, fields: Mapping[str, Any], names: Mapping[str, str]) -> str:
    path, value = _walk(error["loc"], fields)
    if error["type"] == "missing":
        path.append(_own_name(str(error["loc"][-1]), value))
        value = None
    named = [names.get(str(path[0]), path[0]), *path[1:]] if path else []
    where = f"`{place(*named)}`" if named else "the row"
    return f"{where}: {_problem(error, path, value)}"


def _walk(loc: tuple[str | int, ...], fields: Any) -> tuple[list[str | int], Any]:
    """The path of a place in the row's own names, and the value there. What the row does not have is a name of a type,
    or a field that is missing; both are left out."""
    path: list[str | int] = []
    value = fields
    for part in loc:
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            path.append(part)
            value = value[part]
        elif isinstance(value, Mapping) and (name := _own_name(str(part), value)) in value:
            if name != "criteria":
                path.append(name)
            value = value[name]
    return path, value


def _own_name(part: str, parent: Any) -> str:
    """The name that the row has for a field; for one that it lacks, the name that goes with its others."""
    known = _NAMES.get(part, (part,))
    found = [name for name in known if name in mapping(parent)]
    if found:
        return found[0]
    return "weight" if part == "points" and "description" in mapping(parent) else part


def _problem(error: Any, path: list[str | int], value: Any) -> str:
    kind, context, last = error["type"], error.get("ctx", {}), path[-1] if path else ""
    wanted = _WANTED.get(str(last)) or _KINDS.get(kind)
    match kind:
        case "missing":
            return f"is missing; give {wanted}"
        case "extra_forbidden":
            near = get_close_matches(str(last), [name for name in _KNOWN if name != last], n=1, cutoff=0.7)
            return f"is not known here; did you mean `{near[0]}`?" if near else "is not known here; leave it out"
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"is {shown(value)}; write one of {context['expected']}"
        case "string_too_short" | "too_short":
            return "is empty; write something, or leave the field out"
        case "string_too_long" | "too_long":
            return f"is {shown(value)} and too long; at most {context['max_length']} are taken"
        case "greater_than_equal":
            return f"is {shown(value)}; write at least {context['ge']:g}"
        case "less_than_equal":
            return f"is {shown(value)}; write at most {context['le']:g}"
    return f"is {shown(value)}; write {wanted or 'another value'}"
