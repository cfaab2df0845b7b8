"""Runs the model's forward pass in one of two ways: a whole prefix tree at once, or padded rows for other models.

The tree way packs a pass into one row of tokens, each at its own position, and computes attention over the tree (see
`attention.py`). The other way computes a shared prefix as one row, whose cache every row of a second pass sees.
Which of them is right for a model is found out when it is loaded (`probe.py`).

Guarantees: the model's head is computed at each prompt's last token only, and in a tree the last layer's queries too.
Rows are padded on the right. A causal model's real tokens never see what comes after them, so padding changes no
verdict, a token's slot in the cache is its position (sliding windows stay right), and no mask is needed. A runner is
called from one thread, under inference_mode.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from service.engine.local.attention import (
    NAME,
    AttentionFunction,
    Unsupported,
    attend_last_tokens,
    attend_tree,
    use_attention,
)
from service.engine.local.head import compute_in_float32
from service.engine.local.plan import TreePass
from service.errors import EngineFailed

# The cache layers whose rows may be views of one row: update() concatenates, and so copies, before it stores.
_EXPANDABLE_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)

# Keys and values by layer, each (1, heads, tokens, head size).
KeysValues = dict[int, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Way:
    """How prompts are computed together: over a prefix tree, in rows after the cache of a prefix, or in rows of whole
    prompts. A model that none suits computes each prompt in a pass of its own."""

    name: str


TREES, SHARED_CACHE, BATCHES, ALONE = map(Way, ("prefix trees", "rows after a shared prefix", "rows", "single rows"))


class ModelRunner:
    """Runs one model. `way` is how its prompts are computed together (`probe.py` finds out which is right)."""

    def __init__(self, model: Any, device: torch.device, max_model_len: int) -> None:
        self.model = model
        self.device = device
        self.max_model_len = max_model_len
        self.way = ALONE
        self._last_positions: torch.Tensor | None = None
        self._native_attention = model.config._attn_implementation
        self.head_dtype = compute_in_float32(model)
        # The head of a large vocabulary is the dearest layer of a small model. `logits_to_keep` takes positions, but
        # the same ones for every row; ragged rows need one each.
        model.get_output_embeddings().register_forward_pre_hook(self._select_last_tokens)

    @property
    def config(self) -> Any:
        return self.model.config.get_text_config(decoder=True)

    @property
    def vocabulary_size(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def layer_count(self) -> int:
        return len(_layers(self.model))

    @property
    def attention(self) -> str:
        return NAME if self.way is TREES else str(self._native_attention)

    def use(self, way: Way) -> None:
        """Sets the model's attention to match."""
        if (way is TREES) != (self.way is TREES):
            self.model.set_attn_implementation(NAME if way is TREES else self._native_attention)
        self.way = way

    def compute_prefix(self, ids: Sequence[int]) -> Any:
        """The cache of one row after these ids. Raises Unsupported where rows cannot share it."""
        cache = self._run_padded([ids], None, use_cache=True)[1]
        if type(cache) is not DynamicCache or not all(type(layer) in _EXPANDABLE_LAYERS for layer in cache.layers):
            raise Unsupported("a cache that rows cannot share")
        return cache

    def run_rows(self, rows: Sequence[Sequence[int]], prefix: Any = None) -> torch.Tensor:
        """Logits after each row, (rows, vocabulary). All rows follow the cache `prefix`, which stays as it is."""
        cache = None if prefix is None else _expanded(prefix, len(rows))
        return self._run_padded(rows, cache, use_cache=prefix is not None)[0]

    def run_row(self, ids: Sequence[int], cache: Any) -> tuple[torch.Tensor, Any]:
        """Logits (1, vocabulary) after one row that goes on where `cache` ends, and the new cache, if there is one."""
        return self._run_padded([ids], cache, use_cache=True)

    def run_tree(self, tree_pass: TreePass, keys_values: KeysValues | None = None) -> torch.Tensor:
        """Logits after each row of the pass, (rows, vocabulary). Fills `keys_values` by layer."""
        ends = torch.tensor([leaf.end - 1 for leaf in tree_pass.leaves], device=self.device)
        attention = _TreeAttention(self.model, tree_pass, ends, keys_values)
        with attention.last_layer_narrowed(), use_attention(attention.attend, self.max_model_len):
            return self._run_packed(tree_pass.ids, tree_pass.positions, len(tree_pass.members))

    def decode(self, ids: Sequence[int], positions: Sequence[int], attend: AttentionFunction) -> torch.Tensor:
        """Logits after one more token in each row, (rows, vocabulary)."""
        with use_attention(attend, self.max_model_len):
            return self._run_packed(ids, positions, len(ids))

    def _run_packed(self, ids: Sequence[int], positions: Sequence[int], rows: int) -> torch.Tensor:
        self._last_positions = None
        logits = self.model(
            input_ids=torch.tensor([list(ids)], device=self.device),
            position_ids=torch.tensor([list(positions)], device=self.device),
            use_cache=False,
        ).logits
        if logits.shape[:2] != (1, rows):
            raise EngineFailed("the model's head does not read one position of each row")
        return torch.as_tensor(logits[0])

    def _run_padded(self, rows: Sequence[Sequence[int]], cache: Any, *, use_cache: bool) -> tuple[torch.Tensor, Any]:
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=self.device)
        self._last_positions = torch.tensor([len(row) - 1 for row in rows], device=self.device)
        output = self.model(input_ids=ids, past_key_values=cache, use_cache=use_cache)
        if output.logits.shape[:2] != (len(rows), 1):
            raise EngineFailed("the model's head does not read one position of each row")
        return output.logits[:, 0], getattr(output, "past_key_values", None)

    def _select_last_tokens(self, _: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        # In a packed pass the last layer has left nothing but the rows' last tokens.
        if self._last_positions is None:
            return args
        return (hidden[torch.arange(len(hidden), device=hidden.device), self._last_positions].unsqueeze(1), *args[1:])


def _layers(model: Any) -> Any:
    return model.get_decoder().layers


def _expanded(cache: DynamicCache, n: int) -> DynamicCache:
    """A cache of n rows that are views of the one row of `cache`, which stays as it is."""
    rows = copy.copy(cache)
    layers: list[Any] = [copy.copy(layer) for layer in cache.layers]
    rows.layers = layers
    for layer in layers:
        if layer.is_initialized:
            layer.keys = layer.keys.expand(n, *layer.keys.shape[1:])
            layer.values = layer.values.expand(n, *layer.values.shape[1:])
    return rows


class _LastKeysValues(Exception):
    """Leaves the last layer once its keys and values are computed, before the rest is computed for all tokens."""


class _TreeAttention:
    """The attention of a pass over a prefix tree, whose last layer computes each row's last token only."""

    def __init__(self, model: Any, tree_pass: TreePass, ends: torch.Tensor, keys_values: KeysValues | None) -> None:
        self._last_layer = _layers(model)[-1]
        self._pass = tree_pass
        self._ends = ends
        self._keys_values = keys_values
        self._last_keys_values: tuple[torch.Tensor, torch.Tensor] | None = None
        self._in_last_layer = False

    @contextmanager
    def last_layer_narrowed(self) -> Iterator[None]:
        hook = self._last_layer.register_forward_pre_hook(self._narrow, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        # The last layer is entered twice: first with all tokens for its keys and values, then with the last tokens.
        if self._last_keys_values is not None:
            return attend_last_tokens(self._pass, query, *self._last_keys_values, scale)
        if self._keys_values is not None:
            self._keys_values[layer] = (key, value)
        if self._in_last_layer:
            self._last_keys_values = key, value
            raise _LastKeysValues
        return attend_tree(self._pass.nodes, query, key, value, scale)

    def _narrow(self, layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        self._in_last_layer = True
        try:
            layer.forward(*args, **kwargs)
            raise Unsupported("a last layer without attention")
        except _LastKeysValues:
            return self._last_tokens_of(args), {name: self._last_tokens_of(value) for name, value in kwargs.items()}

    def _last_tokens_of(self, value: Any) -> Any:
        """The last tokens' part of an argument that is given token by token: (…, tokens, …) in the second dimension."""
        if isinstance(value, tuple):
            return tuple(map(self._last_tokens_of, value))
        per_token = isinstance(value, torch.Tensor) and value.ndim > 1 and value.shape[1] == len(self._pass.ids)
        return value.index_select(1, self._ends) if per_token else value
