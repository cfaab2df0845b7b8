"""The trainers' own client code, of the releases that `make test` puts into `.venv/peers`.

Their packages need what no test machine has (ray, deepspeed, flash-attention, litellm), so a package's `__init__` is
not run; the module that speaks to a reward server is, unchanged, with the modules of its package that it imports.
"""

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

import pytest

from testkit.processes import ROOT

PEERS = ROOT / ".venv" / "peers"


def load(module: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, loaded again."""
    if not PEERS.is_dir():
        pytest.fail(f"{PEERS} is missing: `make test` installs the trainers' client code there")
    parts = module.split(".")
    for name in [name for name in sys.modules if name.split(".")[0] == parts[0]]:
        monkeypatch.delitem(sys.modules, name)
    for depth in range(1, len(parts)):
        package = ModuleType(".".join(parts[:depth]))
        package.__path__ = [str(PEERS.joinpath(*parts[:depth]))]
        monkeypatch.setitem(sys.modules, package.__name__, package)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their own making
        return importlib.import_module(module)
