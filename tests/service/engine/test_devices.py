"""Tests of finding GPUs, with stand-ins for torch: this machine may have none."""

import sys
from types import SimpleNamespace

import pytest

from service.engine.devices import Gpu, find_gpus


def torch(cuda: str | None, *memories: int, hip: str | None = None) -> SimpleNamespace:
    """As much of torch as is looked at, with a GPU for each amount of memory."""
    found = [SimpleNamespace(name=f"GPU {n}", total_memory=memory) for n, memory in enumerate(memories)]
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda, hip=hip),
        cuda=SimpleNamespace(device_count=lambda: len(found), get_device_properties=lambda n: found[n]),
    )


@pytest.mark.parametrize(
    ("module", "gpus"),
    [
        (None, None),  # not installed
        (torch(None), None),  # a build for CPUs
        (torch("13.0"), ()),
        (torch("13.0", 80, 141), (Gpu("GPU 0", 80), Gpu("GPU 1", 141))),
        (torch(None, 192, hip="7.0"), (Gpu("GPU 0", 192),)),
    ],
)
def test_gpus_are_found_where_torch_can_use_them(
    module: SimpleNamespace | None, gpus: tuple[Gpu, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", module)
    assert find_gpus() == gpus
