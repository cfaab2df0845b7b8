"""Builds the engine that the settings name, and loads the judge's tokenizer.

Each engine's packages are imported when that engine is built, so an engine needs its own packages only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.engine.base import Engine, ReadsTexts
from service.engine.identity import hash_files, weight_files
from service.engine.upstream.client import open_client
from service.engine.upstream.text_server import TextServerOptions
from service.engine.upstream.urls import base_url
from service.errors import ConfigurationError
from service.observability.logging_setup import current_form
from service.settings import EngineSettings

if TYPE_CHECKING:
    import httpx

    from service.engine.remote.engine import LabelTexts

log = logging.getLogger(__name__)

MINIATURE = Path(__file__).resolve().parents[2] / "miniature" / "checkpoints" / "judge"


@dataclass(frozen=True, slots=True)
class LoadedJudge:
    """An engine with its judge's tokenizer, which has a chat template. `check_labels` raises ConfigurationError for
    label ids that the engine cannot tell from other tokens. `unserved` are modes in which the judge writes noise. An
    engine whose server reads texts has no tokenizer, and `reads_texts` says what that server can be asked."""

    engine: Engine
    tokenizer: Any
    check_labels: Callable[[tuple[int, ...]], None] = lambda label_ids: None
    unserved: frozenset[str] = frozenset()
    reads_texts: ReadsTexts | None = None


async def build(settings: EngineSettings) -> LoadedJudge:
    """Returns the judge, ready to be queried. Raises ConfigurationError with what to change."""
    name = "local" if settings.engine == "auto" else settings.engine
    if name in READING_TEXTS:
        return await READING_TEXTS[name](settings)
    judge = settings.judge or str(MINIATURE)
    if settings.judge is None:
        log.info("no judge named: using the bundled miniature judge, which knows its own small world only")
    log.info("engine %s, judge %s", name, settings.judge or "miniature")
    # Before the engine: a judge without a chat template is refused in a second, not after its weights are loaded.
    tokenizer = await asyncio.to_thread(_load_tokenizer, judge, settings.revision)
    if name == "remote" and not settings.remote_token_ids:
        loaded = await _remote_by_text(settings, tokenizer)
    else:
        loaded = LoadedJudge(await ENGINES[name](settings, judge), tokenizer)
    return await asyncio.to_thread(_marked, loaded, settings.judge)


def _marked(loaded: LoadedJudge, judge: str | None) -> LoadedJudge:
    """The bundled judge is marked as a toy, wherever it stands, and serves no mode in which it would write text: it has
    learned labels alone."""
    engine = loaded.engine
    if engine.identity.engine != "fake" and _is_bundled(engine.identity.facts, judge):
        name = "miniature" if judge is None else engine.identity.model
        engine.identity = replace(engine.identity, model=name, toy=True)
        loaded = replace(loaded, unserved=frozenset({"reasoned", "levels", "extract"}))
    if engine.identity.toy:
        log.warning("judge %s is a toy: its verdicts are to be believed by nobody", engine.identity.model)
    return loaded


def _is_bundled(facts: Mapping[str, str], judge: str | None) -> bool:
    """A server elsewhere does not tell its weights; there the tokenizer's folder says whose they are."""
    if judge is None or Path(judge).resolve() == MINIATURE:
        return True
    return MINIATURE.is_dir() and facts.get("weights_sha256") == hash_files(weight_files(MINIATURE))


def _load_tokenizer(judge: str, revision: str | None) -> Any:
    from service.engine.tokenizer import load_tokenizer

    return load_tokenizer(judge, revision)


async def _local(settings: EngineSettings, judge: str) -> Engine:
    from service.engine.local.isolated.engine import IsolatedEngine
    from service.engine.local.isolated.messages import JudgeSpec

    spec = JudgeSpec(
        judge=judge,
        revision=settings.revision,
        dtype=settings.dtype,
        device=settings.device,
        max_model_len=settings.max_model_len,
        log_format=current_form(),
    )
    return await IsolatedEngine.load(spec, hang_s=settings.local_hang_s)


async def _remote(settings: EngineSettings, judge: str) -> Engine:
    return await _connect(settings, None)


async def _remote_by_text(settings: EngineSettings, tokenizer: Any) -> LoadedJudge:
    """The server names tokens by their text, which only the tokenizer can tell."""
    from service.engine.remote.token_texts import TokenTexts

    texts = await asyncio.to_thread(TokenTexts, tokenizer)
    return LoadedJudge(await _connect(settings, texts), tokenizer, texts.check)


async def _connect(settings: EngineSettings, label_texts: "LabelTexts | None") -> Engine:
    from service.engine.remote.engine import RemoteEngine

    url, _ = remote_server(settings)
    return await RemoteEngine.connect(
        url,
        model=settings.remote_model,
        api_key=settings.remote_key,
        revision=settings.revision or "undeclared",
        label_texts=label_texts,
        max_model_len=settings.max_model_len,
    )


def remote_server(settings: EngineSettings) -> tuple[str, str]:
    """The URL of engine `remote`, and its tokenizer. Raises ConfigurationError."""
    if settings.remote_url is None or settings.judge is None:
        raise ConfigurationError("engine `remote` needs `remote_url` (the server) and `judge` (its tokenizer)")
    return base_url(settings.remote_url, "remote_url"), settings.judge


async def look_at_remote(
    settings: EngineSettings, *, timeout_s: float, transport: "httpx.AsyncBaseTransport | None" = None
) -> tuple[str, str, int]:
    """The URL of engine `remote`, the model that it serves and its longest prompt, as the start learns them. Raises
    ConfigurationError."""
    from service.engine.remote.engine import longest_prompt
    from service.engine.remote.identity import first_look

    url, _ = remote_server(settings)
    async with open_client(url, settings.remote_key, timeout_s=timeout_s, connections=1, transport=transport) as client:
        served = await first_look(client, url, settings.remote_model)
    return url, served.model, longest_prompt(served, settings.max_model_len, url)


async def _fake(settings: EngineSettings, judge: str) -> Engine:
    from service.engine.fake import FakeEngine

    log.warning("engine `fake`: verdicts are a hash of the prompt, for tests and dry runs; they mean nothing")
    return FakeEngine(max_model_len=settings.max_model_len or 32_768, remember=0)  # a dry run may take days


async def _vllm(settings: EngineSettings, judge: str) -> Engine:
    from service.engine.vllm.engine import VllmEngine
    from service.engine.vllm.options import Options

    options = Options.from_settings(settings)
    return await VllmEngine.load(judge, options, revision=settings.revision, hang_s=settings.vllm_hang_s)


ENGINES: Mapping[str, Callable[[EngineSettings, str], Awaitable[Engine]]] = {
    "local": _local,
    "remote": _remote,
    "fake": _fake,
    "vllm": _vllm,
}


async def _decisions(settings: EngineSettings) -> LoadedJudge:
    from service.engine.decisions.engine import DecisionsEngine

    engine = await DecisionsEngine.connect(
        server_options(settings),
        protocol=settings.decisions_protocol,
        framing=settings.decisions_framing,
        questions_per_call=settings.decisions_questions,
    )
    written = {"reasoned": "a server of typed decisions gives P(met), and writes no reasons"}
    return LoadedJudge(engine, None, reads_texts=ReadsTexts(engine.referable, written))


async def _chat(settings: EngineSettings) -> LoadedJudge:
    from service.engine.chat.engine import ChatEngine

    engine = await ChatEngine.connect(server_options(settings), labels=settings.labels, votes=settings.chat_votes)
    log.info("mode `verdict` is read by %s", engine.reading)
    return LoadedJudge(engine, None, reads_texts=ReadsTexts(referable=True, documents=engine.documents))


def server_options(settings: EngineSettings) -> TextServerOptions:
    """The server of an engine that sends texts, whose settings begin with the engine's name. Raises ConfigurationError
    where it or its model is not named, or weights are, which such an engine does not read."""
    name = settings.engine
    url, model, key, timeout_s = (getattr(settings, f"{name}_{one}") for one in ("url", "model", "key", "timeout_s"))
    if url is None or model is None:
        raise ConfigurationError(f"engine `{name}` needs `{name}_url` (the server) and `{name}_model`")
    if settings.judge is not None:
        raise ConfigurationError(
            f"engine `{name}` asks a server for a model by name: leave `judge` out, and set `{name}_model`"
        )
    longest = settings.max_model_len or TEXT_WORDS
    options = TextServerOptions(name, url, model, key, settings.revision, longest, timeout_s)
    base_url(options.url, f"{name}_url")
    return options


READING_TEXTS: Mapping[str, Callable[[EngineSettings], Awaitable[LoadedJudge]]] = {
    "chat": _chat,
    "decisions": _decisions,
}
TEXT_WORDS = 32_768
"""The longest state with its question, in words of four bytes, where `max_model_len` is not set."""
