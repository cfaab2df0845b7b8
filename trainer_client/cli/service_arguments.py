"""Holds what every command that calls the service shares: its arguments, and the words for its refusals."""

import argparse
import os
from typing import Any

from trainer_client import wire
from trainer_client.errors import Forbidden, RubricdClientError, Unauthorized


def add_service(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--url", default="http://127.0.0.1:8000", metavar="URL", help="address of the judge service (%(default)s)")
    add(
        "--token-env",
        default="RUBRICD_KEY",
        metavar="NAME",
        help="environment variable that holds the key (%(default)s)",
    )
    add("--concurrency", type=count, default=8, metavar="N", help="requests at the same time (%(default)s)")


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
