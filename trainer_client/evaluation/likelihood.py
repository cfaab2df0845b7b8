"""Reads how likely answers are under a policy that lies in a folder, token by token, and how open it was at each.

The prompt is rendered by the tokenizer's chat template and the answer is tokenised behind it, so that both policies of
a comparison read the same tokens. It needs torch and transformers.

Guarantees: log-probabilities are in float32 of whole softmaxes. The end-of-turn token, which a file of answers does not
tell of, is not counted.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_client.errors import DataError

_NEEDS = "novelty needs torch and transformers: pip install 'rubricd[evaluate,train]'"


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of each token of an answer its log-probability, and the entropy in its place, in nats."""

    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]


def load_tokenizer(folder: Path) -> Any:
    """Raises DataError where there is none, or it has no chat template."""
    _check_folder(folder)
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise DataError(_NEEDS) from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: holds no tokenizer ({_first_line(error)})") from None
    if not tokenizer.chat_template:
        raise DataError(f"{folder}: its tokenizer has no chat template, so that no prompt can be rendered")
    return tokenizer


def token_ids(tokenizer: Any, messages: Sequence[Mapping[str, Any]], answer: str) -> tuple[list[int], list[int]]:
    """The ids of the prompt and of the answer."""
    text = tokenizer.apply_chat_template([dict(one) for one in messages], add_generation_prompt=True, tokenize=False)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    return list(prompt), list(tokenizer(answer, add_special_tokens=False)["input_ids"])


def identity(folder: Path) -> str:
    """A name of the folder's weights as they are now: another training into it is another policy."""
    files = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin"))
    told = [f"{one.name} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in files]
    if not told:
        raise DataError(f"{folder}: holds no weights (*.safetensors)")
    return f"{folder.resolve()}: {', '.join(told)}"


class LocalPolicy:
    """A causal language model in a folder, on a GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM
        except ImportError:
            raise DataError(_NEEDS) from None
        self._torch = torch
        _check_folder(folder)
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: cannot be loaded ({_first_line(error)})") from None
        self._device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self._model = model.to(self._device).eval()
        self._keeps = "logits_to_keep" in inspect.signature(self._model.forward).parameters

    @property
    def vocabulary(self) -> int:
        return int(self._model.config.get_text_config().vocab_size)

    def read(self, prompt: Sequence[int], answer: Sequence[int]) -> Likelihood:
        if not answer:
            return Likelihood((), ())
        torch = self._torch
        ids = torch.tensor([[*prompt, *answer]], device=self._device)
        kept = {"logits_to_keep": len(answer) + 1} if self._keeps else {}
        with torch.inference_mode():
            logits = self._model(input_ids=ids, use_cache=False, **kept).logits[0, -len(answer) - 1 : -1]
            logs = torch.log_softmax(logits.float(), dim=-1)
            own = logs.gather(1, ids[0, len(prompt) :, None])[:, 0]
            entropies = -(logs.exp() * logs).nan_to_num().sum(dim=-1)
        return Likelihood(tuple(own.tolist()), tuple(entropies.tolist()))


def _check_folder(folder: Path) -> None:
    """transformers would look for what is no folder on the Hub, and wait long for it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
