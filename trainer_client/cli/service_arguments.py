"""Holds what every command that calls the service shares: its arguments, and the words for its refusals."""

import argparse
import math
import os
from collections.abc import Sequence
from typing import Any

from trainer_client import wire
from trainer_client.errors import DataError, Forbidden, RubricdClientError, Unauthorized


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


def add_prices(parser: argparse.ArgumentParser) -> None:
    """What judges cost: one price for all of them, or one for each --url in their order."""
    for side, verb in (("in", "reads"), ("out", "writes")):
        parser.add_argument(
            f"--price-{side}",
            action="append",
            type=float,
            metavar="MONEY",
            help=f"price of a million tokens that a judge {verb}; repeated: one for each --url",
        )


def prices_of(args: argparse.Namespace, urls: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """By url. Raises DataError where there are neither one nor as many as urls."""
    sides = []
    for side in ("in", "out"):
        given = getattr(args, f"price_{side}") or [None]
        if len(given) not in (1, len(urls)):
            raise DataError(f"--price-{side}: give one price, or one for each of the {len(urls)} --url")
        if any(price is not None and not 0 <= price < math.inf for price in given):
            raise DataError(f"--price-{side}: a price is a number from 0 on")
        sides.append(given * len(urls) if len(given) == 1 else given)
    return dict(zip(urls, zip(*sides, strict=True), strict=True))


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
