"""Ends a command that cannot go on: one sentence about why, on standard error, and the exit code.

Guarantees: where the service's key is missing or wrong, the sentence says where it was looked for.
"""

import argparse
import sys

from trainer_client.cli.service_arguments import explained
from trainer_client.errors import RubricdClientError

CANNOT_GO_ON = (KeyboardInterrupt, RubricdClientError, ValueError, OSError)
"""What a command may raise that is no defect of it: an interrupt, a judge's or a file's fault, a wrong argument."""
RESUMED = "the same command goes on from here"


def ended(error: BaseException, args: argparse.Namespace, *, resumed: str = RESUMED, refused: int = 2) -> int:
    """The exit code. `resumed` says what becomes of an interrupted command; `refused` is the code where it is the
    service that does not do its part."""
    if isinstance(error, BrokenPipeError):
        raise error  # nobody reads the output any more, which `with_output` ends quietly
    if isinstance(error, KeyboardInterrupt):
        print(f"rubricd: interrupted{resumed and f'; {resumed}'}", file=sys.stderr)
        return 130
    if isinstance(error, RubricdClientError) and not isinstance(error, ValueError):
        print(f"rubricd: {explained(error, args.token_env)}", file=sys.stderr)
        return refused
    print(f"rubricd: {sentence_of(error)}", file=sys.stderr)
    return 2


def sentence_of(error: BaseException) -> str:
    """What it says; of a file its path and what is the matter, without the system's number for that."""
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.strerror[0].lower()}{error.strerror[1:]}"
        return what if error.filename is None else f"{error.filename}: {what}"
    return str(error)
