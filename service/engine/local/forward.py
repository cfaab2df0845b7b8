"""Runs the model's forward pass in one of two ways: a whole prefix tree at once, or padded rows for other models.

The tree way packs a pass into one row of tokens, each at its own position, and computes attention over the tree (see
`attention.py`). A model goes this way if, when it was loaded, its log-probabilities over a tree were those of its own
attention. The other way computes a shared prefix as one row, whose cache every row of a second pass sees.

Guarantees: the model's head is computed at each prompt's last token only, and in a tree the last layer's queries too.
Rows are padded on the right. A causal model's real tokens never see what comes after them, so padding changes no
verdict, a token's slot in the cache is its position (sliding windows stay right), and no mask is needed. A runner is
called from one thread, under inference_mode.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from service.engine.base import Prompt
from service.engine.local.attention import (
    NAME,
    AttentionFunction,
    Unsupported,
    attend_last_tokens,
    attend_tree,
    use_attention,
)
from service.engine.local.plan import TreePass, plan_passes
from service.errors import ConfigurationError, EngineFailed

_log = logging.getLogger(__name__)
# How far the log-probabilities of the two ways may differ, on average and as a share of their standard deviation.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_HALF_PRECISION_TOLERANCE = 0.1
# The cache layers whose rows may be views of one row: update() concatenates, and so copies, before it stores.
_EXPANDABLE_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)

# Keys and values by layer, each (1, heads, tokens, head size).
KeysValues = dict[int, tuple[torch.Tensor, torch.Tensor]]


class ModelRunner:
    """Runs one model.

    `supports_trees`: it can read prefix trees. `supports_shared_cache`: rows can share the cache of a prefix.
    """

    def __init__(self, model: Any, device: torch.device, max_model_len: int, *, share: bool = True) -> None:
        """Tries the model out. Raises ConfigurationError if not even plain rows can be computed."""
        self.device = device
        self.supports_trees = self.supports_shared_cache = False
        self._model = model
        self._max_model_len = max_model_len
        self._last_positions: torch.Tensor | None = None
        self._native_attention = model.config._attn_implementation
        # The head of a large vocabulary is the dearest layer of a small model. `logits_to_keep` takes positions, but
        # the same ones for every row; ragged rows need one each.
        model.get_output_embeddings().register_forward_pre_hook(self._select_last_tokens)
        try:
            with torch.inference_mode():
                self.run_rows([(0, 0), (0,)])
                if share:
                    self.supports_trees = self._probe_trees()
                    self.supports_shared_cache = not self.supports_trees and self._probe_shared_cache()
        except Exception as error:
            raise ConfigurationError(f"the judge's model cannot be run ({type(error).__name__}): {error}") from error

    @property
    def attention(self) -> str:
        return NAME if self.supports_trees else str(self._native_attention)

    def compute_prefix(self, ids: Sequence[int]) -> Any:
        """The cache of one row after these ids."""
        return self._run_padded([ids], None, use_cache=True)[1]

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
        attention = _TreeAttention(self._model, tree_pass, ends, keys_values)
        with attention.last_layer_narrowed(), use_attention(attention.attend, self._max_model_len):
            return self._run_packed(tree_pass.ids, tree_pass.positions, len(tree_pass.members))

    def decode(self, ids: Sequence[int], positions: Sequence[int], attend: AttentionFunction) -> torch.Tensor:
        """Logits after one more token in each row, (rows, vocabulary)."""
        with use_attention(attend, self._max_model_len):
            return self._run_packed(ids, positions, len(ids))

    def _run_packed(self, ids: Sequence[int], positions: Sequence[int], rows: int) -> torch.Tensor:
        self._last_positions = None
        logits = self._model(
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
        output = self._model(input_ids=ids, past_key_values=cache, use_cache=use_cache)
        if output.logits.shape[:2] != (len(rows), 1):
            raise EngineFailed("the model's head does not read one position of each row")
        return output.logits[:, 0], getattr(output, "past_key_values", None)

    def _select_last_tokens(self, _: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        # In a packed pass the last layer has left nothing but the rows' last tokens.
        if self._last_positions is None:
            return args
        return (hidden[torch.arange(len(hidden), device=hidden.device), self._last_positions].unsqueeze(1), *args[1:])

    def _probe_shared_cache(self) -> bool:
        cache = self.compute_prefix((0, 0))
        expandable = type(cache) is DynamicCache and all(type(layer) in _EXPANDABLE_LAYERS for layer in cache.layers)
        if expandable:
            self.run_rows([(0, 0), (0,)], cache)
        return expandable

    def _probe_trees(self) -> bool:
        """Returns whether the model's answer over a tree is that of its own attention. Sets the model's attention to
        match."""
        if self._max_model_len < 64:
            return False
        prompts = _probe_prompts(min(100, self._model.get_input_embeddings().weight.shape[0]))
        expected = torch.log_softmax(self.run_rows([prompt.ids for prompt in prompts]).float(), dim=-1)
        self._model.set_attn_implementation(NAME)
        try:
            (tree_pass,) = plan_passes(prompts, range(len(prompts)), max_batch_tokens=1_000)
            keys_values: KeysValues = {}
            found = torch.log_softmax(self.run_tree(tree_pass, keys_values).float(), dim=-1)
            # A layer that is no attention (a convolution, a state space) would mix the tree's branches.
            if len(keys_values) != _layer_count(self._model):
                raise Unsupported("layers without attention")
            difference = ((found - expected[list(tree_pass.members)]).abs().mean() / expected.std()).item()
            if difference <= _TOLERANCE.get(self._model.dtype, _HALF_PRECISION_TOLERANCE):
                return True
            _log.warning("answers over a prefix tree differ by %.1e from the model's own", difference)
        except Exception as error:
            # Any failure means that this model goes the other way, which is slower and as right.
            level = logging.INFO if isinstance(error, Unsupported) else logging.WARNING
            _log.log(level, "no prefix tree for this model: %s: %s", type(error).__name__, error)
        self._model.set_attn_implementation(self._native_attention)
        return False


def _layer_count(model: Any) -> int:
    return int(model.config.get_text_config(decoder=True).num_hidden_layers)


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
        self._last_layer = model.get_decoder().layers[_layer_count(model) - 1]
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


def _probe_prompts(vocabulary_size: int) -> list[Prompt]:
    """A conversation of two responses and a prompt by itself, in lengths that a tree shares."""
    ids = [(7 * i * i + 3 * i) % vocabulary_size for i in range(200)]
    conversation = tuple(ids[:17])
    prompts = [Prompt(conversation + tuple(ids[20 * r : 20 * r + 18]), tuple(ids[90 + n : 95 + 2 * n]))
               for r in (1, 2) for n in (0, 3, 5)]  # fmt: skip
    return [*prompts, Prompt((), tuple(ids[100:140]))]
