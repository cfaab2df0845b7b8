"""Writes the reference pages of the documentation's site from the code, for `tools/docs_site.py`.

Guarantees: each row of a page is read from what the product itself uses: its settings, its models, its parsers, its
registry of metrics, its tree of errors and its alerts.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from service.__main__ import parser as service_parser
from service.api.problems import STATUS, TITLES
from service.observability import Telemetry
from tools import python_page, settings_table, training_tables
from tools.python_page import cell
from trainer_client.cli import exit_codes
from trainer_client.cli import main as command

ROOT = Path(__file__).resolve().parents[1]
_HELP_WIDTH = 100
_WROTE = "Written by `make docs` from the code.\n"


def pages() -> Mapping[str, str]:
    """The pages by their paths within the site, as Markdown."""
    made: dict[str, Callable[[], str]] = {
        "reference/wire.md": wire,
        "reference/settings.md": settings,
        "reference/command-line.md": command_line,
        "reference/metrics.md": metrics,
        "reference/errors.md": errors,
        "reference/alerts.md": alerts,
        "reference/run-file.md": run_file,
        "reference/python.md": lambda: python_page.page(_WROTE),
    }
    return {path: page() for path, page in made.items()}


def settings() -> str:
    return (
        f"# Settings\n\n{_WROTE}\nEach setting is a flag of `python -m service serve`, and an environment variable "
        f"with `RUBRICD_` before its name: `port` is `--port` and `RUBRICD_PORT`. "
        f"[operations.md](../operate/operations.md) "
        f"explains what they do together.\n\n{settings_table.tables()}"
    )


def run_file() -> str:
    return (
        f"# The run file\n\n{_WROTE}\nThe file that `rubricd train` reads. "
        f"[training.md](../guide/training.md) explains it.\n\n## Fields\n\n"
        f"{training_tables.fields()}\n## Presets\n\n{training_tables.presets()}"
        f"\n## Settings of TRL\n\n{training_tables.trl()}"
    )


def metrics() -> str:
    telemetry = Telemetry()
    told = dict(re.findall(r"^# HELP (\w+) (.+)$", telemetry.exposition().decode(), re.M))
    kinds = re.findall(r"^# TYPE (rubricd_\w+) (\w+)", telemetry.exposition().decode(), re.M)
    rows = [f"| `{name}` | {kind} | {told[name]} |" for name, kind in sorted(kinds)]
    return _page("Metrics", "`GET /metrics` has them. [operations.md](../operate/operations.md#metrics) has each one's "
                 "labels and how to read it.", "metric | type | meaning", rows)  # fmt: skip


def errors() -> str:
    rows = [
        f"| `{error.code}` | {status} | {TITLES[status]} | {'yes' if error.retryable else 'no'} | {_first(error)} |"
        for error, status in sorted(STATUS.items(), key=lambda one: (one[1], one[0].code))
    ]
    return _page(
        "Errors",
        "What a request may be refused with, as problem documents (RFC 9457). The client raises an error of the same "
        "code. [operations.md](../operate/operations.md#errors-of-a-request) says what to do.",
        "code | status | title | may be retried | meaning",
        rows,
    )


def alerts() -> str:
    groups = YAML(typ="safe").load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    rows = [
        f"| [{rule['alert']}](../operate/runbook.md#{rule['alert'].lower()}) | {rule['labels']['severity']} "
        f"| {rule.get('for', '')} | {_plain(rule['annotations']['description'])} |"
        for group in groups
        for rule in group["rules"]
    ]
    return _page(
        "Alerts",
        "The rules of `deploy/prometheus/alerts.yml`. Each name leads to what to do.",
        "alert | severity | after | meaning",
        rows,
    )


def command_line() -> str:
    """Every command's help, of `rubricd` and of the service."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in exit_codes.MEANINGS.items())
    found = "".join(f"| `rubricd {name}` | {meaning} |\n" for name, meaning in exit_codes.FINDINGS.items())
    parts = [
        f"# Command line\n\n{_WROTE}\n## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}\n"
        f"| command | what exit code 1 means |\n|---|---|\n{found}"
    ]
    parts += [f"## {name}\n\n```text\n{_help(parser)}```\n" for name, parser in _parsers()]
    return "\n".join(parts)


def _parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command and subcommand with its parser, in the order of the help."""
    yield from commands_below("rubricd", command.parser(command.ALL))
    yield from commands_below("python -m service", service_parser())


def commands_below(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The command itself and every subcommand, by full name, in the order of the help."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, own in action.choices.items():
                yield from commands_below(f"{name} {inner}", own)


def _help(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=_HELP_WIDTH)
    return parser.format_help()


def wire() -> str:
    """The routes and the models of the HTTP contract."""
    document = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
    routes = [
        f"| `{method.upper()} {path}` | {_sentence(operation)} |"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    page = _page(
        "The wire",
        "The HTTP contract, which `openapi.json` has in full. Models stand below in the order of their names.",
        "route | what it does",
        routes,
    )
    return page + "".join(_model(name, schema) for name, schema in document["components"]["schemas"].items())


def _sentence(operation: Mapping[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    return re.split(r"(?<=\.) ", cell(text))[0]


def _model(name: str, schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        f"| `{field}` | {_kind(kind)} | {'yes' if field in required else ''} | {cell(kind.get('description', ''))} |\n"
        for field, kind in schema.get("properties", {}).items()
    ]
    table = f"\n| field | type | required | meaning |\n|---|---|---|---|\n{''.join(rows)}" if rows else ""
    return f"\n## {name}\n\n{cell(schema.get('description', ''))}\n{table}"


def _kind(schema: Mapping[str, Any]) -> str:
    """A type in a few words, with a link where it is a model of its own."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if variants := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_kind(one) for one in variants)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _page(title: str, about: str, head: str, rows: list[str]) -> str:
    rule = "|".join("---" for _ in head.split("|"))
    return f"# {title}\n\n{_WROTE}\n{about}\n\n| {head} |\n|{rule}|\n" + "\n".join(rows) + "\n"


def _first(error: type) -> str:
    """The docstring's text, or what the tree of errors says."""
    if own := error.__dict__.get("__doc__"):
        return cell(own)
    from service import errors as tree

    line = re.search(rf"─ {error.__name__} +(.+)", tree.__doc__ or "")
    return cell(line.group(1)) if line else ""


def _plain(text: str) -> str:
    """An alert's words without the template's marks."""
    return cell(re.sub(r"\{\{ ?\$labels\.(\w+) ?\}\}", r"(\1)", re.sub(r"\{\{ ?\$value[^}]*\}\}", "(value)", text)))
