"""Tries a loaded model out: how its prompts may be computed together so that each is answered as it would be alone.

Each way is compared with every prompt in a pass of its own, on short prompts and on prompts that cross the model's own
boundaries: a sliding window, a chunk of attention, the original context of rescaled positions. transformers applies
some of these in one way of computing and drops them in another without a word; below the boundary all ways agree.

Guarantees: a way that gives other answers is not used. A model whose answers depend on what it read before is refused.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from service.engine.base import Prompt
from service.engine.local.attention import Unsupported
from service.engine.local.forward import ALONE, BATCHES, SHARED_CACHE, TREES, KeysValues, ModelRunner, Way
from service.engine.local.plan import plan_passes
from service.engine.local.rows import plan_rows
from service.errors import ConfigurationError

_log = logging.getLogger(__name__)
# How far the log-probabilities of two ways may differ, on average and as a share of their standard deviation.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_HALF_PRECISION_TOLERANCE = 0.1
# A boundary further out is not tried: its prompts would cost more than a start should.
LONGEST_PROBE_TOKENS = 16_384
_LEAST_TO_SHARE = 64
_UNBOUNDED = 1 << 30
_BOUNDARY = re.compile(r"window|chunk")
_RESCALED = ("longrope", "dynamic")


def try_out(runner: ModelRunner, *, share: bool) -> Way:
    """Returns the fastest way in which each prompt is answered as it would be alone; the runner goes that way then.

    Raises ConfigurationError for a model that cannot be run, or whose answers depend on what it read before.
    """
    tried, beyond = boundaries(runner.config, runner.max_model_len)
    runner.use(ALONE)
    try:
        with torch.inference_mode():
            short = _Trial.of(runner, short_prompts(runner.max_model_len, runner.vocabulary_size))
            with _first_layers(runner.model):
                crossing = [
                    _Trial.of(runner, crossing_prompts(boundary, runner.max_model_len, runner.vocabulary_size))
                    for boundary in tried
                ]
            for way in _ways(share, runner.max_model_len):
                if not beyond and _is_right(runner, way, short, crossing):
                    return way
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"the judge's model cannot be run ({type(error).__name__}): {error}") from error
    _log.warning("each prompt is computed in a pass of its own: beside others this model answers otherwise")
    runner.use(ALONE)
    return ALONE


def _ways(share: bool, max_model_len: int) -> tuple[Way, ...]:
    return (TREES, SHARED_CACHE, BATCHES) if share and max_model_len >= _LEAST_TO_SHARE else (BATCHES,)


def boundaries(config: Any, max_model_len: int) -> tuple[list[int], list[int]]:
    """Lengths in tokens at which a model begins to compute otherwise and which prompts may have: those that can be
    tried, and those that are too far out."""
    found = sorted({length for length in _lengths(config.to_dict()) if 1 < length < max_model_len})
    return [n for n in found if n <= LONGEST_PROBE_TOKENS], [n for n in found if n > LONGEST_PROBE_TOKENS]


def _lengths(config: Mapping[str, Any]) -> Iterator[int]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _lengths(value)
        elif type(value) is int and _BOUNDARY.search(name) and not name.endswith("layers"):
            yield value
    # Of other kinds of rescaled positions the frequencies are the same for every length.
    if config.get("rope_type") in _RESCALED and type(config.get("original_max_position_embeddings")) is int:
        yield config["original_max_position_embeddings"]


@dataclass(frozen=True, slots=True)
class _Trial:
    """Prompts with their log-probabilities (prompts, vocabulary) where each is computed alone."""

    prompts: list[Prompt]
    expected: torch.Tensor

    @classmethod
    def of(cls, runner: ModelRunner, prompts: list[Prompt]) -> "_Trial":
        alone = [runner.run_rows([prompt.ids]) for prompt in prompts]
        # The first one again, now after longer ones.
        if not _agree(runner, runner.run_rows([prompts[0].ids]), alone[0]):
            raise ConfigurationError(
                "the model's answer to a prompt depends on what it read before, so it is no judge: take another model"
            )
        return cls(prompts, torch.cat(alone))


def _is_right(runner: ModelRunner, way: Way, short: _Trial, crossing: list[_Trial]) -> bool:
    """Returns whether the answers of this way are those of each prompt alone."""
    try:
        runner.use(way)
        if not _agree(runner, _answers(runner, short.prompts), short.expected):
            _log.warning("prompts are not computed by %s: the answers differ from the model's own", way.name)
            return False
        with _first_layers(runner.model):
            for trial in crossing:
                if not _agree(runner, _answers(runner, trial.prompts), trial.expected):
                    longest = max(map(len, trial.prompts))
                    _log.warning("prompts are not computed by %s: they differ at %d tokens", way.name, longest)
                    return False
    except Exception as error:
        # Any failure means that this model goes another way, which is slower and as right.
        level = logging.INFO if isinstance(error, Unsupported) else logging.WARNING
        _log.log(level, "prompts are not computed by %s: %s: %s", way.name, type(error).__name__, error)
        return False
    return True


def _agree(runner: ModelRunner, found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Compares logits, (prompts, vocabulary): every prompt's own answer has to agree."""
    a, b = (torch.log_softmax(logits.float(), dim=-1) for logits in (found, expected))
    apart = ((a - b).abs().mean(dim=-1) / b.std()).max().item()
    return bool(apart <= _TOLERANCE.get(runner.model.dtype, _HALF_PRECISION_TOLERANCE))


def _answers(runner: ModelRunner, prompts: list[Prompt]) -> torch.Tensor:
    """Logits (prompts, vocabulary), computed as the runner's way plans them."""
    every = range(len(prompts))
    rows: dict[int, torch.Tensor] = {}
    if runner.way is TREES:
        (tree_pass,) = plan_passes(prompts, every, max_batch_tokens=_UNBOUNDED)
        keys_values: KeysValues = {}
        rows |= zip(tree_pass.members, runner.run_tree(tree_pass, keys_values), strict=True)
        # A layer that is no attention (a convolution, a state space) would mix the tree's branches.
        if len(keys_values) != runner.layer_count:
            raise Unsupported("layers without attention")
    else:
        for group in plan_rows(prompts, every, max_batch_tokens=_UNBOUNDED, share=runner.way is SHARED_CACHE):
            prefix = runner.compute_prefix(group.shared) if group.shared else None
            for members in group.passes:
                ids = [prompts[index].own if group.shared else prompts[index].ids for index in members]
                rows |= zip(members, runner.run_rows(ids, prefix), strict=True)
    return torch.stack([rows[index] for index in every])


@contextmanager
def _first_layers(model: Any) -> Iterator[None]:
    """Inside, the model has its first layers only, of each kind one at least: what happens at a boundary happens in
    each layer of a kind, and long prompts are dear."""
    decoder: Any = model.get_decoder()
    layers: Any = getattr(decoder, "layers", None)
    count = None if layers is None else _layers_of_each_kind(model, list(layers))
    if count is None:
        yield
        return
    decoder.layers = layers[:count]
    try:
        yield
    finally:
        decoder.layers = layers


def _layers_of_each_kind(model: Any, layers: list[Any]) -> int | None:
    """How many layers, from the first on, hold one of each kind; None where that cannot be told."""
    kinds: list[Any] = [type(layer) for layer in layers]
    declared = getattr(model.config.get_text_config(decoder=True), "layer_types", None)
    if declared is not None:
        if len(declared) < len(layers):
            return None
        kinds = list(zip(kinds, declared, strict=False))
    return max(map(kinds.index, set(kinds))) + 1


def short_prompts(max_model_len: int, vocabulary_size: int) -> list[Prompt]:
    """A conversation of two responses and a prompt by itself, in lengths that a tree shares."""
    if max_model_len < _LEAST_TO_SHARE:
        return [Prompt((), (0,)), Prompt((), (0, 0))]
    ids = _some_ids(200, vocabulary_size)
    conversation = ids[:17]
    prompts = [
        Prompt(conversation + ids[20 * r : 20 * r + 18], ids[90 + n : 95 + 2 * n]) for r in (1, 2) for n in (0, 3, 5)
    ]
    return [*prompts, Prompt((), ids[100:140])]


def crossing_prompts(boundary: int, max_model_len: int, vocabulary_size: int) -> list[Prompt]:
    """A short prompt; two after a prefix that ends just before the boundary, of which the longer one crosses it; two
    after a prefix that crosses it. None is longer than the model reads."""
    ids = _some_ids(boundary + 60, vocabulary_size)
    before, after = max(1, boundary - 10), boundary + 20
    prompts = [
        Prompt((), ids[3:23]),
        Prompt(ids[:before], ids[5:10]),
        Prompt(ids[:before], ids[7:37]),
        Prompt(ids[1 : 1 + after], ids[11:20]),
        Prompt(ids[1 : 1 + after], ids[13:16]),
    ]
    fitting = [prompt for prompt in prompts if len(prompt) < max_model_len]
    return [*fitting, Prompt((), ids[: max_model_len - 1])] if len(fitting) < len(prompts) else fitting


def _some_ids(count: int, vocabulary_size: int) -> tuple[int, ...]:
    size = min(100, vocabulary_size)
    return tuple((7 * i * i + 3 * i) % size for i in range(count))
