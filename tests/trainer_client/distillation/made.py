"""Small examples for the tests of distillation."""

from collections.abc import Sequence

from trainer_client.distillation.examples import Example


def example(item: int, shared: Sequence[int], own: Sequence[int], criterion: str = "0", **more: object) -> Example:
    fields = {"target": 1.0, "label": True, "group": str(item), **more}
    return Example(item, criterion, tuple(shared), tuple(own), **fields)  # type: ignore[arg-type]
