"""Answers chat requests with a model from a folder, in this process, for who has no API: one request at a time.

It takes the place of a chat endpoint's connection, so that the log, the tokens and the errors are the same. It is meant
for small models; a large one is served (`vllm serve FOLDER`). Guarantees: the address changes with the folder's files,
so that a model that was trained on is not answered for from the log. The model is loaded at the first request.
"""

import asyncio
import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from trainer_client.errors import DataError

_MOST_TOKENS = 2048
"""Of an answer, where the request does not say."""


def local_url(folder: Path) -> str:
    """The address of a folder's model as it is now. Raises DataError where there is none, or nothing to run it."""
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder} is no folder of a model: it has no config.json; or name an API with --model-url")
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise DataError(f"a model in a folder needs {' and '.join(missing)}: pip install 'rubricd[train]'")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    facts = [[path.name, (stat := path.stat()).st_size, stat.st_mtime_ns] for path in files]
    return f"http://model-{sha256(json.dumps(facts).encode()).hexdigest()[:16]}.local/v1"


class LocalModel(httpx.AsyncBaseTransport):
    """The model of a folder as what answers requests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()
        self._model: _Model | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        async with self._lock:
            try:
                return httpx.Response(200, json=await asyncio.to_thread(self._answer, body))
            except _Refused as error:
                return httpx.Response(400, json={"error": {"message": str(error)}})

    def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._model is None:
            self._model = _Model(self._folder)
        return self._model.answer(body)


class _Refused(Exception):
    """The request cannot be answered as it is written."""


class _Model:
    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # the command shows its own
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._name = folder.name
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        dtype = "auto" if device == "cuda" else torch.float32
        model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=dtype)
        self._model = model.to(device).eval()
        ends = self._model.generation_config.eos_token_id
        self._ends: list[int] = list(ends) if isinstance(ends, list | tuple) else [ends] if ends is not None else []
        self._context = int(getattr(self._model.config, "max_position_embeddings", 0) or 1 << 30)

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as an endpoint writes it. Raises _Refused."""
        import torch

        prompt = self._prompt(body["messages"])
        room = self._context - prompt.shape[1]
        if room < 1:
            raise _Refused(f"the prompt has {prompt.shape[1]} tokens, and the model reads {self._context}")
        n, temperature = int(body.get("n", 1)), body.get("temperature")
        schema = _schema(body.get("response_format"))
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(int(body.get("seed", 0)))
            written = self._model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=min(int(body.get("max_tokens", _MOST_TOKENS)), room),
                num_return_sequences=n,
                pad_token_id=self._ends[0] if self._ends else 0,
                return_dict_in_generate=True,
                output_logits=bool(body.get("logprobs")),
                logits_processor=[] if schema is None else [self._grammar(schema, n, prompt.shape[1])],
                **_sampling(temperature, body.get("top_p"), n),
            )
        rows = [self._cut(ids) for ids in written.sequences[:, prompt.shape[1] :].tolist()]
        choices = [self._choice(place, *row, written.logits, body) for place, row in enumerate(rows)]
        tokens = {"prompt_tokens": prompt.shape[1], "completion_tokens": sum(len(ids) for ids, _ in rows)}
        return {"model": self._name, "choices": choices, "usage": tokens}

    def _prompt(self, messages: Sequence[Mapping[str, str]]) -> Any:
        from jinja2.exceptions import TemplateError

        try:
            return self._tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=False
            ).to(self._model.device)
        except (TemplateError, ValueError) as error:
            raise _Refused(f"the model's chat template does not take this conversation: {error}") from None

    def _grammar(self, schema: Mapping[str, Any], rows: int, begins: int) -> Any:
        try:
            from llguidance import LLMatcher
            from llguidance.hf import from_tokenizer
        except ImportError:
            raise _Refused("answers under a schema need llguidance: pip install it, or use --constrain none") from None
        size = self._model.get_output_embeddings().weight.shape[0]
        tokenizer = from_tokenizer(self._tokenizer, n_vocab=size, eos_token=self._ends or None)
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides={"whitespace_flexible": False})
        matchers = [LLMatcher(tokenizer, grammar) for _ in range(rows)]
        if matchers[0].is_error():
            raise _Refused(f"the schema cannot be followed: {matchers[0].get_error()}")
        return _Following(matchers, begins)

    def _cut(self, ids: list[int]) -> tuple[list[int], str]:
        """The tokens up to the one that ends an answer, and why it ended."""
        end = next((place for place, id in enumerate(ids) if id in self._ends), None)
        return (ids, "length") if end is None else (ids[:end], "stop")

    def _choice(self, place: int, ids: list[int], finish: str, logits: Any, body: Mapping[str, Any]) -> dict[str, Any]:
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        choice = {"index": place, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        if body.get("logprobs"):
            top = int(body.get("top_logprobs", 0))
            tokens = [self._token(id, step[place], top) for id, step in zip(ids, logits, strict=False)]
            choice["logprobs"] = {"content": tokens}
        return choice

    def _token(self, id: int, logits: Any, top: int) -> dict[str, Any]:
        logprobs = logits.float().log_softmax(-1)
        values, likely = logprobs.topk(top)
        others = [
            {"token": self._tokenizer.decode([other]), "logprob": value}
            for value, other in zip(values.tolist(), likely.tolist(), strict=True)
        ]
        return {"token": self._tokenizer.decode([id]), "logprob": float(logprobs[id]), "top_logprobs": others}


class _Following:
    """Lets each row write tokens that its schema allows, and no others."""

    def __init__(self, matchers: Sequence[Any], begins: int) -> None:
        self._matchers = matchers
        self._begins = begins

    def __call__(self, ids: Any, scores: Any) -> Any:
        for row, matcher in enumerate(self._matchers):
            if ids.shape[1] > self._begins and not matcher.is_stopped():
                matcher.consume_token(int(ids[row, -1]))
            scores[row].masked_fill_(~_allowed(matcher.compute_bitmask(), scores.shape[1]).to(scores.device), -math.inf)
        return scores


def _allowed(mask: bytes, size: int) -> Any:
    """One bool a token of a mask with one bit a token, the lowest first; tokens beyond its end are not allowed."""
    import torch  # and not llguidance.torch, which imports the whole compiler

    packed = torch.frombuffer(bytearray(mask), dtype=torch.uint8)
    bits = ((packed.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)) & 1).bool().flatten()[:size]
    return torch.nn.functional.pad(bits, (0, size - len(bits)))


def _schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if response_format is None:
        return None
    if response_format["type"] == "json_object":
        return {"type": "object"}
    schema: Mapping[str, Any] = response_format["json_schema"]["schema"]
    return schema


def _sampling(temperature: float | None, top_p: float | None, n: int) -> dict[str, Any]:
    """Arguments of `generate`; what is not said is the model's own."""
    if temperature == 0:
        # Beams are what `generate` returns several of without sampling, and these would not be n equal answers.
        return {"do_sample": n > 1} | ({"temperature": 1e-4} if n > 1 else {"temperature": None, "top_p": None})
    given = {"temperature": temperature, "top_p": top_p}
    return {"do_sample": True} | {name: value for name, value in given.items() if value is not None}
