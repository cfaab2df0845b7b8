import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any

import pytest

from service.observability import logging_setup
from tests.service.observability.logs.secret import Lines


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Also what libraries have made of their loggers in other tests."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    root = logging.getLogger()
    others = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in (root, *others)]
    for one in others:
        one.handlers, one.propagate = [], True
        one.setLevel(logging.NOTSET)
    yield
    logging.captureWarnings(False)
    for one, handlers, level, propagate in before:
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


@pytest.fixture
def stderr() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(stderr: io.StringIO) -> Lines:
    """What was written since the last call, in JSON, a line each."""
    with redirect_stderr(stderr):
        logging_setup.configure("json")

    def since() -> list[dict[str, Any]]:
        written = stderr.getvalue()
        stderr.seek(0)
        stderr.truncate()
        return [json.loads(line) for line in written.splitlines()]

    return since
