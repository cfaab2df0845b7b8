"""Reads YAML 1.2 documents of fields, and changes single fields of them.

Guarantees: what is no YAML or holds no fields is an error that names the file and the line.
"""

from pathlib import Path
from typing import Any


class RunConfigError(ValueError):
    """A run config cannot be used. The message names the place and what to change."""


def loaded(path: Path) -> dict[str, Any]:
    """The fields of a file. Raises RunConfigError."""
    try:
        document = _yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RunConfigError(f"{path}: not UTF-8") from None
    except RunConfigError as error:
        raise RunConfigError(f"{path}: {error}") from None
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise RunConfigError(f"{path}: must hold fields like `policy: …`; see docs/guide/training.md")
    return document


def _yaml(text: str) -> Any:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
    except ImportError:
        raise RunConfigError("reading it needs ruamel.yaml: pip install 'rubricd[train]'") from None
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        place = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise RunConfigError(f"{place}not YAML: {error.problem}") from None
    except YAMLError as error:
        raise RunConfigError(f"not YAML: {error}") from None


def change(document: dict[str, Any], wanted: str) -> None:
    """Makes the change `key.path=value`. Raises RunConfigError."""
    place, equals, value = wanted.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise RunConfigError(f"--set {wanted}: must be key.path=value, like --set scaffold.start=0.1")
    for key in keys[:-1]:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            raise RunConfigError(f"--set {wanted}: `{key}` holds no fields")
        document = inner
    try:
        document[keys[-1]] = _yaml(value)
    except RunConfigError as error:
        raise RunConfigError(f"--set {wanted}: {error}") from None
