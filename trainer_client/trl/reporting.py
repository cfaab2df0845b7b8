"""Finds the reporting channels that are installed and set up: tensorboard, wandb and trackio.

Guarantees: nothing is imported and nothing is sent; wandb counts as set up by its environment variables or by the key
that `wandb login` has kept.
"""

import importlib.util
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

PACKAGES = ("tensorboard", "wandb", "trackio", "comet_ml")


def channels() -> list[str]:
    """The channels of a run that names none."""
    found = [name for name in ("tensorboard", "wandb", "trackio") if importlib.util.find_spec(name)]
    return [name for name in found if name != "wandb" or wandb_is_set_up(os.environ)]


def wandb_is_set_up(environment: Mapping[str, str]) -> bool:
    """Returns whether wandb would report without asking a person."""
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_MODE"):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    home = Path(environment.get("HOME") or Path.home())
    named = environment.get("NETRC")
    # wandb keeps its key where curl looks for one; on Windows the name has an underscore.
    return any(_has_key(path, host) for path in ([Path(named)] if named else [home / ".netrc", home / "_netrc"]))


def _has_key(path: Path, host: str) -> bool:
    try:
        return host in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return False
