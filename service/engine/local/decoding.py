"""Decodes answers for the local engine: one token for each row and step, each row by its own sampling settings.

Guarantees: a row's choices depend on its own logits, seed and schema; what else is in its batch changes them by
rounding only. With a schema only tokens that continue a document of it can be chosen, without white space between
tokens of JSON. A row's prompt is computed once. Keys and values of shared nodes exist once, whichever rows follow them.
"""

import json
import math
import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from service.engine.base import Generation, Sampling
from service.engine.local.attention import eager_attention, merge_shared_nodes
from service.engine.local.forward import KeysValues
from service.engine.local.plan import Node, TreePass
from service.errors import ConfigurationError, EngineFailed

# Schemas whose grammars are remembered; a service has a handful.
_MAX_GRAMMARS = 32


class OutputTokenizer:
    """The judge's tokenizer as far as decoding needs it. Its files are read at the first generation."""

    def __init__(self, folder: Path, vocabulary_size: int, model: Any) -> None:
        self._folder = folder
        self._vocabulary_size = vocabulary_size
        self._model = model
        self._grammars: dict[str, Any] = {}

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The ids that end an answer, by the checkpoint's generation settings, configuration and tokenizer."""
        declared: list[Any] = [getattr(getattr(self._model, "generation_config", None), "eos_token_id", None)]
        declared += [self._model.config.get_text_config(decoder=True).eos_token_id, self._tokenizer_end_id()]
        ids = [id for each in declared for id in (each if isinstance(each, (list, tuple)) else [each])]
        return tuple(dict.fromkeys(id for id in ids if isinstance(id, int) and 0 <= id < self._vocabulary_size))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def grammar_matcher(self, schema: str) -> Any:
        """A new matcher of the documents of this JSON schema. Raises ValueError if the schema cannot be followed."""
        tokenizer = self._grammar_tokenizer
        if schema not in self._grammars:
            from llguidance import LLMatcher

            grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
            matcher = LLMatcher(tokenizer, grammar)
            if matcher.is_error():
                raise ValueError(f"the schema cannot be followed: {matcher.get_error()}")
            if len(self._grammars) >= _MAX_GRAMMARS:
                self._grammars.clear()
            self._grammars[schema] = matcher
        return self._grammars[schema].deep_copy()

    def release_model(self) -> None:
        """Drops the reference to the model; what was read from it stays."""
        self._model = None

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        except Exception as error:
            raise ConfigurationError(
                f"{self._folder} holds no tokenizer.json that can be read, so this judge cannot generate"
            ) from error

    @cached_property
    def _grammar_tokenizer(self) -> Any:
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise ConfigurationError("answers that follow a schema need the package llguidance: install it") from error
        # Padding and truncation, where set, are for training.
        tokenizer = type(self._tokenizer).from_str(self._tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        ends = list(self.end_ids)
        if not ends:
            raise ConfigurationError(f"{self._folder} names no token that ends an answer: no schema can be followed")
        size = max(self._vocabulary_size, tokenizer.get_vocab_size(with_added_tokens=True))
        return LLTokenizer(tokenizer.to_str(), n_vocab=size, eos_token=ends)

    def _tokenizer_end_id(self) -> int | None:
        path = self._folder / "tokenizer_config.json"
        token = json.loads(path.read_text(encoding="utf-8")).get("eos_token") if path.is_file() else None
        token = token.get("content") if isinstance(token, dict) else token
        return self._tokenizer.token_to_id(token) if isinstance(token, str) else None


class GenerationState:
    """One answer while it is decoded. `done`: no token follows; `finished`: it ended by itself, not by its limit."""

    def __init__(self, sampling: Sampling, tokenizer: OutputTokenizer) -> None:
        self.sampling = sampling
        self.ids: list[int] = []
        self.tokens = 0
        self.done = False
        self.finished = False
        self.failure: str | None = None
        self._tokenizer = tokenizer
        self._end_ids = {*tokenizer.end_ids, *sampling.stop_ids}
        self._matcher = None if sampling.json_schema is None else tokenizer.grammar_matcher(sampling.json_schema)
        self._random = random.Random(sampling.seed)

    def allowed_bitmask(self) -> bytes | None:
        """One bit an id, lowest first; None where all ids are allowed."""
        return None if self._matcher is None or self.done else self._matcher.compute_bitmask()

    def draw_uniform(self) -> float:
        return self._random.random()

    def append(self, token: int) -> None:
        """Continue with this token. An end token inside a document leaves it unfinished."""
        self.tokens += 1
        if token in self._end_ids:
            self.done, self.finished = True, self._matcher is None or self._matcher.is_accepting()
            return
        self.ids.append(token)
        if self._matcher is not None:
            if not self._matcher.consume_token(token):
                return self.fail("the judge's schema could not be followed")
            self.done = self.finished = self._matcher.is_stopped()
        self.done = self.done or self.tokens >= self.sampling.max_tokens

    def fail(self, reason: str) -> None:
        self.done, self.failure = True, reason

    def outcome(self, cached_tokens: int) -> Generation | EngineFailed:
        if self.failure is not None:
            return EngineFailed(self.failure)
        return Generation(self._tokenizer.decode(self.ids), self.finished, self.tokens, cached_tokens)


def sample_tokens(logits: torch.Tensor, states: Sequence[GenerationState]) -> list[int]:
    """Each state's next token, from logits (rows, vocabulary). States for which no token can be chosen fail."""
    scores = logits.float()
    masks = [state.allowed_bitmask() for state in states]
    if any(mask is not None for mask in masks):
        scores = scores.masked_fill(~_unpacked(masks, scores.shape[1]).to(scores.device), -torch.inf)
    best, ids = scores.max(dim=-1)
    for state, score in zip(states, best.tolist(), strict=True):
        if not math.isfinite(score) and not state.done:
            state.fail("the judge has no next token that can be chosen")
    sampled = [row for row, state in enumerate(states) if state.sampling.temperature > 0 and not state.done]
    if sampled:
        temperatures = torch.tensor([[states[row].sampling.temperature] for row in sampled], device=scores.device)
        # Drawn on the CPU, row by row, so that a seed means the same tokens whatever else is in the batch.
        draws = torch.tensor(
            [[states[row].draw_uniform()] for row in sampled], dtype=torch.float64, device=scores.device
        )
        drawn = _inverse_cumulative(scores[sampled], temperatures, draws)
        ids = ids.index_copy(0, torch.tensor(sampled, device=ids.device), drawn)
    chosen: list[int] = ids.tolist()
    return chosen


def _inverse_cumulative(scores: torch.Tensor, temperatures: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """The ids where the cumulative distribution reaches `draws` (rows, 1), uniform in [0, 1). Any id for NaN draws."""
    sums = torch.softmax((scores / temperatures).double().nan_to_num(nan=-1e9), dim=-1).cumsum(dim=-1)
    found = torch.searchsorted(sums, draws * sums[:, -1:], right=True)
    return found.squeeze(1).clamp(max=scores.shape[1] - 1)


def _unpacked(masks: Sequence[bytes | None], size: int) -> torch.Tensor:
    """(rows, size) of bool; ids beyond the end of a mask are not allowed."""
    allowed = torch.zeros(len(masks), size, dtype=torch.bool)
    shifts = torch.arange(8, dtype=torch.uint8)
    for row, mask in enumerate(masks):
        if mask is None:
            allowed[row] = True
            continue
        packed = torch.frombuffer(bytearray(mask), dtype=torch.uint8)
        bits = ((packed.unsqueeze(1) >> shifts) & 1).bool().flatten()[:size]
        allowed[row, : len(bits)] = bits
    return allowed


class DecodingCache:
    """The KV cache of a pass whose rows are decoded: a row's own part in a buffer, shared nodes' once."""

    def __init__(self, tree_pass: TreePass, keys_values: KeysValues, max_new_tokens: int) -> None:
        any_keys = keys_values[0][0]
        self._keys_values = keys_values
        self._shared_nodes: tuple[Node, ...] = tree_pass.shared_nodes
        self._longest = max(map(len, tree_pass.leaves))
        # Leaves are aligned at their ends, so that the next token of every row goes to the same slot.
        slots = torch.arange(self._longest)
        ends = torch.tensor([leaf.end for leaf in tree_pass.leaves])
        tokens = ends[:, None] - self._longest + slots
        seen = tokens >= torch.tensor([leaf.start for leaf in tree_pass.leaves])[:, None]
        self._tokens = torch.where(seen, tokens, ends[:, None] - 1).to(any_keys.device)
        new = torch.ones(len(tree_pass.leaves), max_new_tokens, dtype=torch.bool)
        self._seen = torch.cat([seen, new], 1).to(any_keys.device)
        self._own = {layer: (self._buffer(key), self._buffer(value)) for layer, (key, value) in keys_values.items()}
        self._slot = self._longest - 1

    def advance(self) -> None:
        """Makes room for the next token of every row."""
        self._slot += 1

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Stores each row's new key and value, and computes its attention, (1, heads, rows, head size)."""
        keys, values = self._own[layer]
        keys[:, :, self._slot], values[:, :, self._slot] = key[0].transpose(0, 1), value[0].transpose(0, 1)
        until = slice(self._slot + 1)
        queries = query[0].transpose(0, 1).unsqueeze(2)
        part, part_lse = eager_attention(
            queries, keys[:, :, until], values[:, :, until], scale, seen=self._seen[:, until]
        )
        out = part.squeeze(2).transpose(0, 1).unsqueeze(0).contiguous()
        lse = part_lse.squeeze(2).transpose(0, 1).unsqueeze(0).contiguous()
        merge_shared_nodes(self._shared_nodes, query, *self._keys_values[layer], scale, out, lse)
        return out

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Drops all other rows. `rows` are ascending."""
        index = torch.tensor(list(rows), device=self._seen.device)
        self._seen = self._seen[index]
        self._own = {layer: (keys[index], values[index]) for layer, (keys, values) in self._own.items()}
        self._shared_nodes = tuple(kept for node in self._shared_nodes if (kept := _restricted(node, rows)))

    def _buffer(self, tensor: torch.Tensor) -> torch.Tensor:
        """(1, heads, tokens, head size) of a pass -> (rows, heads, slots, head size)."""
        heads, size = tensor.shape[1], tensor.shape[3]
        buffer = tensor.new_zeros(len(self._tokens), heads, self._seen.shape[1], size)
        buffer[:, :, : self._longest] = tensor[0].transpose(0, 1)[self._tokens].transpose(1, 2)
        return buffer


def _restricted(node: Node, rows: Sequence[int]) -> Node | None:
    """The node where only these rows, ascending, are left; None if none of them is below it."""
    first, last = (sum(row < bound for row in rows) for bound in (node.first_row, node.last_row))
    if first == last:
        return None
    return Node(node.start, node.end, node.last, node.position, first, last)
