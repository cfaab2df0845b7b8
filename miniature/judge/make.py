"""`python -m miniature judge`: train the tiny judge from nothing, save it as it grows, say how good it is.

Guarantees: A folder that has been written once can be loaded from then on, however early the run ends.
"""

import logging
import sys
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from miniature.judge.evaluation import Figures, Verdict, figures, verdicts
from miniature.judge.model import Size, build, save
from miniature.judge.packing import Packer
from miniature.judge.tokenizer import train_tokenizer
from miniature.judge.training import Recipe, p_met, train
from miniature.world.cases import Case, evaluation

_log = logging.getLogger(__name__)
_DEVELOPMENT = 1_000_003
_VOCABULARY = 1536


def make(folder: Path, recipe: Recipe, *, threads: int, every: int = 200) -> None:
    """Train a judge and write it to `folder`, every `every` steps and at the end."""
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    tokenizer = train_tokenizer(vocabulary=_VOCABULARY)
    packer = Packer(tokenizer)
    model = build(Size(), tokenizer, seed=recipe.seed, tail_tokens=packer.tail_tokens)
    development = [evaluation(_DEVELOPMENT, index) for index in range(100)]

    def report(step: int) -> None:
        save(model, tokenizer, folder)
        with tqdm.external_write_mode(sys.stderr):
            _log.info("step %d: %s", step, summary(measure(model, packer, development)))

    train(model, packer, recipe, every=every, report=report)


def load(folder: Path) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """A saved judge, in float32."""
    model: Qwen2ForCausalLM = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def measure(model: Qwen2ForCausalLM, packer: Packer, cases: list[Case], *, batch: int = 25) -> Figures:
    """The judge on the cases, directly, packed as in training."""
    judged: list[Verdict] = []
    for start in range(0, len(cases), batch):
        part = cases[start : start + batch]
        p = p_met(model, packer, packer.batch(part)).tolist()
        for case in part:
            judged += verdicts(case, p[: len(case.criteria)])
            del p[: len(case.criteria)]
    return figures(judged)


def summary(measured: Figures) -> str:
    kinds = ", ".join(f"{tag} {share:.3f}" for tag, (_, share) in measured.by_tag.items())
    return f"accuracy {measured.accuracy:.4f}, calibration error {measured.calibration_error:.4f} ({kinds})"
