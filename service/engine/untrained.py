"""Recognises a checkpoint whose weights are random, by the scales of its normalisation layers.

Every initialisation sets each of them to one constant, and training changes them. Layers without scales tell nothing.
"""

from pathlib import Path

from service.engine.identity import weight_files


def is_untrained(folder: Path) -> bool:
    """Whether all scales of all normalisation layers still have the value of their initialisation. Reads them alone."""
    from safetensors import safe_open

    found = False
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                if not name.endswith("norm.weight"):
                    continue
                found, scales = True, file.get_tensor(name)
                if scales.numel() > 1 and bool((scales != scales.reshape(-1)[0]).any()):
                    return False
    return found
