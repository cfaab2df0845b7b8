"""Finds the GPUs that torch can compute on, without loading anything onto them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. `memory` is all that it has, in bytes."""

    name: str
    memory: int


def find_gpus() -> tuple[Gpu, ...] | None:
    """None where torch is missing, or is a build that computes on CPUs alone."""
    try:
        import torch
    except ImportError:
        return None
    if torch.version.cuda is None and torch.version.hip is None:
        return None
    found = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    return tuple(Gpu(one.name, one.total_memory) for one in found)
