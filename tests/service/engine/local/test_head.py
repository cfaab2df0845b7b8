"""A model of half precision has logits in float32, which are its own."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from service.engine.base import LabelLogprobs, Prompt
from service.engine.local.engine import LocalEngine
from service.engine.local.forward import ModelRunner
from service.engine.local.head import compute_in_float32
from testkit.processes import ROOT
from tests.service.engine.conftest import CONFIGS
from tests.service.engine.local.prompts import LABELS, ids

LoadWithModel = Callable[..., tuple[LocalEngine, Any]]


def own_logits(folder: Path, row: tuple[int, ...], hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What the model's own code makes of these last hidden states, (1, vocabulary), computed in `dtype` from the
    weights in bfloat16."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model = model.to(dtype)
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: (hidden.to(dtype),))
    return torch.as_tensor(model(torch.tensor([row])).logits[:, -1])


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_the_models_own_in_float32(name: str, checkpoint: Callable[[str], Path]) -> None:
    """The scale, cap or bias behind the head is kept, whatever the family calls it, and tied embeddings are read."""
    folder, row = checkpoint(name), ids(40, 3)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    runner = ModelRunner(model, torch.device("cpu"), 200)
    seen: list[torch.Tensor] = []
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        found = runner.run_rows([row])
        wanted = own_logits(folder, row, seen[0], torch.float32)
        rounded = own_logits(folder, row, seen[0], torch.bfloat16)
    assert (runner.head_dtype, found.dtype) == ("float32", torch.float32)
    largest = wanted.abs().max()
    assert (found - wanted).abs().max() <= 1e-5 * largest
    assert (rounded - wanted).abs().max() > 1e-3 * largest, "bfloat16 is what this is to be better than"


def test_a_head_of_another_kind_stays_as_it_is(checkpoint: Callable[[str], Path]) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint("llama"), dtype=torch.float32)
    assert compute_in_float32(model) == "float32"
    assert "forward" not in vars(model.lm_head)

    class Quantised(torch.nn.Linear):
        pass

    model.lm_head = Quantised(64, 300, bias=False).bfloat16()
    assert compute_in_float32(model) == "bfloat16"
    assert "forward" not in vars(model.lm_head)


async def test_bfloat16_weights_give_as_many_probabilities_as_prompts(load_with_model: LoadWithModel) -> None:
    """The logits stand near 16, as a real model's do, where bfloat16 knows multiples of 0.125: 94 different P(met) of
    these 200 prompts, and 5 ties of the two labels of which 3 were met by rounding."""
    engines = []
    for dtype in ("bfloat16", "float32"):
        engine, model = load_with_model("phi", dtype=dtype)
        with torch.no_grad():
            model.lm_head.bias += 16
        engines.append(engine)
    assert [engine.identity.facts["head_dtype"] for engine in engines] == ["float32", "float32"]
    prompts = [Prompt(ids(30, n % 20), ids(9, 100 + n)) for n in range(200)]
    rough, exact = [await p_met(engine, prompts) for engine in engines]
    assert len(set(rough)) == 200
    turned = [(p, q) for p, q in zip(rough, exact, strict=True) if (p >= 0.5) is not (q >= 0.5)]
    assert all(abs(q - 0.5) < 0.01 for _, q in turned), turned


async def p_met(engine: LocalEngine, prompts: list[Prompt]) -> list[float]:
    outcomes = [one for one in await engine.read_labels(prompts, LABELS) if isinstance(one, LabelLogprobs)]
    assert len(outcomes) == len(prompts)
    return [1 / (1 + math.exp(one.logprobs[1] - one.logprobs[0])) for one in outcomes]


HELD = """
import resource, torch
from service.engine.local.head import compute_in_float32
model = torch.nn.Linear(4096, 32768, bias=False, dtype=torch.bfloat16)
model.get_output_embeddings = lambda: model
rows = torch.ones(1, 4096, dtype=torch.bfloat16)
peak_kib = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    model(rows)
    before = peak_kib()
    assert compute_in_float32(model) == "float32" and model(rows).dtype == torch.float32
    print(peak_kib() - before)
"""


def test_no_float32_copy_of_the_head_is_held() -> None:
    """One would be 512 MiB here. Pieces that are freed between results that stay came to as much, in half of the
    runs: the memory between two results is not used again."""
    done = subprocess.run([sys.executable, "-c", HELD], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 1024
