"""Writes the reference pages of the documentation's site from the code, for `tools/docs_site.py`.

Guarantees: each row of a page is read from what the product itself uses: its settings, its models, its parsers, its
registry of metrics, its tree of errors and its alerts. What `docs/operate/operations.md` says about one of them stands
beside it, and no longer there in the site.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ruamel.yaml import YAML

from service.__main__ import parser as service_parser
from service.api.problems import STATUS
from service.observability import Telemetry
from tools import operations, python_page, settings_table, training_tables, wire_page
from tools.python_page import cell
from trainer_client.cli import exit_codes
from trainer_client.cli import main as command

ROOT = Path(__file__).resolve().parents[1]
_HELP_WIDTH = 100
_WROTE = "Written by `make docs` from the code.\n"


def pages() -> Mapping[str, str]:
    """The pages by their paths within the site, as Markdown."""
    made: dict[str, Callable[[], str]] = {
        "reference/wire.md": lambda: wire_page.page(_WROTE),
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
        f"[training.md](../guide/training.md) explains it, and [presets.md](../guide/presets.md) the presets.\n\n"
        f"## Fields\n\n{training_tables.fields()}\n## Presets\n\n{training_tables.presets()}"
        f"\n## Settings of TRL\n\n{training_tables.trl()}"
    )


def metrics() -> str:
    kinds = re.findall(r"^# TYPE (rubricd_\w+) (\w+)", Telemetry().exposition().decode(), re.M)
    written = operations.rows("Metrics")
    rows = [f"| `{name}` | {kind} | {' | '.join(written[name][1:])} |" for name, kind in sorted(kinds)]
    return _page("Metrics", "`GET /metrics` has them. [operations.md](../operate/operations.md#metrics) says who may "
                 "read it, and what its labels are.", "metric | type | labels | meaning", rows)  # fmt: skip


def errors() -> str:
    written = operations.rows("Errors of a request")
    rows = [
        f"| `{error.code}` | {status} | {'yes' if error.retryable else 'no'} | {written[error.code][1]} |"
        for error, status in sorted(STATUS.items(), key=lambda one: (one[1], one[0].code))
    ]
    rows.append(f"| `internal` | 500 | no | {written['internal'][1]} |")
    return _page(
        "Errors",
        "What a request may be refused with, as problem documents (RFC 9457) whose `type` ends in the code. The client "
        "raises an error [of the same code](python.md#errors). A criterion without a verdict is no error of the "
        "request: it has a [status](../operate/operations.md#status-of-a-criterion).",
        "code | status | may be retried | what to do",
        rows,
    )


def alerts() -> str:
    groups = YAML(typ="safe").load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    conditions = operations.rows("Alerts")
    rows = [
        f"| [{rule['alert']}](../operate/runbook.md#{rule['alert'].lower()}) | {rule['labels']['severity']} "
        f"| {conditions[rule['alert']][1]} | {_plain(rule['annotations']['description'])} |"
        for group in groups
        for rule in group["rules"]
    ]
    return _page(
        "Alerts",
        "The rules of `deploy/prometheus/alerts.yml`. Each name leads to what to do.",
        "alert | severity | condition | what it says",
        rows,
    )


def command_line() -> str:
    """Every command's help, of `rubricd` and of the service."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in exit_codes.MEANINGS.items())
    found = "".join(f"| `rubricd {name}` | {meaning} |\n" for name, meaning in exit_codes.FINDINGS.items())
    parts = [
        f"# Command line\n\n{_WROTE}\n## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}\n"
        f"| command | what exit code 1 means |\n|---|---|\n{found}\n"
        "Every command ends quietly with 1 where who reads its output leaves, as `head` does, and with 2 where its "
        "output cannot be written.\n\n"
        "`python -m service serve` ends with 0 after a graceful stop, 1 where the judge cannot serve, also for want of "
        "a file or a setting of its own, 2 where anything else of the flags, settings and files is wrong, and 130 "
        "where it is interrupted before it listens. `doctor` ends with 1 where `serve` could not start, `keys` with 2 "
        "where nothing was changed.\n"
    ]
    parts += [f"## {name}\n\n```text\n{_help(parser)}```\n" for name, parser in parsers()]
    return "\n".join(parts)


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
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


def arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str | None]]:
    """The command's own arguments and the commands below it, by name, each with its line in the help."""
    for action in parser._actions:
        below = action._choices_actions if isinstance(action, argparse._SubParsersAction) else [action]
        yield from ((one.dest, one.help) for one in below)


def _help(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=_HELP_WIDTH)
    return parser.format_help()


def _page(title: str, about: str, head: str, rows: list[str]) -> str:
    rule = "|".join("---" for _ in head.split("|"))
    return f"# {title}\n\n{_WROTE}\n{about}\n\n| {head} |\n|{rule}|\n" + "\n".join(rows) + "\n"


def _plain(text: str) -> str:
    """An alert's words without the template's marks."""
    return cell(re.sub(r"\{\{ ?\$labels\.(\w+) ?\}\}", r"(\1)", re.sub(r"\{\{ ?\$value[^}]*\}\}", "(value)", text)))
