"""Ends a command with a sentence and an exit code where its output cannot be written, or a person interrupts it."""

import errno
import os
import sys
from collections.abc import Callable

INTERRUPTED, UNWRITTEN, UNREAD = 130, 2, 1
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def with_output(run: Callable[[], int]) -> int:
    """What `run` returns, once all of its output is written. Output that is closed from the beginning goes nowhere."""
    try:
        try:
            code = run()
        except SystemExit:
            _flush()
            raise
        _flush()
    except BrokenPipeError:
        _discard()  # who read the output has left, as `head` does
        return UNREAD
    except KeyboardInterrupt:
        print("rubricd: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _discard()
        print(
            f"rubricd: the output cannot be written ({error.strerror}); make room, or send it elsewhere",
            file=sys.stderr,
        )
        return UNWRITTEN
    return code


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard() -> None:
    """What Python still holds of the output goes nowhere, so that its end does not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
