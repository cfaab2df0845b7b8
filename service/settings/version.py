"""Says which version of rubricd is installed."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version() -> str | None:
    """None where rubricd is run from a folder that was not installed."""
    try:
        return version("rubricd")
    except PackageNotFoundError:
        return None
