"""Log lines as a machine reads them, and what none of them says."""

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

import httpx
import pytest

from service import log
from service.admission.team import ANYONE
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import EngineFailed
from tests import teams
from tests.apps import app_of, fake_settings, item, serving

SECRET = "CANARY-7F3A"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    """Also what libraries have made of their loggers in other tests."""
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
        log.configure("json")

    def since() -> list[dict[str, Any]]:
        written = stderr.getvalue()
        stderr.seek(0)
        stderr.truncate()
        return [json.loads(line) for line in written.splitlines()]

    return since


def access(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in lines() if line["logger"] == "rubricd.access"]


def fail(say: str = SECRET) -> None:
    """As a bug would, in the words of a request."""
    try:
        raise KeyError(say)
    except KeyError as error:
        raise ValueError(say) from error


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
def test_what_an_exception_says_of_a_request_is_not_told(form: log.Form, stderr: io.StringIO) -> None:
    with redirect_stderr(stderr):
        log.configure(form)
    log_failure("uvicorn.error")
    written = stderr.getvalue()
    assert SECRET not in written
    assert "KeyError" in written and "ValueError" in written and "in fail" in written
    assert written.index("KeyError") < written.index("ValueError")
    assert form == "text" or len(written.splitlines()) == 1


def test_a_group_of_exceptions_says_no_more_than_one(lines: Lines) -> None:
    def group() -> None:
        raise ExceptionGroup(SECRET, [ValueError(SECRET), EngineFailed("our own words")])

    log_failure("service.scoring.asking", group)
    [line] = lines()
    assert SECRET not in json.dumps(line)
    assert "ValueError" in line["exception"] and "EngineFailed: our own words" in line["exception"]


def test_a_chain_that_bites_its_tail_ends(lines: Lines) -> None:
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
        ("service.engine.local", lambda: fail("out of memory"), "ValueError: out of memory"),
        ("service.scheduling.scheduler", lambda: fail("out of memory"), "KeyError: 'out of memory'"),
        ("rubricd", lambda: fail("no model"), "ValueError: no model"),
        ("vllm.v1.engine.core", lambda: fail("out of memory"), "ValueError: out of memory"),
        ("service.scoring.asking", ours, "EngineFailed: our own words"),
        ("service.scoring.asking", missing, "No such file or directory"),
    ],
)
def test_what_cannot_be_of_a_request_is_told(lines: Lines, logger: str, doing: Callable[[], Any], said: str) -> None:
    log_failure(logger, doing)
    told = [line for line in lines()[0]["exception"].splitlines() if not line.startswith(" ")]  # not code
    assert any(said in line for line in told)


async def test_what_asyncio_writes_out_is_not_told(lines: Lines) -> None:
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


def test_what_asyncio_writes_out_of_a_task_is_not_told_either(lines: Lines) -> None:
    logging.getLogger("asyncio").error("Task was destroyed but it is pending!\ntask: <Task %s>", SECRET)
    assert [line["message"] for line in lines()] == ["Task was destroyed but it is pending!"]


def test_warnings_are_lines_too(lines: Lines, stderr: io.StringIO) -> None:
    with warnings.catch_warnings(), redirect_stderr(stderr):
        warnings.simplefilter("always")
        log.configure("json")
        warnings.warn("old", stacklevel=1)
    [line] = lines()
    assert (line["logger"], line["level"]) == ("py.warnings", "WARNING") and "old" in line["message"]


def test_bars_of_progress_are_not_drawn_between_lines() -> None:
    os.environ.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
    log.configure("text")
    assert "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ
    log.configure("json")
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """One that writes by a handler of its own."""
    library = logging.getLogger("a_library")
    library.addHandler(logging.StreamHandler(sys.stdout))
    library.propagate = False
    yield library
    library.handlers.clear()
    library.propagate = True


def test_a_library_with_a_handler_of_its_own_writes_by_ours(lines: Lines, library: logging.Logger) -> None:
    log.adopt()
    library.warning("hello")
    assert [line["message"] for line in lines()] == ["hello"]


def test_in_text_a_library_keeps_its_own(library: logging.Logger) -> None:
    log.configure("text")
    log.adopt()
    assert library.handlers and not library.propagate
    assert log.for_processes_of("a_library", "INFO") is None


def test_processes_of_a_library_write_as_this_one(lines: Lines, library: logging.Logger, stderr: io.StringIO) -> None:
    told = log.for_processes_of("a_library", "INFO")
    assert told is not None
    with redirect_stderr(stderr):
        logging.config.dictConfig(json.loads(json.dumps(told)))
    library.info("hello")
    library.debug("not this")
    [line] = lines()
    assert (line["logger"], line["message"]) == ("a_library", "hello")


async def test_a_request_is_one_line_with_what_it_took(lines: Lines) -> None:
    async with serving() as client:
        lines()
        answer = await client.post("/v1/score", json={"items": [item(), item(prompt="Another.")]})
        again = await client.post("/v1/score", json={"items": [item()]})
        await client.get("/v1/judge")
        first, second, third = access(lines)
    usage = answer.json()["usage"]
    ts, ms = first.pop("ts"), first.pop("ms")
    assert ts and 0 < ms < 60_000
    assert first.pop("message") == f"{first['request_id']} POST /v1/score 200 {ms:.1f} ms"
    assert first == {
        "level": "INFO",
        "logger": "rubricd.access",
        "request_id": answer.headers["x-request-id"],
        "method": "POST",
        "route": "/v1/score",
        "status": 200,
        "team": ANYONE.name,
        "items": 2,
        "judgements": 4,
        "cache_hits": 0,
        "tokens": usage["prompt_tokens"] - usage["cached_tokens"] + usage["completion_tokens"],
    }
    assert (second["request_id"], second["cache_hits"], second["tokens"]) == (again.headers["x-request-id"], 2, 0)
    assert third["route"] == "/v1/judge" and "team" not in third and "trace_id" not in third


async def test_a_stream_and_another_protocol_are_lines_as_well(lines: Lines) -> None:
    async with serving() as client:
        lines()
        await client.post("/v1/score", json={"items": [item()]}, headers={"accept": "application/x-ndjson"})
        label = {"rubric": [{"text": "Says to rest.", "points": 1}]}
        body = {"query": ["My knee hurts.Rest it."], "prompts": ["My knee hurts."], "labels": [json.dumps(label)]}
        assert (await client.post("/get_reward", json=body)).status_code == 200
        streamed, foreign = access(lines)
    assert (streamed["items"], streamed["judgements"], streamed["status"]) == (1, 2, 200)
    assert (foreign["route"], foreign["items"]) == ("/get_reward", 1)


async def test_a_refusal_names_the_team_and_counts_nothing(lines: Lines, tmp_path: Any) -> None:
    file = teams.write(tmp_path / "teams.json", teams.team("medicine"))
    async with serving(settings=fake_settings(teams=file)) as client:
        lines()
        await client.post("/v1/score", json={"items": []}, headers=teams.auth("medicine"))
        await client.post("/v1/score", json={"items": [item()]}, headers={"Authorization": f"Bearer {SECRET}"})
        known, unknown = access(lines)
    assert (known["status"], known["team"]) == (422, "medicine") and "items" not in known
    assert unknown["status"] == 401 and "team" not in unknown


async def test_no_line_carries_text_of_a_request(lines: Lines, stderr: io.StringIO) -> None:
    engine = FakeEngine(plan=FaultPlan(script=("ok",), rates={"crash": 0.3, "some": 0.2, "few": 0.2}), seed=3)
    rubric = [{"text": f"{SECRET} {n}", "points": 1} for n in range(4)]
    rubric.append({"text": SECRET, "points": 1, "verifier": {"rule": "regex", "pattern": f"({SECRET}"}})
    body = {"items": [item(id=SECRET, prompt=SECRET, response=SECRET, rubric=rubric)]}
    async with serving(engine, settings=fake_settings(cache_entries=0)) as client:
        for _ in range(20):
            headers = {"Authorization": f"Bearer {SECRET}"}
            assert (await client.post(f"/v1/score?{SECRET}", json=body, headers=headers)).status_code == 200
        await client.request(SECRET, f"/{SECRET}")
        await client.post("/v1/score", content=SECRET.encode())
        app_of(client).state.served.scorer = fail
        answer = await client.post("/v1/score", json=body)
    written = stderr.getvalue()
    assert answer.status_code == 500 and SECRET not in answer.text
    assert "RuntimeError" in written and len(written.splitlines()) > 22
    assert SECRET not in written
    assert json.loads(written.splitlines()[-1])["status"] == 500


async def test_a_bug_is_not_a_caller_that_left(lines: Lines) -> None:
    async with serving() as client:
        app_of(client).state.served.scorer = fail
        answer = await client.post("/v1/score", json={"items": [item()]})
        metrics: httpx.Response = await client.get("/metrics")
    assert [line["status"] for line in access(lines)] == [500, 200]
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert 'rubricd_requests_total{route="/v1/score",status="500"} 1.0' in metrics.text
