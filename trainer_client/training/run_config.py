"""The one file that says what a training is: YAML, checked as a whole before anything is loaded.

Always true: an unknown field or a wrong value is an error that names its place and what to change; what the file does
not say comes from its preset, and after reading nothing is left unsaid. What `written` wrote is read as the same run.
"""

import io
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer_client.training import presets
from trainer_client.training.run_fields import (
    JudgingSection,
    LoraSection,
    RunConfig,
    ScaffoldSection,
    Section,
    WordingSection,
)

__all__ = ["RunConfig", "RunConfigError", "read", "written"]

_MERGED = ("scaffold", "judging", "trl")


class RunConfigError(ValueError):
    """A run file that cannot be used, with the place and what to change."""


_PARTS: Mapping[str, type[Section]] = {
    "scaffold": ScaffoldSection,
    "wording": WordingSection,
    "judging": JudgingSection,
    "lora": LoraSection,
}


def read(path: Path, *, changes: Iterable[str] = (), out: Path | None = None) -> RunConfig:
    """The run of this file. `changes` are `key.path=value`, as if they stood in it; `out` replaces its own."""
    document = _loaded(path)
    for change in changes:
        _change(document, change)
    if out is not None:
        document["out"] = str(out.absolute())
    try:
        run = RunConfig.model_validate(_with_preset(document))
    except ValidationError as error:
        slips = error.errors(include_url=False, include_input=False)
        raise RunConfigError("\n".join(f"{path}: {_said(slip)}" for slip in slips)) from None
    except RunConfigError as error:
        raise RunConfigError(f"{path}: {error}") from None
    return run.model_copy(update=_paths(run, path.absolute().parent))


def written(run: RunConfig) -> str:
    """The run as YAML."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output, yaml.width = False, False, 4096
    yaml.dump(run.model_dump(mode="json"), text)
    return text.getvalue()


def _loaded(path: Path) -> dict[str, Any]:
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


def _change(document: dict[str, Any], change: str) -> None:
    place, equals, value = change.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise RunConfigError(f"--set {change}: must be key.path=value, like --set scaffold.start=0.1")
    for key in keys[:-1]:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            raise RunConfigError(f"--set {change}: `{key}` holds no fields")
        document = inner
    try:
        document[keys[-1]] = _yaml(value)
    except RunConfigError as error:
        raise RunConfigError(f"--set {change}: {error}") from None


def _with_preset(document: Mapping[str, Any]) -> dict[str, Any]:
    name = document.get("preset", "ruscarl")
    if name not in presets.PRESETS:
        raise RunConfigError(f"`preset`: must be one of {', '.join(presets.PRESETS)}")
    whole = presets.settings(name, str(document.get("policy", "")))
    if document.get("steps") is not None or document.get("epochs") is not None:
        whole.pop("steps", None)
        whole.pop("epochs", None)
    for key, value in document.items():
        merged = key in _MERGED and isinstance(value, dict)
        whole[key] = {**whole.get(key, {}), **value} if merged else value
    return whole


def _paths(run: RunConfig, folder: Path) -> dict[str, str | None]:
    """Absolute, relative to the run file's folder. A policy that is no folder there is a hub name."""
    policy = folder / run.policy
    if not policy.is_dir() and (run.policy.startswith((".", "/", "~")) or run.policy.count("/") > 1):
        raise RunConfigError(f"`policy`: no folder {policy}")
    return {
        "policy": str(policy.resolve()) if policy.is_dir() else run.policy,
        "data": str(folder / run.data),
        "eval_data": None if run.eval_data is None else str(folder / run.eval_data),
        "out": str(folder / run.out),
    }


def _said(slip: Any) -> str:
    """What is wrong, and what to write instead."""
    place = ".".join(str(part) for part in slip["loc"])
    if slip["type"] == "missing":
        return f"`{place}`: missing"
    if slip["type"] != "extra_forbidden":
        said = slip["msg"].removeprefix("Value error, ")
        return f"`{place}`: {said}" if place else said
    known = _fields(slip["loc"][:-1])
    close = get_close_matches(str(slip["loc"][-1]), known, n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"`{place}`: unknown field; {hint}known here: {', '.join(known)}"


def _fields(loc: Iterable[str | int]) -> list[str]:
    fields = RunConfig.model_fields
    for name in loc:
        fields = _PARTS[str(name)].model_fields
    return list(fields)
