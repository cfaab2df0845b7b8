"""From settings to an engine and its tokenizer, with a word about what was chosen.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.engine.base import Engine
from service.errors import ConfigurationError
from service.settings import Settings

log = logging.getLogger(__name__)

MINIATURE = Path(__file__).resolve().parents[2] / "miniature" / "checkpoints" / "judge"


@dataclass(frozen=True, slots=True)
class LoadedJudge:
    """`tokenizer` is the judge's Hugging Face tokenizer, with its chat template."""

    engine: Engine
    tokenizer: Any


async def build(settings: Settings) -> LoadedJudge:
    """The engine that the settings name, loaded. Raises ConfigurationError with what to change."""
    name = "local" if settings.engine == "auto" else settings.engine
    judge = settings.judge or str(MINIATURE)
    if settings.judge is None:
        log.info("no judge named: using the bundled miniature judge, which knows its own small world only")
    log.info("engine %s, judge %s", name, settings.judge or "miniature")
    tokenizer = await asyncio.to_thread(_load_tokenizer, judge, settings.revision)
    return LoadedJudge(await _ENGINES[name](settings, judge), tokenizer)


def _load_tokenizer(judge: str, revision: str | None) -> Any:
    from service.engine.checkpoint import load_tokenizer

    return load_tokenizer(judge, revision)


async def _local(settings: Settings, judge: str) -> Engine:
    from service.engine.local.engine import LocalEngine

    engine = await asyncio.to_thread(
        LocalEngine.load,
        judge,
        revision=settings.revision,
        dtype=settings.dtype,
        device=settings.device,
        max_model_len=settings.max_model_len,
    )
    if settings.judge is None:
        engine.identity = replace(engine.identity, model="miniature")
    return engine


async def _remote(settings: Settings, judge: str) -> Engine:
    from service.engine.remote.engine import RemoteEngine

    if settings.remote_url is None or settings.judge is None:
        raise ConfigurationError("engine `remote` needs `remote_url` (the server) and `judge` (its tokenizer)")
    return await RemoteEngine.connect(
        settings.remote_url,
        model=settings.remote_model,
        api_key=settings.remote_key,
        revision=settings.revision or "undeclared",
        token_id_keys=settings.remote_token_ids,
        label_texts=settings.labels,
        max_model_len=settings.max_model_len,
    )


async def _fake(settings: Settings, judge: str) -> Engine:
    from service.engine.fake import FakeEngine

    log.warning("engine `fake`: verdicts are a hash of the prompt, for tests and dry runs; they mean nothing")
    return FakeEngine(max_model_len=settings.max_model_len or 32_768)


async def _vllm(settings: Settings, judge: str) -> Engine:
    from service.engine.vllm.engine import VllmEngine
    from service.engine.vllm.options import Options

    options = Options(
        dtype=settings.dtype,
        max_model_len=settings.max_model_len,
        tensor_parallel_size=settings.vllm_tensor_parallel_size,
        quantization=settings.vllm_quantization,
        lora=settings.vllm_lora,
        gpu_memory_utilization=settings.vllm_gpu_memory_utilization,
        kv_cache_gb=settings.vllm_kv_cache_gb,
        max_num_batched_tokens=settings.vllm_max_num_batched_tokens,
        enforce_eager=settings.vllm_enforce_eager,
        batch_invariant=settings.vllm_batch_invariant,
    )
    engine = await VllmEngine.load(judge, options, revision=settings.revision, hang_s=settings.vllm_hang_s)
    if settings.judge is None:
        engine.identity = replace(engine.identity, model="miniature")
    return engine


_ENGINES: Mapping[str, Callable[[Settings, str], Awaitable[Engine]]] = {
    "local": _local,
    "remote": _remote,
    "fake": _fake,
    "vllm": _vllm,
}
