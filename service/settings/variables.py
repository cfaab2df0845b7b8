"""Finds environment variables that look like settings of the service and are none.

Guarantees: a variable is called misspelt where a setting's name is near to it; its value is not looked at.
"""

import os
import re
from collections.abc import Collection
from difflib import get_close_matches

PREFIX = "RUBRICD_"
_FOREIGN = re.compile(
    r"RUBRICD_KEY|RUBRICD_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)"
)
"""The client's key, and what Kubernetes sets for a Service whose name begins with `rubricd`."""


def unknown_variables(settings: Collection[str]) -> dict[str, str | None]:
    """The variables with the settings' prefix that no setting reads, each with the nearest one that a setting reads, if
    there is a near one."""
    known = {f"{PREFIX}{name}".upper() for name in settings}
    found = sorted(name for name in os.environ if name.upper().startswith(PREFIX))
    return {
        name: next(iter(get_close_matches(name.upper(), known, n=1, cutoff=0.85)), None)
        for name in found
        if name.upper() not in known and not _FOREIGN.fullmatch(name.upper())
    }


def from_environment(variable: str) -> str | None:
    """What a variable holds that a file of settings names; None where it is not set, or empty."""
    return os.environ.get(variable) or None
