"""Runs `rubricd doctor`: says what stands between this machine and a judge service, and what to do about it."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import httpx

from trainer_client.cli.doctor_checks import Asked, Finding, examine
from trainer_client.cli.service_arguments import add_judge_name, add_url_and_key

DESCRIPTION = (
    "Say what stands between this machine and a judge service: proxies, TLS, reach, clocks, versions, key, the judge "
    "and its trust. Nothing is judged. Exit code: 0 no error (there may be warnings), 1 an error, 2 wrong use."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_url_and_key(parser)
    add_judge_name(parser)
    parser.add_argument("--timeout-s", type=_seconds, default=10.0, metavar="S", help="of each request (%(default)g)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 no error, 1 an error, 2 for misuse, 130 for an interrupt."""
    try:
        url = httpx.URL(args.url)
    except httpx.InvalidURL as error:
        print(f"rubricd: --url: {error}", file=sys.stderr)
        return 2
    if url.scheme not in ("http", "https") or not url.host:
        print("rubricd: --url: an address begins with http:// or https://, and names a host", file=sys.stderr)
        return 2
    key = os.environ.get(args.token_env) or None
    asked = Asked(url, key, args.token_env, _version(), args.timeout_s, args.judge)
    try:
        findings = list(examine(asked))
    except KeyboardInterrupt:
        print("rubricd: interrupted", file=sys.stderr)
        return 130
    failed = any(finding.level == "error" for finding in findings)
    if args.json:
        print(json.dumps({"url": _shown(url), "client": asked.client, "ok": not failed,
                          "findings": [asdict(finding) for finding in findings]}, indent=2))  # fmt: skip
    else:
        print(_lines(_shown(url), findings))
    return 1 if failed else 0


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError("must be above 0, and 3600 at most")
    return number


def _version() -> str | None:
    try:
        return version("rubricd")
    except PackageNotFoundError:
        return None


def _shown(url: httpx.URL) -> str:
    """Without user and password."""
    return str(url.copy_with(userinfo=b""))


def _lines(url: str, findings: Sequence[Finding]) -> str:
    width = max((len(finding.check) for finding in findings), default=0)
    lines = [url]
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.check:<{width}}  {finding.detail}")
        if finding.advice:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.advice}")
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    return "\n".join([*lines, f"{errors} error(s), {warnings} warning(s)"])
