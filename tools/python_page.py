"""Writes the reference page of the Python API from the client's own source: signatures, docstrings, options and errors.

Guarantees: a signature is printed as the source has it, so that types have their short names; an option has the
sentence of the contract's field.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, is_typeddict

import trainer_client
from trainer_client import errors, wire

OTHERS: Mapping[str, tuple[str, ...]] = {
    "trainer_client.http.rubrics": ("RubricCalls",),
    "trainer_client.data.items": ("read_items",),
    "trainer_client.data.rows": ("Row", "read_rows"),
    "trainer_client.labels": ("read_labels", "judge_labels"),
    "trainer_client.reward_client": ("why_missing",),
    "trainer_client.scaffold": ("Scaffold",),
    "trainer_client.perturbation.rubrics": ("perturbed",),
    "trainer_client.ledger.entries": ("digest", "turns_digest", "response_digest"),
    "trainer_client.verl.rows": ("to_parquet", "AGENT"),
    "trainer_client.verl.recipe": ("overrides", "agent_loops"),
    "trainer_client.verl.reward": ("compute_score",),
}
"""What the pages and the examples import from modules, which `trainer_client` itself does not name."""
ROOT = Path(__file__).resolve().parents[1]
FIRST = ("JudgeClient", "SyncJudgeClient", "Outcome", "Scored", "Failed", "reward", "reward_function", "score_table")
"""What most people look for stands at the top of the page, in this order."""
_OPTIONS: Mapping[str, type[Any]] = {"ScoreOptions": wire.ScoreRequest, "CompareOptions": wire.CompareRequest}
_ALIKE = re.compile(r"As `JudgeClient\.\w+`\.$")
_WIDTH = 100


def page(wrote: str) -> str:
    """The page as Markdown."""
    parts = [
        f"# Python\n\n{wrote}\n[client.md](../guide/client.md) says how to install and use it. The models "
        "of `trainer_client.wire` are those of [the wire](wire.md). A name that ends in `_s` is in seconds.\n"
    ]
    for name in sorted(trainer_client.__all__, key=lambda one: FIRST.index(one) if one in FIRST else len(FIRST)):
        if not inspect.ismodule(found := getattr(trainer_client, name)):
            parts.append(_section("##", name, found))
    parts.append(f"## Errors\n\nThey are in `trainer_client.errors`.\n\n{_errors()}")
    parts.append("## Modules\n\nWhat the pages and the examples import beside these names.\n")
    for module, names in OTHERS.items():
        for name in names:
            found = getattr(import_module(module), name)
            parts.append(_section("###", name, found, f"`from {module} import {name}`\n\n"))
    return "\n".join(parts)


def _section(level: str, name: str, found: Any, before: str = "") -> str:
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return f"{level} {name}\n\n{before}`{re.sub(r'[a-z_]+[.]', '', repr(found))}`\n"
    text = f"{level} {name}\n\n{before}{_described(name, found)}"
    if inspect.isclass(found) and not is_typeddict(found):
        same = [own for own, value in _members(found) if _ALIKE.match(inspect.getdoc(value) or "")]
        if same:
            text += f"\nAs those of `JudgeClient`: {', '.join(f'`{own}`' for own in same)}.\n"
        text += "".join(
            f"\n{level}# {name}.{own}\n\n{_described(own, value)}" for own, value in _members(found) if own not in same
        )
    return text


def _members(found: type) -> Iterator[tuple[str, Any]]:
    for own, value in vars(found).items():
        plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not own.startswith("_") and inspect.isfunction(plain) and inspect.getdoc(plain):
            yield own, value


def _described(name: str, found: Any) -> str:
    if is_typeddict(found):
        return f"{inspect.getdoc(found)}\n\n{_options(found, _OPTIONS[name])}"
    plain = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    text = f"{_signature(name, found)}{inspect.getdoc(plain) or ''}\n"
    if inspect.isclass(found) and dataclasses.is_dataclass(found):
        text += "".join(f"\n- `{field}`: {said}" for field, said in _fields(found).items()) + "\n"
    return text


def _signature(name: str, found: Any) -> str:
    """As the source has it: of a class, of its `__init__` or its fields; of a property, what it gives."""
    if inspect.isclass(found):
        if dataclasses.is_dataclass(found):
            parameters = [_assigned(node) for node in _body(found) if isinstance(node, ast.AnnAssign)]
            return _code(f"class {name}", parameters, "")
        node = next(one for one in _body(found) if getattr(one, "name", "") == "__init__")
        return _code(f"class {name}", _parameters(node), "")
    plain: Any = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(plain))).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    gives = "" if node.returns is None else ast.unparse(node.returns).strip("'\"")
    if isinstance(found, property):
        return f"```python\n{name}: {gives}\n```\n\n"
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return _code(f"{start} {name}", _parameters(node), f" -> {gives}" if gives else "")


def _body(found: type) -> list[ast.stmt]:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(found))).body
    assert isinstance(node, ast.ClassDef)
    return node.body


def _assigned(node: ast.AnnAssign) -> str:
    value = node.value
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "field":
        made = {one.arg: one.value for one in value.keywords}
        value = made.get("default") or ast.parse(f"{ast.unparse(made['default_factory'])}()", mode="eval").body
    return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}" + (
        "" if value is None else f" = {ast.unparse(value)}"
    )


def _parameters(node: Any) -> list[str]:
    """Each parameter as text, without `self` and `cls`."""
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    found = [_parameter(*one) for one in zip(plain, defaults, strict=True) if one[0].arg not in ("self", "cls")]
    if given.posonlyargs:
        found.insert(len([one for one in given.posonlyargs if one.arg not in ("self", "cls")]), "/")
    if given.vararg:
        found.append(f"*{_parameter(given.vararg, None)}")
    elif given.kwonlyargs:
        found.append("*")
    found += [_parameter(*one) for one in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [*found, f"**{_parameter(given.kwarg, None)}"] if given.kwarg else found


def _parameter(given: ast.arg, default: ast.expr | None) -> str:
    kind = "" if given.annotation is None else f": {ast.unparse(given.annotation)}"
    equals = " = " if kind else "="
    return f"{given.arg}{kind}" + ("" if default is None else f"{equals}{ast.unparse(default)}")


def _code(start: str, parameters: list[str], end: str) -> str:
    line = f"{start}({', '.join(parameters)}){end}"
    if len(line) > _WIDTH:
        line = f"{start}(\n{''.join(f'    {one},{chr(10)}' for one in parameters)}){end}"
    return f"```python\n{line}\n```\n\n"


def _fields(found: type) -> dict[str, str]:
    """The sentences that stand under a class's fields."""
    said, before = {}, None
    for node in _body(found):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and before is not None:
            said[before] = " ".join(str(node.value.value).split())
        before = ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else None
    return said


def _options(found: type, model: type[Any]) -> str:
    rows = []
    for name in found.__annotations__:
        field = model.model_fields[name]
        default = f"`{field.default!r}`" if field.default_factory is None else ""
        rows.append(f"| `{name}` | {default} | {cell(field.description or '')} |")
    return "| option | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _errors() -> str:
    """The tree of errors, a row each, in the order of the tree."""
    rows = []
    for depth, name, said in re.findall(r"^    ([│ ]*[├└]── |)(\w+)(.*)$", errors.__doc__ or "", re.M):
        kind = getattr(errors, name)
        about = cell(re.sub(r" {2,}may be retried", "", said)) or cell(kind.__dict__.get("__doc__") or "")
        under = "&nbsp;" * 2 * (len(depth) // 4)
        rows.append(f"| {under}`{name}` | `{kind.code}` | {'yes' if kind.retryable else 'no'} | {about} |")
    return "| error | code | may be retried | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def cell(text: str) -> str:
    """The text as a cell of a table."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;").replace("[", "&#91;")
