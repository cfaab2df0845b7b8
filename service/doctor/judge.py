"""Looks at what the judge is made of: its folder or the hub's cache, its server, and the files that belong to it.

Guarantees: it loads no weights and downloads nothing.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx

from service.api.operator_files.calibration import read_calibration_file
from service.api.operator_files.labelled_rows import read_labelled_rows
from service.doctor.findings import Finding, host_of
from service.engine.build import MINIATURE, READING_TEXTS
from service.errors import ConfigurationError
from service.prompting.template import read_grader
from service.prompting.wording import prompts_for
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
    fields = [f"{settings.engine}_url", f"{settings.engine}_model"]
    missing = [name for name in fields if getattr(settings, name) is None]
    if missing:
        lacks = f"engine {settings.engine} lacks its server or its model"
        return Finding("Judge", "error", lacks, f"set {' and '.join(f'`{name}`' for name in missing)}")
    return Finding("Judge", "ok", f"{getattr(settings, fields[1])} at a server, which is asked at the start")


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


def check_remote(settings: EngineSettings, transport: httpx.BaseTransport | None = None) -> Finding:
    """Checks whether the server of engine `remote` answers."""
    if settings.remote_url is None:
        return Finding("Remote", "error", "engine remote has no server", "name its base URL in `remote_url`")
    key = {} if settings.remote_key is None else {"Authorization": f"Bearer {settings.remote_key}"}
    where = f"{settings.remote_url.rstrip('/')}/models"
    try:
        with httpx.Client(transport=transport, timeout=_CONNECT_S) as client:
            status = client.get(where, headers=key).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        remedy = "start the server, or correct `remote_url`"
        return Finding("Remote", "error", f"{host_of(where)} does not answer: {type(error).__name__}", remedy)
    if status != 200:
        remedy = "set `remote_key` to a key of the server" if status in (401, 403) else "correct `remote_url`"
        return Finding("Remote", "error", f"{host_of(where)} answers /models with {status}", remedy)
    return Finding("Remote", "ok", f"{host_of(where)} answers")


def check_files(settings: Settings) -> Finding:
    """Checks whether the files that belong to the judge can be read. Whether a calibration is of this judge only the
    judge can tell."""
    found: list[str] = []
    try:
        prompts_for(settings.prompt)
        for name, file, read in _files(settings):
            read(file)
            found.append(f"{name} {file}")
    except ConfigurationError as error:
        return Finding("Files", "error", str(error), "correct the file, or leave its setting out")
    return Finding("Files", "ok", ", ".join(found) or "no calibration, canaries or template")


def _files(settings: Settings) -> Iterator[tuple[str, Path, Callable[[Path], object]]]:
    """The name, the path and the reader of each file that a setting names."""
    if settings.calibration is not None:
        yield "calibration", settings.calibration, read_calibration_file
    if settings.canaries is not None:
        yield "canaries", settings.canaries, partial(read_labelled_rows, setting="canaries")
    if settings.healthbench_template is not None:
        yield "template", settings.healthbench_template, read_grader
