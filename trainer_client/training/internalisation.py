"""Measures the self-internalisation gap of a run's checkpoints: it samples answers with the rubric in the prompt, and
compares their log-probabilities with and without it.

Guarantees: every checkpoint is measured on the same prompts, chosen by SHA-256 of their rows' ids. A checkpoint that
was measured is kept in the run's folder and is not measured twice. Nothing of a prompt or an answer is kept.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer_client.data.rows import Row
from trainer_client.errors import DataError
from trainer_client.scaffold import Scaffold, Schedule, placed
from trainer_client.training import preflight
from trainer_client.training.run import config as run_config
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfig
from trainer_client.trl.trainer import rendered
from trainer_client.watch.internalisation import Checkpoint, gap

_TOKENS = 256
Pair = tuple[list[int], list[int]]
"""The token ids of a prompt without and with its rubric."""


def measured(
    folder: Path,
    prompts: int,
    samples: int,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> list[Checkpoint]:
    """The gap at the start and at each checkpoint of a run. Raises DataError or RunConfigError."""
    run = run_config.read(folder / "run.yaml")
    rows = chosen(preflight.rows_of(run, run.eval_data or run.data), prompts)
    store, key = folder / "watch" / "internalisation.jsonl", [[row.id for row in rows], samples]
    known = _kept(store, key)
    policies = [(0, Path(run.policy)), *((run_dir.step_of(path), path) for path in _checkpoints(folder))]
    found = []
    for place, (step, path) in enumerate(policies):
        told(place, len(policies))
        gaps = known.get(step)
        if gaps is None:
            gaps = _gaps(run, path, rows, samples).tolist()
            store.parent.mkdir(exist_ok=True)
            with store.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps({'key': key, 'step': step, 'gaps': gaps})}\n")
        found.append(Checkpoint(step, np.array(gaps, dtype=np.float64)))
    told(len(policies), len(policies))
    return found


def chosen(rows: Sequence[Row], count: int) -> list[Row]:
    """So many rows that have a rubric with something to reveal, the same ones each time. Raises DataError."""
    fit = [row for row in rows if row.rubric is not None and row.rubric.counted()]
    if not fit:
        raise DataError("no row of the run has a rubric, without which there is no gap")
    return sorted(fit, key=lambda row: hashlib.sha256(row.id.encode(errors="surrogatepass")).digest())[:count]


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(f"{run_dir.CHECKPOINT}*") if (path / run_dir.STATE).is_file()]
    return sorted(found, key=run_dir.step_of)


def _gaps(run: RunConfig, path: Path, rows: Sequence[Row], samples: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    model, tokenizer = _loaded(run, path)
    pairs = prompts_of(run, tokenizer, rows)
    torch.manual_seed(run.seed)
    tokens = int(run.trl.get("max_completion_length") or _TOKENS)
    with _evaluating(model):
        found = [_log_probabilities(model, pair, samples, tokens, tokenizer) for pair in pairs]
    bare, conditioned = (np.array(one, dtype=np.float64) for one in zip(*found, strict=True))
    return gap(bare, conditioned)


def prompts_of(run: RunConfig, tokenizer: Any, rows: Sequence[Row]) -> list[Pair]:
    """The prompts as the run's policy sees them: bare, and with the whole rubric as the run's scaffold words it."""
    template = run.trl.get("chat_template_kwargs") or {}

    def ids(messages: Any) -> list[int]:
        found: list[int] = tokenizer(rendered(tokenizer, messages, template), add_special_tokens=False)["input_ids"]
        return found

    # Where the run's own scaffold is `none`, its place is not yet decided.
    shown = replace(run.scaffolding(), schedule=Schedule(over="constant"))
    scaffold: Scaffold = placed(shown, lambda messages: rendered(tokenizer, messages, template))
    pairs = []
    for row in rows:
        criteria = [] if row.rubric is None else row.rubric.criteria
        whole = [] if row.rubric is None else row.rubric.counted()
        pairs.append((ids(row.messages), ids(scaffold.messages(row.messages, criteria, whole))))
    return pairs


def _log_probabilities(
    model: Any, pair: Pair, samples: int, tokens: int, tokenizer: Any
) -> tuple[list[float], list[float]]:
    """Mean log-probabilities of the tokens of so many answers, without and with the rubric."""
    bare, conditioned = pair
    given = torch.tensor([conditioned], device=model.device)
    made = model.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        max_new_tokens=tokens,
        num_return_sequences=samples,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )[:, len(conditioned) :]
    mask = until_end(made, tokenizer.eos_token_id)
    return mean_log_probability(model, bare, made, mask), mean_log_probability(model, conditioned, made, mask)


def until_end(made: torch.Tensor, end: int) -> torch.Tensor:
    """1 for each token of an answer up to its end token, and for that; 0 for what fills up the row."""
    ended = (made == end).int().cumsum(dim=1) - (made == end).int()
    return (ended == 0).int()


def mean_log_probability(model: Any, prompt: list[int], answers: torch.Tensor, mask: torch.Tensor) -> list[float]:
    """For each answer (K, T) after the prompt the mean of its tokens' log-probabilities (K,)."""
    before = torch.tensor([prompt], device=answers.device).expand(answers.shape[0], -1)
    attention = torch.cat([torch.ones_like(before), mask.to(before.dtype)], dim=1)
    logits = model(input_ids=torch.cat([before, answers], dim=1), attention_mask=attention).logits
    own = logits[:, len(prompt) - 1 : -1].float().log_softmax(dim=-1).gather(2, answers[..., None])[..., 0]
    means: list[float] = ((own * mask).sum(dim=1) / mask.sum(dim=1)).tolist()
    return means


def _loaded(run: RunConfig, path: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = run.dtype if run.dtype == "auto" else getattr(torch, run.dtype)
    if (path / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(path, dtype=dtype)
    else:
        model = AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model, AutoTokenizer.from_pretrained(run.policy)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    model.eval()
    with torch.no_grad():
        yield


def _kept(store: Path, key: list[Any]) -> dict[int, list[float]]:
    """The gaps that were measured of these rows, by step. A line that is cut off is ignored."""
    found = {}
    for line in store.read_text(encoding="utf-8").splitlines() if store.exists() else []:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if one["key"] == key:
            found[int(one["step"])] = one["gaps"]
    return found
