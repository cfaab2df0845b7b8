"""The forward pass of the local engine, in two ways: a tree of prompts at once, or padded rows for other models.

The tree way puts a whole pass into one row of tokens, each at its own position, and attends over the tree (see
`local_attention`). It is taken only by a model whose answers in it were found, when it was loaded, to be those of its
own attention. The other way computes a shared prefix as one row, whose cache every row of a second pass sees.

Always true:
- Only at each prompt's last token is the model's head computed; in a tree the last layer's queries, too.
- Rows are padded on the right. A causal model's real tokens never see what comes after them, so padding changes no
  verdict, every token's slot in the cache is its position (sliding windows stay right), and no mask is needed.
- Called from one thread, under inference_mode.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from service.engine.base import Prompt
from service.engine.local.attention import NAME, Unsupported, attending, last_tokens, whole
from service.engine.local.plan import Pass, plan
from service.errors import ConfigurationError, EngineFailed

_log = logging.getLogger(__name__)
# How far the log-probabilities of the two ways may be apart, on average and as a share of their spread.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_ROUGH = 0.1
# The cache layers whose rows may be views of one row: update() concatenates, and so copies, before it stores.
_REPEATABLE = (DynamicLayer, DynamicSlidingWindowLayer)

Kept = dict[int, tuple[torch.Tensor, torch.Tensor]]


class Forward:
    """A model's forward pass. `tree`: trees can be read; `repeatable`: a prefix's cache can be seen by several rows."""

    def __init__(self, model: Any, device: torch.device, longest: int, *, share: bool = True) -> None:
        """Tries the model out. Raises ConfigurationError if nothing can be read."""
        self.device = device
        self.tree = self.repeatable = False
        self._model = model
        self._longest = longest
        self._last: torch.Tensor | None = None
        self._own = model.config._attn_implementation
        # The head of a large vocabulary is the dearest layer of a small model. `logits_to_keep` takes positions, but
        # the same ones for every row; ragged rows need one each.
        model.get_output_embeddings().register_forward_pre_hook(self._keep_last)
        try:
            with torch.inference_mode():
                self.rows([(0, 0), (0,)])
                if share:
                    self.tree = self._try_tree()
                    self.repeatable = not self.tree and self._try_repeating()
        except Exception as error:
            raise ConfigurationError(f"the judge's model cannot be asked ({type(error).__name__}): {error}") from error

    @property
    def attention(self) -> str:
        return NAME if self.tree else str(self._own)

    def prefix(self, ids: Sequence[int]) -> Any:
        """The cache of one row after these ids."""
        return self._continued([ids], None, use_cache=True)[1]

    def rows(self, rows: Sequence[Sequence[int]], past: Any = None) -> torch.Tensor:
        """Logits after each row, (rows, vocabulary). `past` is a `prefix` that all follow on; it stays as it is."""
        given = None if past is None else _repeated(past, len(rows))
        return self._continued(rows, given, use_cache=past is not None)[0]

    def step(self, ids: Sequence[int], past: Any) -> tuple[torch.Tensor, Any]:
        """Logits (1, vocabulary) after one row that goes on where `past` ends, and the new past, if it has one."""
        return self._continued([ids], past, use_cache=True)

    def read(self, one: Pass, kept: Kept | None = None) -> torch.Tensor:
        """Logits after each row of the pass, (rows, vocabulary). Keys and values go to `kept`, by layer."""
        ends = torch.tensor([leaf.end - 1 for leaf in one.leaves], device=self.device)
        last = _LastLayer(self._model, one, ends, kept)
        with last.narrowed(), attending(last.attend, self._longest):
            return self._logits(one.ids, one.positions, len(one.members))

    def decode(self, ids: Sequence[int], positions: Sequence[int], attend: Any) -> torch.Tensor:
        """Logits after one token a row, (rows, vocabulary)."""
        with attending(attend, self._longest):
            return self._logits(ids, positions, len(ids))

    def _logits(self, ids: Sequence[int], positions: Sequence[int], rows: int) -> torch.Tensor:
        self._last = None
        logits = self._model(
            input_ids=torch.tensor([list(ids)], device=self.device),
            position_ids=torch.tensor([list(positions)], device=self.device),
            use_cache=False,
        ).logits
        if logits.shape[:2] != (1, rows):
            raise EngineFailed("the model's head does not read one position of each row")
        return torch.as_tensor(logits[0])

    def _continued(self, rows: Sequence[Sequence[int]], past: Any, *, use_cache: bool) -> tuple[torch.Tensor, Any]:
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=self.device)
        self._last = torch.tensor([len(row) - 1 for row in rows], device=self.device)
        answer = self._model(input_ids=ids, past_key_values=past, use_cache=use_cache)
        if answer.logits.shape[:2] != (len(rows), 1):
            raise EngineFailed("the model's head does not read one position of each row")
        return answer.logits[:, 0], getattr(answer, "past_key_values", None)

    def _keep_last(self, _: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        if self._last is None:
            return args
        return (hidden[torch.arange(len(hidden), device=hidden.device), self._last].unsqueeze(1), *args[1:])

    def _try_repeating(self) -> bool:
        past = self.prefix((0, 0))
        repeatable = type(past) is DynamicCache and all(type(layer) in _REPEATABLE for layer in past.layers)
        if repeatable:
            self.rows([(0, 0), (0,)], past)
        return repeatable

    def _try_tree(self) -> bool:
        """Is the tree's answer that of the model's own attention? Leaves the model set up for the way it goes."""
        if self._longest < 64:
            return False
        prompts = _sample(min(100, self._model.get_input_embeddings().weight.shape[0]))
        expected = torch.log_softmax(self.rows([prompt.ids for prompt in prompts]).float(), dim=-1)
        self._model.set_attn_implementation(NAME)
        try:
            (one,) = plan(prompts, range(len(prompts)), max_batch_tokens=1_000)
            kept: Kept = {}
            found = torch.log_softmax(self.read(one, kept).float(), dim=-1)
            if len(kept) != _layers(self._model):
                raise Unsupported("layers without attention")
            apart = ((found - expected[list(one.members)]).abs().mean() / expected.std()).item()
            if apart <= _TOLERANCE.get(self._model.dtype, _ROUGH):
                return True
            _log.warning("the tree's answers are %.1e from the model's own", apart)
        except Exception as error:
            level = logging.INFO if isinstance(error, Unsupported) else logging.WARNING
            _log.log(level, "no tree for this model: %s: %s", type(error).__name__, error)
        self._model.set_attn_implementation(self._own)
        return False


def _layers(model: Any) -> int:
    return int(model.config.get_text_config(decoder=True).num_hidden_layers)


def _repeated(past: DynamicCache, n: int) -> DynamicCache:
    """A cache of n rows that are views of the one row; `past` itself stays as it is."""
    rows = copy.copy(past)
    layers: list[Any] = [copy.copy(layer) for layer in past.layers]
    rows.layers = layers
    for layer in layers:
        if layer.is_initialized:
            layer.keys = layer.keys.expand(n, *layer.keys.shape[1:])
            layer.values = layer.values.expand(n, *layer.values.shape[1:])
    return rows


class _Taken(Exception):
    """The last layer's keys and values are there; the rest of it is computed for the last tokens alone."""


class _LastLayer:
    """The attention of a pass over a whole tree, whose last layer goes on with each row's last token."""

    def __init__(self, model: Any, one: Pass, ends: torch.Tensor, kept: Kept | None) -> None:
        self._layer = model.get_decoder().layers[_layers(model) - 1]
        self._pass = one
        self._ends = ends
        self._kept = kept
        self._taken: tuple[torch.Tensor, torch.Tensor] | None = None
        self._inside = False

    @contextmanager
    def narrowed(self) -> Iterator[None]:
        hook = self._layer.register_forward_pre_hook(self._narrow, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        if self._taken is not None:
            return last_tokens(self._pass, query, *self._taken, scale)
        if self._kept is not None:
            self._kept[layer] = (key, value)
        if self._inside:
            self._taken = key, value
            raise _Taken
        out: torch.Tensor = whole(self._pass.pieces, query, key, value, scale)
        return out

    def _narrow(self, layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        self._inside = True
        try:
            layer.forward(*args, **kwargs)
            raise Unsupported("a last layer without attention")
        except _Taken:
            return self._rows_of(args), {name: self._rows_of(value) for name, value in kwargs.items()}

    def _rows_of(self, value: Any) -> Any:
        """The last tokens' part of what is given token by token: (…, tokens, …) in the second dimension."""
        if isinstance(value, tuple):
            return tuple(map(self._rows_of, value))
        per_token = isinstance(value, torch.Tensor) and value.ndim > 1 and value.shape[1] == len(self._pass.ids)
        return value.index_select(1, self._ends) if per_token else value


def _sample(vocabulary: int) -> list[Prompt]:
    """A conversation of two responses and a prompt by itself, in lengths that a tree shares."""
    ids = [(7 * i * i + 3 * i) % vocabulary for i in range(200)]
    conversation = tuple(ids[:17])
    prompts = [Prompt(conversation + tuple(ids[20 * r : 20 * r + 18]), tuple(ids[90 + n : 95 + 2 * n]))
               for r in (1, 2) for n in (0, 3, 5)]  # fmt: skip
    return [*prompts, Prompt((), tuple(ids[100:140]))]
