"""Counts the layers that a model computes, so that slow can be told from stuck."""

from typing import Any

import torch


class Progress:
    """`count` grows with every layer of the models that are followed. It stands still while nothing is computed."""

    def __init__(self) -> None:
        self.count = 0

    def follow(self, model: Any) -> None:
        for module in model.modules():
            if isinstance(module, torch.nn.ModuleList):
                for layer in module:
                    layer.register_forward_pre_hook(self._layer_begins)

    def _layer_begins(self, *_: object) -> None:
        # Threads may count past each other: it grows all the same.
        self.count += 1
