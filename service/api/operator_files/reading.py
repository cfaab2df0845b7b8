"""Reads the bytes of a file that an operator names in a setting, whatever stands in its place.

Guarantees: what cannot be read, and what is larger than it may be, ends the start with the setting's name and a reason.
"""

from pathlib import Path

from service.errors import ConfigurationError
from service.tenancy.regular_file import read_bounded


def read_named(setting: str, file: Path, most_bytes: int) -> bytes:
    """Raises ConfigurationError."""
    try:
        content = read_bounded(file, most_bytes)
    except OSError as error:
        raise ConfigurationError(f"`{setting}` cannot be read: {error}") from None
    if len(content) > most_bytes:
        raise ConfigurationError(f"`{setting}`: {file} is larger than {most_bytes} bytes")
    return content
