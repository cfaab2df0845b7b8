"""Log lines as a machine reads them, and the messages of exceptions that are redacted."""

import asyncio
import io
import json
import logging
import logging.config
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from typing import Any

import pytest

from service.errors import EngineFailed
from service.observability import logging_setup
from tests.service.observability.logs.secret import SECRET, Lines, fail


def log_failure(logger: str, doing: Callable[[], Any] = fail) -> None:
    try:
        doing()
    except Exception:
        logging.getLogger(logger).exception("it failed")


def test_a_line_is_an_object_with_a_closed_set_of_fields(lines: Lines) -> None:
    logging.getLogger("a.b").warning("two\nlines, %s", "ünd 1", extra={"request_id": "r", "prompt": SECRET})
    [line] = lines()
    assert list(line) == ["ts", "level", "logger", "message", "request_id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", line.pop("ts"))
    assert line == {"level": "WARNING", "logger": "a.b", "message": "two\nlines, ünd 1", "request_id": "r"}


def test_a_lone_surrogate_is_no_reason_to_fail(lines: Lines) -> None:
    logging.getLogger("a").error("\ud800")
    assert len(lines()) == 1


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_that_may_quote_a_request_is_redacted(form: logging_setup.Form, stderr: io.StringIO) -> None:
    with redirect_stderr(stderr):
        logging_setup.configure(form)
    log_failure("uvicorn.error")
    written = stderr.getvalue()
    assert SECRET not in written
    assert "KeyError" in written and "ValueError" in written and "in fail" in written
    assert written.index("KeyError") < written.index("ValueError")
    assert form == "text" or len(written.splitlines()) == 1


def test_the_members_of_an_exception_group_are_redacted_too(lines: Lines) -> None:
    def group() -> None:
        raise ExceptionGroup(SECRET, [ValueError(SECRET), EngineFailed("our own words")])

    log_failure("service.scoring.evaluator", group)
    [line] = lines()
    assert SECRET not in json.dumps(line)
    assert "ValueError" in line["exception"] and "EngineFailed: our own words" in line["exception"]


def test_a_cycle_of_causes_is_written_once(lines: Lines) -> None:
    def ring() -> None:
        one, other = ValueError(), KeyError()
        one.__cause__, other.__cause__ = other, one
        raise one

    log_failure("a", ring)
    assert lines()[0]["exception"].count("KeyError\n") == 1


def missing() -> None:
    open("/no/such/file").close()


def ours() -> None:
    raise EngineFailed("our own words")


@pytest.mark.parametrize(
    ("logger", "doing", "said"),
    [
        ("service.engine.local.engine", lambda: fail("out of memory"), "ValueError: out of memory"),
        ("service.scheduling.scheduler", lambda: fail("out of memory"), "KeyError: 'out of memory'"),
        ("rubricd", lambda: fail("no model"), "ValueError: no model"),
        ("vllm.v1.engine.core", lambda: fail("out of memory"), "ValueError: out of memory"),
        ("service.scoring.evaluator", ours, "EngineFailed: our own words"),
        ("service.scoring.evaluator", missing, "No such file or directory"),
    ],
)
def test_a_message_without_request_text_is_kept(lines: Lines, logger: str, doing: Callable[[], Any], said: str) -> None:
    log_failure(logger, doing)
    written = [line for line in lines()[0]["exception"].splitlines() if not line.startswith(" ")]  # not code
    assert any(said in line for line in written)


async def test_what_asyncio_logs_of_a_callback_is_redacted(lines: Lines) -> None:
    async def later(say: str) -> None:
        raise ValueError(say)

    def now(say: str) -> None:
        raise ValueError(say)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(None)
    loop.call_soon(now, SECRET)
    task = asyncio.create_task(later(SECRET))
    await asyncio.wait({task})
    del task
    written = lines()
    assert SECRET not in json.dumps(written)
    assert sorted(line["message"].split(" ")[0] for line in written) == ["Exception", "Task"]
    assert all("ValueError" in line["exception"] for line in written)


def test_what_asyncio_logs_of_a_pending_task_is_redacted(lines: Lines) -> None:
    logging.getLogger("asyncio").error("Task was destroyed but it is pending!\ntask: <Task %s>", SECRET)
    assert [line["message"] for line in lines()] == ["Task was destroyed but it is pending!"]


def test_warnings_are_lines_too(lines: Lines, stderr: io.StringIO) -> None:
    with warnings.catch_warnings(), redirect_stderr(stderr):
        warnings.simplefilter("always")
        logging_setup.configure("json")
        warnings.warn("old", stacklevel=1)
    [line] = lines()
    assert (line["logger"], line["level"]) == ("py.warnings", "WARNING") and "old" in line["message"]


@pytest.mark.parametrize(
    ("form", "terminal", "shown"), [("text", True, True), ("text", False, False), ("json", True, False)]
)
def test_progress_bars_are_on_a_terminal_alone_and_not_among_json_lines(
    form: logging_setup.Form, terminal: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: terminal)
    with redirect_stderr(stderr):
        logging_setup.configure(form)
    assert ("HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ) is shown
    os.environ.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """One that writes by a handler of its own."""
    library = logging.getLogger("a_library")
    library.addHandler(logging.StreamHandler(sys.stdout))
    library.propagate = False
    yield library
    library.handlers.clear()
    library.propagate = True


def test_a_library_with_its_own_handler_writes_json(lines: Lines, library: logging.Logger) -> None:
    logging_setup.adopt()
    library.warning("hello")
    assert [line["message"] for line in lines()] == ["hello"]


def test_with_text_lines_a_library_keeps_its_handler(library: logging.Logger) -> None:
    logging_setup.configure("text")
    logging_setup.adopt()
    assert library.handlers and not library.propagate
    assert logging_setup.for_processes_of("a_library", "INFO") is None


def test_processes_that_a_library_starts_write_json(lines: Lines, library: logging.Logger, stderr: io.StringIO) -> None:
    config = logging_setup.for_processes_of("a_library", "INFO")
    assert config is not None
    with redirect_stderr(stderr):
        logging.config.dictConfig(json.loads(json.dumps(config)))
    library.info("hello")
    library.debug("not this")
    [line] = lines()
    assert (line["logger"], line["message"]) == ("a_library", "hello")
