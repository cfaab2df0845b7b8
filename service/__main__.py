"""The one command line: `python -m service serve` runs the service, `keys` edits keys, `doctor` finds faults, `render`
writes prompts as token ids, `completion` writes a shell's completion."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_settings import CliApp, CliSettingsSource

from service import completion
from service.errors import ConfigurationError
from service.settings import Settings, unknown_variables
from service.settings.version import installed_version
from service.tenancy import keys_cli
from trainer_client.cli.output import with_output

_SERVE = "Run the service until a signal stops it. Exit status: 0 after a graceful stop, 1 when the judge cannot serve."
_DOCTOR = (
    "Look at this machine with the settings that `serve` would have, and say what is wrong and what to do. "
    "Exit status: 1 when the service could not start."
)
_RENDER = (
    "Read items from standard input, a JSON object a line, and write the prompts of mode `verdict` as token ids, with "
    "the settings that `serve` would have; for `rubricd distill`. It loads the tokenizer alone."
)
_ENVIRONMENT = (
    "Each flag is also an environment variable: --max-batch-tokens is RUBRICD_MAX_BATCH_TOKENS. Flags win. Secrets "
    "belong in the environment, because every user of the machine can see flags."
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command. 2 for flags or settings that make no sense, before anything is loaded, and 130
    where it is interrupted before it serves."""
    return with_output(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    whole, sources = _parser()
    known, unknown = whole.parse_known_args(argv)
    flags = vars(known)
    command = flags.pop("command")
    if flags.pop("version"):
        print(f"rubricd {installed_version() or '(not installed)'}")
        return 0
    if unknown:
        whole.error(_unknown_flag(unknown[0]))
    if command is None:
        whole.print_help(sys.stderr)
        return 2
    if command == "keys":
        return keys_cli.run(argparse.Namespace(**flags))
    if command == "completion":
        return completion.run(whole, flags["shell"])
    as_json = flags.pop("json", False)
    misspelt = [(name, near) for name, near in unknown_variables(Settings.model_fields).items() if near is not None]
    for name, near in misspelt:
        print(f"rubricd does not start: {name} is no setting; did you mean {near}?", file=sys.stderr)
    if misspelt:
        return 2
    try:
        settings = CliApp.run(Settings, cli_args=argparse.Namespace(**flags), cli_settings_source=sources[command])
        # Imported only now: neither help nor `keys` waits for the web framework.
        if command == "doctor":
            from service.doctor import doctor

            return doctor(settings, json=as_json)
        if command == "render":
            from service.render import render

            return render(settings, sys.stdin, sys.stdout)
        from service.server import serve

        return serve(settings)
    except ValidationError as error:
        print(f"rubricd does not start: {_wrong(error)}", file=sys.stderr)
        return 2
    except ConfigurationError as error:
        print(f"rubricd does not start: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The parser of the command and its subcommands."""
    return _parser()[0]


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, CliSettingsSource[Any]]]:
    """The parser, and by command where its settings come from."""
    whole = argparse.ArgumentParser(prog="python -m service", description="The rubric reward server.")
    whole.add_argument("--version", action="store_true", help="print the version and end")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    sources: dict[str, CliSettingsSource[Any]] = {}
    for name, summary, description in (
        ("serve", "run the service", _SERVE),
        ("doctor", "say what would stop the service on this machine, and what to do", _DOCTOR),
        ("render", "write the prompts of items as token ids", _RENDER),
    ):
        command = commands.add_parser(
            name, help=summary, description=description, epilog=_ENVIRONMENT, allow_abbrev=False
        )
        if name == "doctor":
            command.add_argument("--json", action="store_true", help="print the findings as JSON")
        sources[name] = CliSettingsSource(Settings, root_parser=command)
    keys_cli.add_arguments(commands.add_parser("keys", help="make, list and revoke teams' keys"))
    completion.add_arguments(commands.add_parser("completion", help="print a shell's completion"))
    return whole, sources


def _unknown_flag(flag: str) -> str:
    name = flag.partition("=")[0]
    near = get_close_matches(name, [f"--{one.replace('_', '-')}" for one in Settings.model_fields], n=1)
    return f"unknown argument {name}{f'; did you mean {near[0]}?' if near else ''}"


def _wrong(error: ValidationError) -> str:
    """Each setting that is wrong, without its value: a URL may hold a password."""
    return "; ".join(
        f"`{'.'.join(map(str, one['loc']))}`: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_input=False)
    )


if __name__ == "__main__":
    sys.exit(main())
