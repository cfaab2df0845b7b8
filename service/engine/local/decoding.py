"""How the local engine writes an answer: one token a row and step, each row by its own sampling.

Always true:
- A row's choices depend on its own logits, seed and schema; what else is in its batch changes them by rounding only.
- With a schema only what continues a document of it can be chosen, without white space between tokens of JSON.
- A row's prompt is computed once; shared pieces' keys and values exist once, whoever writes on.
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
from service.engine.local.attention import above, plain
from service.engine.local.forward import Kept
from service.engine.local.plan import Pass, Piece
from service.errors import ConfigurationError, EngineFailed

# Schemas whose grammars are remembered; a service has a handful.
_GRAMMARS = 32


class Language:
    """The judge's tokenizer as far as writing needs it. Read when first used."""

    def __init__(self, folder: Path, vocabulary: int, model: Any) -> None:
        self._folder = folder
        self._vocabulary = vocabulary
        self._model = model
        self._grammars: dict[str, Any] = {}

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The ids that end an answer by the checkpoint's own word."""
        told: list[Any] = [getattr(getattr(self._model, "generation_config", None), "eos_token_id", None)]
        told += [self._model.config.get_text_config(decoder=True).eos_token_id, self._tokenizer_end()]
        ids = [one for each in told for one in (each if isinstance(each, (list, tuple)) else [each])]
        return tuple(dict.fromkeys(one for one in ids if isinstance(one, int) and 0 <= one < self._vocabulary))

    def text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def grammar(self, schema: str) -> Any:
        """A matcher of the documents of this JSON schema. Raises ValueError if it is none that can be followed."""
        guide = self._guide
        if schema not in self._grammars:
            from llguidance import LLMatcher

            grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
            matcher = LLMatcher(guide, grammar)
            if matcher.is_error():
                raise ValueError(f"the schema cannot be followed: {matcher.get_error()}")
            if len(self._grammars) >= _GRAMMARS:
                self._grammars.clear()
            self._grammars[schema] = matcher
        return self._grammars[schema].deep_copy()

    def forget(self) -> None:
        """Let go of the model; what was read from it stays."""
        self._model = None

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        except Exception as error:
            raise ConfigurationError(f"{self._folder} holds no tokenizer.json that can be read: no writing") from error

    @cached_property
    def _guide(self) -> Any:
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise ConfigurationError("answers that follow a schema need the package llguidance: install it") from error
        # Padding and truncation, where set, are for training.
        tokenizer = type(self._tokenizer).from_str(self._tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        ends = list(self.ends)
        if not ends:
            raise ConfigurationError(f"{self._folder} tells no token that ends an answer: no schema can be followed")
        size = max(self._vocabulary, tokenizer.get_vocab_size(with_added_tokens=True))
        return LLTokenizer(tokenizer.to_str(), n_vocab=size, eos_token=ends)

    def _tokenizer_end(self) -> int | None:
        path = self._folder / "tokenizer_config.json"
        token = json.loads(path.read_text(encoding="utf-8")).get("eos_token") if path.is_file() else None
        token = token.get("content") if isinstance(token, dict) else token
        return self._tokenizer.token_to_id(token) if isinstance(token, str) else None


class Writer:
    """One answer while it is written."""

    def __init__(self, sampling: Sampling, language: Language) -> None:
        self.sampling = sampling
        self.ids: list[int] = []
        self.tokens = 0
        self.over = False
        self.finished = False
        self.failure: str | None = None
        self._language = language
        self._ends = {*language.ends, *sampling.stop_ids}
        self._matcher = None if sampling.json_schema is None else language.grammar(sampling.json_schema)
        self._random = random.Random(sampling.seed)

    def allowed(self) -> bytes | None:
        """One bit an id, lowest first; None where all are."""
        return None if self._matcher is None or self.over else self._matcher.compute_bitmask()

    def draw(self) -> float:
        return self._random.random()

    def take(self, token: int) -> None:
        """Go on with this token. An end inside a document is an unfinished one."""
        self.tokens += 1
        if token in self._ends:
            self.over, self.finished = True, self._matcher is None or self._matcher.is_accepting()
            return
        self.ids.append(token)
        if self._matcher is not None:
            if not self._matcher.consume_token(token):
                return self.fail("the judge's schema could not be followed")
            self.over = self.finished = self._matcher.is_stopped()
        self.over = self.over or self.tokens >= self.sampling.max_tokens

    def fail(self, reason: str) -> None:
        self.over, self.failure = True, reason

    def outcome(self, cached_tokens: int) -> Generation | EngineFailed:
        if self.failure is not None:
            return EngineFailed(self.failure)
        return Generation(self._language.text(self.ids), self.finished, self.tokens, cached_tokens)


def choose(logits: torch.Tensor, writers: Sequence[Writer]) -> list[int]:
    """Each writer's next token, from logits (rows, vocabulary). Writers without one that can be chosen fail."""
    scores = logits.float()
    masks = [writer.allowed() for writer in writers]
    if any(mask is not None for mask in masks):
        scores = scores.masked_fill(~_bits(masks, scores.shape[1]).to(scores.device), -torch.inf)
    best, ids = scores.max(dim=-1)
    for writer, score in zip(writers, best.tolist(), strict=True):
        if not math.isfinite(score) and not writer.over:
            writer.fail("the judge has no next token that can be chosen")
    hot = [row for row, writer in enumerate(writers) if writer.sampling.temperature > 0 and not writer.over]
    if hot:
        temperatures = torch.tensor([[writers[row].sampling.temperature] for row in hot], device=scores.device)
        draws = torch.tensor([[writers[row].draw()] for row in hot], dtype=torch.float64, device=scores.device)
        ids = ids.index_copy(0, torch.tensor(hot, device=ids.device), _drawn(scores[hot], temperatures, draws))
    chosen: list[int] = ids.tolist()
    return chosen


def _drawn(scores: torch.Tensor, temperatures: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """The inverse of the cumulative distribution at `draws` (rows, 1), uniform in [0, 1). NaN draws are anything."""
    sums = torch.softmax((scores / temperatures).double().nan_to_num(nan=-1e9), dim=-1).cumsum(dim=-1)
    found = torch.searchsorted(sums, draws * sums[:, -1:], right=True)
    return found.squeeze(1).clamp(max=scores.shape[1] - 1)


def _bits(masks: Sequence[bytes | None], size: int) -> torch.Tensor:
    """(rows, size) of bool; what a mask does not reach is not allowed."""
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


class Rows:
    """The keys and values of a pass whose rows are written on: a row's own in a buffer, shared pieces' once."""

    def __init__(self, one: Pass, kept: Kept, room: int) -> None:
        """`room` is the number of tokens that are written at most."""
        any_keys = kept[0][0]
        self._kept = kept
        self._shared: tuple[Piece, ...] = one.shared
        self._longest = max(map(len, one.leaves))
        slots = torch.arange(self._longest)
        ends = torch.tensor([leaf.end for leaf in one.leaves])
        tokens = ends[:, None] - self._longest + slots
        seen = tokens >= torch.tensor([leaf.start for leaf in one.leaves])[:, None]
        self._tokens = torch.where(seen, tokens, ends[:, None] - 1).to(any_keys.device)
        self._seen = torch.cat([seen, torch.ones(len(one.leaves), room, dtype=torch.bool)], 1).to(any_keys.device)
        self._own = {layer: (self._buffer(key), self._buffer(value)) for layer, (key, value) in kept.items()}
        self._slot = self._longest - 1

    def advance(self) -> None:
        """A token of every row follows."""
        self._slot += 1

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """One new token a row: (1, heads, rows, head size)."""
        keys, values = self._own[layer]
        keys[:, :, self._slot], values[:, :, self._slot] = key[0].transpose(0, 1), value[0].transpose(0, 1)
        until = slice(self._slot + 1)
        alone = query[0].transpose(0, 1).unsqueeze(2)
        part, part_lse = plain(alone, keys[:, :, until], values[:, :, until], scale, seen=self._seen[:, until])
        out = part.squeeze(2).transpose(0, 1).unsqueeze(0).contiguous()
        lse = part_lse.squeeze(2).transpose(0, 1).unsqueeze(0).contiguous()
        above(self._shared, query, *self._kept[layer], scale, out, lse)
        return out

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        index = torch.tensor(list(rows), device=self._seen.device)
        self._seen = self._seen[index]
        self._own = {layer: (keys[index], values[index]) for layer, (keys, values) in self._own.items()}
        self._shared = tuple(smaller for piece in self._shared if (smaller := _fewer(piece, rows)))

    def _buffer(self, one: torch.Tensor) -> torch.Tensor:
        """(1, heads, tokens, head size) of a pass -> (rows, heads, slots, head size)."""
        heads, size = one.shape[1], one.shape[3]
        buffer = one.new_zeros(len(self._tokens), heads, self._seen.shape[1], size)
        buffer[:, :, : self._longest] = one[0].transpose(0, 1)[self._tokens].transpose(1, 2)
        return buffer


def _fewer(piece: Piece, rows: Sequence[int]) -> Piece | None:
    """The piece where only these rows, ascending, are left; None if none of them follows on it."""
    first, last = (sum(row < bound for row in rows) for bound in (piece.first_row, piece.last_row))
    if first == last:
        return None
    return Piece(piece.start, piece.end, piece.last, piece.position, first, last)
