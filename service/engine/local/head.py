"""Computes a model's logits in float32 from weights of half precision, so that P(met) is not rounded to a few steps.

A bfloat16 number has 8 bits: logits near 20 are multiples of 0.125, and so is the difference of two labels. The last
hidden states and the head's weights are exact in float32, and their product needs no more than to be summed there.

Guarantees: what the model does with its head's logits (a scale, a soft cap) is the model's own code, now in float32. No
float32 copy of the head is held: on a GPU the product is summed in float32 by the kernel, elsewhere the weights are
converted in pieces that fit a cache.
"""

from functools import partial
from typing import Any

import torch
from torch.nn import functional

_HALVES = (torch.bfloat16, torch.float16)
# Of float32. On a CPU pieces of 2 to 16 MiB are equally fast, and a copy of the whole head is ten times slower to make.
_PIECE_BYTES = 4 * 1024**2


def compute_in_float32(model: Any) -> str:
    """From here on the model's head returns float32. A head that is no plain linear layer of half precision, a
    quantised one for example, stays as it is. Returns the type that it computes in."""
    head = model.get_output_embeddings()
    if type(head) is torch.nn.Linear and head.weight.dtype in _HALVES:
        head.forward = partial(_float32_logits, head)  # type: ignore[method-assign]
        return "float32"
    return str(getattr(getattr(head, "weight", None), "dtype", "unknown")).removeprefix("torch.")


def _float32_logits(head: torch.nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    """(…, hidden size) -> (…, vocabulary)."""
    rows = hidden.reshape(-1, hidden.shape[-1])
    if rows.is_cuda:
        logits = torch.mm(rows, head.weight.T, out_dtype=torch.float32)
    else:
        logits = _by_pieces(rows.float(), head.weight)
    if head.bias is not None:
        logits += head.bias.float()
    return logits.reshape(*hidden.shape[:-1], -1)


def _by_pieces(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    size = max(1, _PIECE_BYTES // (4 * weight.shape[1]))
    # Made before the pieces, since what stays between two of them would keep their memory from being used again.
    logits = rows.new_empty(len(rows), len(weight))
    for part, piece in zip(logits.split(size, dim=1), weight.split(size), strict=True):
        part.copy_(functional.linear(rows, piece.float()))
    return logits
