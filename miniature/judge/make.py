"""`python -m miniature judge`: train the tiny judge from nothing, save it as it grows, say how good it is.

Guarantees: A folder that has been written once can be loaded from then on, however early the run ends.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import mean, median

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from miniature.judge.evaluation import Figures, Verdict, figures, verdicts
from miniature.judge.model import Size, build, save
from miniature.judge.packing import Packer
from miniature.judge.tokenizer import train_tokenizer
from miniature.judge.training import Recipe, expected_ratings, p_met, train
from miniature.world.cases import BROKEN, Case, evaluation
from miniature.world.ratings import Rated, by_rubric, by_topic

_log = logging.getLogger(__name__)
_DEVELOPMENT = 1_000_003
_VOCABULARY = 1536


def make(
    folder: Path, recipe: Recipe, *, written: Sequence[str], before: Path | None, threads: int, every: int = 250
) -> None:
    """Train a judge, a fresh one or the one in `before`, and write it to `folder`, every `every` steps and at the end.
    Texts that policies have `written` are among what it judges."""
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    if before is None:
        tokenizer = train_tokenizer(vocabulary=_VOCABULARY)
        packer = Packer(tokenizer)
        model = build(Size(), tokenizer, seed=recipe.seed, tail_tokens=packer.tail_tokens)
    else:
        model, tokenizer = load(before)
        packer = Packer(tokenizer)
    development = [evaluation(_DEVELOPMENT, index) for index in range(100)]
    hard = [evaluation(_DEVELOPMENT, index, BROKEN) for index in range(100)]

    def report(step: int) -> None:
        save(model, tokenizer, folder)
        with tqdm.external_write_mode(sys.stderr):
            _log.info("step %d: %s", step, summary(measure(model, packer, development)))
            _log.info("  broken responses: %s", summary(measure(model, packer, hard)))
            for name, error in rating_errors(model, packer, [*development, *hard]).items():
                _log.info("  %s: mean error of a rating %.2f, of the best constant %.2f", name, *error)

    train(model, packer, recipe, written=written, every=every, report=report)


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


def rating_errors(model: Qwen2ForCausalLM, packer: Packer, cases: list[Case]) -> dict[str, tuple[float, float]]:
    """By how it is asked, the mean distance of the judge's mean rating from the right one, and that of the best rating
    that is given to every response alike."""
    random = Random("ratings")
    asked = {
        "by rubric": [by_rubric(case, random, 1) for case in cases],
        "alone": [[by_topic(case, random, referenced=False, training=False)] for case in cases],
        "by reference": [[by_topic(case, random, referenced=True, training=False)] for case in cases],
    }
    return {name: _error(model, packer, name, [row for row in rows if row]) for name, rows in asked.items()}


def _error(model: Qwen2ForCausalLM, packer: Packer, name: str, rows: list[list[Rated]]) -> tuple[float, float]:
    found: list[float] = []
    for start in range(0, len(rows), 25):
        batch = packer.rating_batch(
            "implicit" if name == "by rubric" else "likert", rows[start : start + 25], after_one=True
        )
        found += expected_ratings(model, packer, batch).tolist()
    right = [one.rating for row in rows for one in row]
    middle = median(right)
    return (
        mean(abs(rating - truth) for rating, truth in zip(found, right, strict=True)),
        mean(abs(middle - truth) for truth in right),
    )


def summary(measured: Figures) -> str:
    kinds = ", ".join(f"{tag} {share:.3f}" for tag, (_, share) in measured.by_tag.items())
    return f"accuracy {measured.accuracy:.4f}, calibration error {measured.calibration_error:.4f} ({kinds})"
