"""How this process's log lines look: text for a person, or JSON, one object a line, for a machine.

Always true: of an exception that may hold text of a request a line has its type and where it was raised, not what it
says; a JSON line has no other fields than `FIELDS`.
"""

import copy
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Literal

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from service.errors import RubricdError

Form = Literal["text", "json"]

FIELDS = (
    "ts",
    "level",
    "logger",
    "message",
    "request_id",
    "method",
    "route",
    "status",
    "ms",
    "team",
    "items",
    "judgements",
    "cache_hits",
    "tokens",
    "trace_id",
    "exception",
)

# These floors know a prompt as numbers only, or come before there is one: what is raised there says what it likes.
_TEXTLESS = ("rubricd", "service.app", "service.engine", "service.wiring", "service.scheduling", "vllm")

_CHATTY = ("httpx", "httpcore", "transformers")


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(_discreet(record))


class JsonLines(JsonFormatter):
    def __init__(self) -> None:
        renamed = {"levelname": "level", "name": "logger", "exc_info": "exception"}
        super().__init__(["levelname", "name", "message"], rename_fields=renamed, timestamp="ts")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(_discreet(record))

    def process_log_record(self, log_data: LogData) -> LogData:
        return {name: log_data[name] for name in FIELDS if name in log_data}


def configure(form: Form) -> None:
    """Every line of this process goes to stderr in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(form == "json")
    if form == "json":  # bars of progress are no lines
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def adopt() -> None:
    """Libraries that were imported since, and write by handlers of their own, write by ours from now on."""
    if not _writes_json():
        return
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and any(type(one) is logging.StreamHandler for one in logger.handlers):
            logger.handlers = [one for one in logger.handlers if type(one) is not logging.StreamHandler]
            logger.propagate = True


def for_processes_of(library: str, level: str) -> dict[str, Any] | None:
    """For `logging.config.dictConfig` in processes that a library starts; None where its own lines will do."""
    if not _writes_json():
        return None
    handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json", "level": level}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "service.observability.logging_setup.JsonLines"}},
        "handlers": {"stderr": handler},
        "loggers": {library: {"handlers": ["stderr"], "level": level, "propagate": False}},
    }


def _writes_json() -> bool:
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.root.handlers)


def _discreet(record: logging.LogRecord) -> logging.LogRecord:
    """The record without what an exception may tell of a request."""
    if not record.exc_info and record.name != "asyncio":
        return record
    told = copy.copy(record)
    if told.name == "asyncio":  # it writes out arguments and results: of what, only it knows
        told.msg, told.args = re.split(r"[\n(<]", record.getMessage(), maxsplit=1)[0].strip(), None
    if isinstance(told.exc_info, tuple) and (error := told.exc_info[1]) is not None:
        frank = told.name.startswith(_TEXTLESS)
        told.exc_info, told.exc_text = None, "".join(_told(error, frank, set())).rstrip("\n")
    return told


def _told(error: BaseException, frank: bool, seen: set[int]) -> Iterator[str]:
    """As `traceback` writes it. What an exception says is left out unless it is ours, the operating system's, or
    `frank`."""
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _told(before, frank, seen)
        how = "was the cause of" if before is error.__cause__ else "was being handled before"
        yield f"\n{type(before).__name__} {how} what follows\n\n"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    kind = type(error).__qualname__
    says = frank or isinstance(error, RubricdError | OSError)
    yield f"{kind}: {error}\n" if says else f"{kind}\n"
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            if id(one) not in seen:
                yield from _told(one, frank, seen)
