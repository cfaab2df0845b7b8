"""Looks at what the judge is made of: its folder or the hub's cache, its server, and the files that belong to it.

Guarantees: it loads no weights and downloads nothing.
"""

import re
from pathlib import Path

import httpx

from service.doctor.findings import Finding, host_of
from service.engine.build import MINIATURE, READING_TEXTS, look_at_remote, server_options
from service.errors import ConfigurationError
from service.judge_preparing import PreparedJudge
from service.settings import EngineSettings, Settings

_CONNECT_S = 5.0


def check_judge(settings: EngineSettings) -> Finding:
    """Checks whether the judge's folder has what an engine reads, or the hub's cache has it."""
    if settings.engine == "fake":
        return Finding("Judge", "warning", "engine fake: its verdicts mean nothing", "use it for dry runs only")
    if settings.engine in READING_TEXTS:
        return _check_texts(settings)
    if settings.judge is None:
        if settings.engine == "remote":
            return Finding("Judge", "error", "engine remote has no tokenizer", "name the model in `judge`")
        broken = _lacking(MINIATURE, weights=True)
        if broken:
            return Finding(
                "Judge", "error", f"the bundled judge in {MINIATURE} lacks {broken}", "check the files out again"
            )
        text = "the bundled miniature judge, which knows its own small world only"
        return Finding("Judge", "warning", text, "name a chat model in `judge`")
    folder = Path(settings.judge)
    if folder.is_dir():
        lacking = _lacking(folder, weights=settings.engine != "remote")
        if lacking:
            remedy = "download the whole model, with its tokenizer and its weights in safetensors"
            return Finding("Judge", "error", f"the folder {folder} lacks {lacking}", remedy)
        return Finding("Judge", "ok", str(folder))
    if folder.exists() or not _hub_name(settings.judge):
        return Finding("Judge", "error", f"there is no folder {settings.judge}", "name a model's folder in `judge`")
    return _on_the_hub(settings.judge, settings.revision)


def _check_texts(settings: EngineSettings) -> Finding:
    """Checks the settings alone: any question to such a server may cost money."""
    try:
        options = server_options(settings)
    except ConfigurationError as error:
        return Finding("Judge", "error", str(error), "correct its settings")
    where = host_of(options.base_url)
    return Finding("Judge", "ok", f"{options.model} at {where}, which is asked at the start: a question may cost money")


def _lacking(folder: Path, *, weights: bool) -> str:
    """The parts of a judge that this folder lacks, in words. Empty when it has all."""
    needs = {"config.json": "config.json", "a tokenizer": "tokenizer*"}
    if weights:
        needs["weights in safetensors"] = "*.safetensors"
    return " and ".join(what for what, pattern in needs.items() if not any(folder.glob(pattern)))


def _hub_name(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None and not name.startswith(".")


def _on_the_hub(name: str, revision: str | None) -> Finding:
    from huggingface_hub import constants, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return Finding("Judge", "ok", f"{name}, from the hub's cache in {constants.HF_HUB_CACHE}")
    text = f"{name} is not in the hub's cache in {constants.HF_HUB_CACHE}"
    if constants.HF_HUB_OFFLINE:
        return Finding(
            "Judge", "error", f"{text}, and HF_HUB_OFFLINE is set", f"run `hf download {name}` with a network"
        )
    return Finding("Judge", "warning", f"{text}: it is downloaded at the start", f"run `hf download {name}` before")


async def check_remote(settings: EngineSettings, transport: httpx.AsyncBaseTransport | None = None) -> Finding:
    """Checks what the server of engine `remote` serves, as the start does."""
    try:
        url, model, length = await look_at_remote(settings, timeout_s=_CONNECT_S, transport=transport)
    except ConfigurationError as error:
        return Finding("Remote", "error", str(error), "start the server, or correct the settings `remote_...`")
    return Finding("Remote", "ok", f"{host_of(url)} serves {model}, up to {length} tokens")


def check_files(settings: Settings) -> Finding:
    """Checks whether the prompt and the files that belong to the judge can be used. Whether a calibration is of this
    judge only the judge can tell."""
    try:
        PreparedJudge.of(settings)
    except ConfigurationError as error:
        return Finding("Files", "error", str(error), "correct the file, or leave its setting out")
    named = {
        "calibration": settings.calibration,
        "canaries": settings.canaries,
        "template": settings.healthbench_template,
    }
    found = ", ".join(f"{name} {file}" for name, file in named.items() if file is not None)
    return Finding("Files", "ok", found or "no calibration, canaries or template")
