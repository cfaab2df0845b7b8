"""However prompts are computed together, each is answered as it would be alone, also across a model's boundaries."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from service.engine.base import LabelLogprobs, Prompt
from service.engine.checkpoint import load_checkpoint
from service.engine.local.engine import LocalEngine
from service.engine.local.probe import boundaries, crossing_prompts
from service.errors import ConfigurationError
from tests.service.engine.local.prompts import LABELS, ids

Load = Callable[..., LocalEngine]
Make = Callable[[str], Path]
APART = 1e-5
WAYS = {
    "qwen2": "rubricd_tree",
    "phi3": "rubricd_tree",
    "dynamic": "rubricd_tree",
    "mistral": "sdpa",
    "gemma2": "eager",
    "gemma3": "sdpa",
    "llama4": "sdpa",
}
"""The attention of each kind of architecture; other than a tree's, it is rows after a shared prefix."""


def mixed() -> list[Prompt]:
    """Short and long ones, some after a common prefix that ends below a boundary (64, 80) or above."""
    a, b = ids(50, 1), ids(100, 2)
    prompts = [Prompt(a, ids(n, n)) for n in (3, 20, 120)] + [Prompt(b, ids(n, n)) for n in (4, 9)]
    return prompts + [Prompt((), ids(n, n)) for n in (5, 40, 150, 190)]


def p_met(outcome: Any) -> float:
    assert isinstance(outcome, LabelLogprobs), outcome
    met, unmet = map(math.exp, outcome.logprobs)
    return met / (met + unmet)


@pytest.mark.parametrize("name", list(WAYS))
async def test_a_verdict_does_not_depend_on_what_is_judged_beside_it(name: str, load: Load) -> None:
    engine = load(name)
    assert (engine.identity.facts["attention"], engine.identity.facts["share_prefix"]) == (WAYS[name], "true")
    together = [p_met(outcome) for outcome in await engine.read_labels(mixed(), LABELS)]
    alone = [p_met((await engine.read_labels([prompt], LABELS))[0]) for prompt in mixed()]
    assert together == pytest.approx(alone, abs=APART)
    assert max(alone) - min(alone) > 0.3, "the prompts must tell a mistake from the truth"


def plain(folder: Path, prompts: list[Prompt]) -> list[float]:
    """transformers alone, one row at a time, each in a model of its own."""
    found = []
    for prompt in prompts:
        model = AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            met, unmet = torch.softmax(model(torch.tensor([prompt.ids])).logits[0, -1].float(), -1)[list(LABELS)]
        found.append((met / (met + unmet)).item())
    return found


@pytest.mark.parametrize(("longest", "factors"), [(None, "short"), (64, "short"), (65, "long"), (256, "long")])
async def test_longrope_has_one_set_of_factors_by_the_longest_prompt_that_is_accepted(
    longest: int | None, factors: str, checkpoint: Make
) -> None:
    folder = checkpoint("phi3")
    loaded = load_checkpoint(str(folder), revision=None, dtype="auto", device="cpu", max_model_len=longest)
    engine = LocalEngine(loaded, workers=2)
    assert engine.max_model_len == longest or (longest is None and engine.max_model_len == 64)
    assert engine.identity.facts["longrope_factors"] == factors
    short, long = Prompt(ids(20, 1), ids(9, 2)), Prompt(ids(20, 1), ids(90, 3))
    asked = [short, long] if engine.max_model_len > 200 else [short]
    found = [p_met(outcome) for outcome in await engine.read_labels(asked, LABELS)]
    await engine.stop()
    theirs = plain(folder, asked)
    # transformers takes the short factors for the short prompt, whatever else the judge accepts.
    assert (found[0] == pytest.approx(theirs[0], abs=APART)) == (factors == "short")
    assert found[1:] == pytest.approx(theirs[1:], abs=APART)


async def test_a_chunk_that_a_tree_does_not_know_is_found_where_it_begins(
    checkpoint: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The short prompts are all within one chunk, where a tree is as right as any other way."""
    loaded = load_checkpoint(str(checkpoint("llama4")), revision=None, dtype="auto", device="cpu", max_model_len=200)
    loaded.model.get_decoder = lambda: loaded.model.model
    engine = LocalEngine(loaded, workers=1)
    assert engine.identity.facts["attention"] == "sdpa"
    assert "not computed by prefix trees: they differ at 109 tokens" in caplog.text
    together = [p_met(outcome) for outcome in await engine.read_labels(mixed(), LABELS)]
    alone = [p_met((await engine.read_labels([prompt], LABELS))[0]) for prompt in mixed()]
    await engine.stop()
    assert together == pytest.approx(alone, abs=APART)
    assert len(loaded.model.model.layers) == 2, "all layers are there again"


def test_frequencies_that_follow_the_longest_prompt_would_be_found(
    checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.local.engine.fix_frequencies", lambda *_: None)
    loaded = load_checkpoint(str(checkpoint("phi3")), revision=None, dtype="auto", device="cpu", max_model_len=200)
    assert LocalEngine(loaded, workers=1).identity.facts["batched"] == "false"


async def test_a_model_that_no_way_suits_judges_each_prompt_in_a_pass_of_its_own(
    checkpoint: Make, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_checkpoint(str(checkpoint("mistral")), revision=None, dtype="auto", device="cpu", max_model_len=200)
    rows: list[int] = []

    def sway(_: Any, args: Any, output: Any) -> Any:
        """The answer depends on how many are judged."""
        rows.append(len(output))
        output[:, :, 0] += len(output)
        return output

    loaded.model.get_output_embeddings().register_forward_hook(sway)
    engine = LocalEngine(loaded, workers=1)
    assert (engine.identity.facts["batched"], engine.identity.facts["share_prefix"]) == ("false", "false")
    assert "a pass of its own" in caplog.text
    rows.clear()
    together = await engine.read_labels(mixed(), LABELS)
    assert rows == [1] * len(mixed())
    assert together == [(await engine.read_labels([prompt], LABELS))[0] for prompt in mixed()]
    await engine.stop()


def test_a_model_that_remembers_what_it_read_is_refused(checkpoint: Make) -> None:
    loaded = load_checkpoint(str(checkpoint("qwen2")), revision=None, dtype="auto", device="cpu", max_model_len=200)
    longest = [0]

    def remember(_: Any, args: Any, output: Any) -> Any:
        longest[0] += 1
        return output * longest[0]

    loaded.model.get_output_embeddings().register_forward_hook(remember)
    with pytest.raises(ConfigurationError, match="depends on what it read before"):
        LocalEngine(loaded, workers=1)


def test_boundaries_are_the_lengths_that_a_prompt_can_cross() -> None:
    window = {"sliding_window": 512, "local_window": None, "use_sliding_window": True, "max_window_layers": 28}
    rescaled = {"rope_type": "longrope", "original_max_position_embeddings": 4096}
    config = SimpleNamespace(to_dict=lambda: {**window, "attention_chunk_size": 20_000, "rope_parameters": rescaled})
    assert boundaries(config, 131_072) == ([512, 4096], [20_000])
    assert boundaries(config, 4096) == ([512], [])
    static = {"rope_type": "llama3", "original_max_position_embeddings": 8192}
    assert boundaries(SimpleNamespace(to_dict=lambda: {"rope_parameters": static}), 131_072) == ([], [])


@pytest.mark.parametrize("longest", [90, 81, 200])
def test_prompts_across_a_boundary_are_no_longer_than_the_model_reads(longest: int) -> None:
    lengths = [len(prompt) for prompt in crossing_prompts(80, longest, 300)]
    assert max(lengths) < longest and (max(lengths) > 80 or longest == 81)
    assert min(lengths) == 20
