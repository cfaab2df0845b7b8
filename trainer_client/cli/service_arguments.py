"""Holds what every command that calls the service shares: its arguments, and the words for its refusals."""

import argparse
import math
import os
from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

from trainer_client import wire
from trainer_client.errors import DataError, Forbidden, RubricdClientError, Unauthorized
from trainer_client.http.options import ScoreOptions

JUDGE = "the judge or composition, where the service names several (its first one)"
"""What `--judge NAME` is, in every command that asks one."""
_Priced = TypeVar("_Priced", bound=Hashable)


def add_service(parser: argparse.ArgumentParser) -> None:
    add_url_and_key(parser)
    parser.add_argument(
        "--concurrency", type=count, default=8, metavar="N", help="requests at the same time (%(default)s)"
    )


def add_url_and_key(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--url", default="http://127.0.0.1:8000", metavar="URL", help="address of the judge service (%(default)s)")
    add(
        "--token-env",
        default="RUBRICD_KEY",
        metavar="NAME",
        help="environment variable that holds the key (%(default)s)",
    )


def add_judge_name(add_to: argparse._ActionsContainer, *, repeated: str = "", flag: str = "--judge") -> None:
    """The name of a judge of the deployment. `repeated` says what several of them mean, where several can be."""
    kind: dict[str, Any] = {"action": "append"} if repeated else {}
    add_to.add_argument(flag, metavar="NAME", help=f"{JUDGE}{repeated and f'; {repeated}'}", **kind)


def judge_option(name: str | None) -> ScoreOptions:
    """The name as an option of a request. Without one it names no judge, which older services understand, too."""
    return {} if name is None else {"judge": name}


def composed_of(info: wire.JudgeInfo) -> str:
    """Names a composition and its members, for a command that is about single judges; empty for one of these."""
    members = info.judges[0].members if info.judges else None
    return f"judge `{info.name}` is composed of {', '.join(f'`{one.name}`' for one in members)}" if members else ""


def add_prices(parser: argparse.ArgumentParser) -> None:
    """What judges cost: one price for all of them, or one for each in their order."""
    for side, verb in (("in", "reads"), ("out", "writes")):
        parser.add_argument(
            f"--price-{side}",
            action="append",
            type=float,
            metavar="MONEY",
            help=f"price of a million tokens that a judge {verb}; repeated: one for each judge",
        )


def prices_of(args: argparse.Namespace, judges: Sequence[_Priced]) -> dict[_Priced, tuple[float | None, float | None]]:
    """By judge. Raises DataError where there are neither one nor as many as judges."""
    sides = []
    for side in ("in", "out"):
        given = getattr(args, f"price_{side}") or [None]
        if len(given) not in (1, len(judges)):
            raise DataError(
                f"--price-{side}: give one price, or one for each of the {len(judges)} judges (each --url, and each "
                "--judge of it)"
            )
        if any(price is not None and not 0 <= price < math.inf for price in given):
            raise DataError(f"--price-{side}: a price is a number from 0 on")
        sides.append(given * len(judges) if len(given) == 1 else given)
    return dict(zip(judges, zip(*sides, strict=True), strict=True))


def price(text: str) -> float:
    """An argument that is a price."""
    money = float(text)
    if not 0 <= money < math.inf:
        raise argparse.ArgumentTypeError("a price is a number from 0 on")
    return money


def count(text: str) -> int:
    """An argument that must be 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def aggregation(text: str) -> Any:
    """An aggregation: its name, or a JSON object with its options."""
    try:
        return wire.read_aggregation(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def explained(error: RubricdClientError, token_env: str) -> str:
    """The error's message, with hints that the service cannot give: the source of the key, and when to come back."""
    text = str(error)
    if isinstance(error, Unauthorized):
        held = "holds the key that was sent" if os.environ.get(token_env) else "is not set, so no key was sent"
        text += f" (the environment variable {token_env} {held})"
    elif isinstance(error, Forbidden):
        text += " (the key is known; the operator of the service decides what it may do)"
    if error.retry_after_s is not None:
        text += f" (come back in {error.retry_after_s:g} s)"
    return text
