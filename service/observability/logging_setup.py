"""Logging is configured here: text lines for a person, or JSON lines, one object each, for a machine.

Guarantees: the message of an exception that may quote a request is redacted; its type and traceback stay. A JSON line
has no other fields than `FIELDS`.
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

# These modules see prompts as token ids, or run before there is a request: messages of their exceptions are kept.
_TRUSTED = ("rubricd", "service.app", "service.engine", "service.wiring", "service.scheduling", "vllm")

# uvicorn says under the name `uvicorn.error` that nothing is wrong.
_VERBOSE = ("httpx", "httpcore", "transformers", "uvicorn.error")


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(_redacted(record))


class JsonLines(JsonFormatter):
    def __init__(self) -> None:
        renamed = {"levelname": "level", "name": "logger", "exc_info": "exception"}
        super().__init__(["levelname", "name", "message"], rename_fields=renamed, timestamp="ts")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(_redacted(record))

    def process_log_record(self, log_data: LogData) -> LogData:
        return {name: log_data[name] for name in FIELDS if name in log_data}


def configure(form: Form) -> None:
    """Sends every log line of this process to stderr in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(form == "json")
    if form == "json" or not sys.stderr.isatty():  # a progress bar is no log line, and moves on a terminal alone
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in _VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)


def current_form() -> Form:
    """The form that `configure` set."""
    return "json" if _writes_json() else "text"


def adopt() -> None:
    """Removes the handlers of libraries that were imported since `configure`, so that their lines are JSON too."""
    if not _writes_json():
        return
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and any(map(_writes_to_a_stream, logger.handlers)):
            logger.handlers = [handler for handler in logger.handlers if not _writes_to_a_stream(handler)]
            logger.propagate = True


def for_processes_of(library: str, level: str) -> dict[str, Any] | None:
    """A configuration for `logging.config.dictConfig` in the processes that a library starts; None where this process
    writes text, and the library's own format is kept."""
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


def _writes_to_a_stream(handler: logging.Handler) -> bool:
    """Not to a file, which a library may keep."""
    return type(handler) is logging.StreamHandler


def _writes_json() -> bool:
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.root.handlers)


def _redacted(record: logging.LogRecord) -> logging.LogRecord:
    """The record without what an exception may quote of a request."""
    if not record.exc_info and record.name != "asyncio":
        return record
    redacted = copy.copy(record)
    if redacted.name == "asyncio":  # its messages end with arguments and results, which may be text of a request
        redacted.msg, redacted.args = re.split(r"[\n(<]", record.getMessage(), maxsplit=1)[0].strip(), None
    if isinstance(redacted.exc_info, tuple) and (error := redacted.exc_info[1]) is not None:
        trusted = redacted.name.startswith(_TRUSTED)
        redacted.exc_info, redacted.exc_text = None, "".join(_formatted(error, trusted, set())).rstrip("\n")
    return redacted


def _formatted(error: BaseException, trusted: bool, seen: set[int]) -> Iterator[str]:
    """The lines that `traceback` would write, without the error's message unless it is `trusted` or comes from this
    service or the operating system. `seen` are the ids of errors that are already written."""
    seen.add(id(error))
    previous = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if previous is not None and id(previous) not in seen:
        yield from _formatted(previous, trusted, seen)
        relation = "was the cause of" if previous is error.__cause__ else "was being handled before"
        yield f"\n{type(previous).__name__} {relation} the following error\n\n"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    name = type(error).__qualname__
    keeps_message = trusted or isinstance(error, RubricdError | OSError)
    yield f"{name}: {error}\n" if keeps_message else f"{name}\n"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            if id(member) not in seen:
                yield from _formatted(member, trusted, seen)
