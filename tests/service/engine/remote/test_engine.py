import asyncio
import contextlib
import logging
import math
import random
import socket
from collections import Counter
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.engine.base import LabelLogprobs, Prompt
from service.engine.remote.engine import RemoteEngine
from service.errors import ConfigurationError, EngineFailed, TooLong, Unparseable
from testkit.completions_server import FINE, LABELS, ONE, WHOLE, Server, connect, printed, prompts, right, truth


async def test_reads_are_exact_and_in_order() -> None:
    server = Server()
    engine = await connect(server, prompts_per_call=4)
    asked = prompts(30)
    outcomes = await engine.read_labels(asked, LABELS)
    assert all(right(prompt, outcome) for prompt, outcome in zip(asked, outcomes, strict=True))
    assert [len(body["prompt"]) for body in server.bodies] == [4] * 7 + [2]
    assert [tuple(ids) for body in server.bodies for ids in body["prompt"]] == [prompt.ids for prompt in asked]
    assert await engine.read_labels([], LABELS) == []
    await engine.stop()


async def test_labels_may_be_told_apart_by_text() -> None:
    server = Server(by_id=False)
    engine = await connect(server, label_texts=printed, top_k=40)
    asked = prompts(8)
    outcomes = await engine.read_labels(asked, LABELS)
    assert all(right(prompt, outcome) for prompt, outcome in zip(asked, outcomes, strict=True))
    assert "return_tokens_as_token_ids" not in server.bodies[0] and "logprob_token_ids" not in server.bodies[0]
    with pytest.raises(EngineFailed, match="set `remote_token_ids` to false"):
        await (await connect(server)).read_labels(asked, LABELS)


async def test_each_label_set_is_read_by_its_own_texts() -> None:
    """Of 60 reads of three label sets, also a set of ten as the ratings have, none is of another set's labels."""
    engine = await connect(Server(by_id=False), label_texts=printed, top_k=40)
    wrong = 0
    for label_ids in (LABELS, (8, 3), tuple(range(10))):
        asked = prompts(20)
        for prompt, outcome in zip(asked, await engine.read_labels(asked, label_ids), strict=True):
            assert isinstance(outcome, LabelLogprobs)
            expected = [truth(prompt.ids)[label] for label in label_ids]
            wrong += [math.exp(logprob) for logprob in outcome.logprobs] != pytest.approx(expected)
    assert wrong == 0


async def test_a_server_that_reports_only_the_top_k_is_never_guessed_from() -> None:
    server = Server(exact=False)
    engine = await connect(server, top_k=12, prompts_per_call=50)
    asked = prompts(400)
    outcomes = await engine.read_labels(asked, LABELS)
    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds.keys() == {LabelLogprobs, Unparseable} and min(kinds.values()) > 20
    for prompt, outcome in zip(asked, outcomes, strict=True):
        ranked = sorted(truth(prompt.ids), reverse=True)[:12]
        both = all(truth(prompt.ids)[label] in ranked for label in LABELS)
        assert isinstance(outcome, LabelLogprobs) or not both
        assert not isinstance(outcome, LabelLogprobs) or right(prompt, outcome, 1e-9 if both else 0.02)


async def test_500_calls_with_random_faults_give_no_wrong_read_and_one_outcome_a_prompt() -> None:
    rng = random.Random(5)
    server = Server()
    engine = await connect(server, prompts_per_call=4, max_concurrency=1)
    faults = {**WHOLE, **ONE, **FINE}
    names = [rng.choice([*faults, "fine", "fine", "reordered"]) for _ in range(500)]
    server.script = [faults[name] for name in names]
    asked = prompts(2000)
    outcomes = await engine.read_labels(asked, LABELS)
    assert len(outcomes) == 2000 and len(server.bodies) == 500, "nothing is retried"
    assert {request.url.host for request in server.requests} == {"judge.test"}, "no redirect is followed"
    wrong = 0
    for index, (prompt, outcome) in enumerate(zip(asked, outcomes, strict=True)):
        name = names[index // 4]
        spoiled = name in WHOLE or (name in ONE and index % 4 == 0)
        assert isinstance(outcome, EngineFailed if spoiled else LabelLogprobs), (name, outcome)
        wrong += not spoiled and not right(prompt, outcome)
        assert "secret" not in str(outcome)
    assert wrong == 0
    assert {*names} == {*faults}


@pytest.mark.parametrize("name", WHOLE)
async def test_a_fault_of_the_whole_batch_is_raised(name: str) -> None:
    server = Server()
    engine = await connect(server)
    server.script = [WHOLE[name]]
    with pytest.raises(EngineFailed):
        await engine.read_labels(prompts(3), LABELS)
    assert all(isinstance(outcome, LabelLogprobs) for outcome in await engine.read_labels(prompts(3), LABELS))


async def test_a_prompt_that_is_too_long_is_not_sent() -> None:
    server = Server()
    engine = await connect(server)
    asked = [Prompt((), (1,) * 63), Prompt((), (1,) * 64), Prompt((2,) * 99, (1,))]
    outcomes = await engine.read_labels(asked, LABELS)
    assert [type(outcome) for outcome in outcomes] == [LabelLogprobs, TooLong, TooLong]
    assert [len(ids) for body in server.bodies for ids in body["prompt"]] == [63]


async def test_an_empty_own_part_is_refused() -> None:
    with pytest.raises(ValueError, match="never empty"):
        await (await connect(Server())).read_labels([Prompt((1,), ())], LABELS)


async def test_identity_is_what_the_server_tells_and_does_not_change_by_itself() -> None:
    first = await connect(Server(model={"id": "judge", "root": "/m/a", "created": 1, "max_model_len": 64}))
    again = await connect(Server(model={"id": "judge", "root": "/m/a", "created": 2, "max_model_len": 64}))
    other = await connect(Server(model={"id": "judge", "root": "/m/b", "created": 1, "max_model_len": 64}))
    assert first.identity == again.identity != other.identity
    assert (first.identity.model, first.identity.engine, first.max_model_len) == ("judge", "remote", 64)
    assert first.identity.facts["version"] == "0.32.0" and first.identity.facts["server"] == "http://judge.test"
    assert (await connect(Server(), revision="v3", max_model_len=10)).identity.revision == "v3"
    assert (await connect(Server(), max_model_len=10)).max_model_len == 10
    assert (await connect(Server(), max_model_len=10**6)).max_model_len == 64


async def test_the_key_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    with caplog.at_level(logging.DEBUG):
        engine = await connect(server, api_key="sk-hidden")
        server.script = [httpx.Response(500, text="sk-hidden")]
        with pytest.raises(EngineFailed) as failure:
            await engine.read_labels(prompts(1), LABELS)
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-hidden"}
    shown = [str(failure.value), repr(engine.identity), *(record.getMessage() for record in caplog.records)]
    assert not any("sk-hidden" in text for text in shown)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://h.test/", "http://h.test/v1/models"),
        ("http://h.test/v1/", "http://h.test/v1/models"),
        ("https://h.test:9/team/v1", "https://h.test:9/team/v1/models"),
    ],
)
async def test_a_base_url_is_taken_with_and_without_its_version(given: str, asked: str) -> None:
    server = Server()
    await RemoteEngine.connect(given, transport=server)
    assert str(server.requests[0].url) == asked


@pytest.mark.parametrize(
    "url",
    ["", "judge.test", "http://", "ftp://h.test", "http://me:key@h.test", "http://h.test/?key=1", "http://h\n.test"],
)
async def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="`remote_url`"):
        await RemoteEngine.connect(url, transport=Server())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.ConnectError("refused"), "start the judge's server"),
        (httpx.Response(401), "`remote_key`"),
        (httpx.Response(404), "OpenAI-compatible"),
        (httpx.Response(302, headers={"location": "http://elsewhere.test"}), "OpenAI-compatible"),
        (httpx.Response(200, text="<html>"), "no model"),
        (httpx.Response(200, json={"data": []}), "no model"),
        (httpx.Response(200, json={"data": [{"id": "a"}, {"id": "b"}]}), "serves a, b: set `remote_model`"),
        (httpx.Response(200, json={"data": [{"id": "a"}]}), "set `max_model_len`"),
    ],
)
async def test_a_server_that_cannot_serve_fails_the_start(answer: Any, says: str) -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer if request.url.path == "/v1/models" else httpx.Response(404)

    with pytest.raises(ConfigurationError, match=says):
        await connect(httpx.MockTransport(handle))


async def test_a_model_that_is_not_served_fails_the_start() -> None:
    with pytest.raises(ConfigurationError, match="does not serve 'other'"):
        await connect(Server(), model="other")


async def test_over_a_real_socket_and_past_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    judge = Server()

    async def forward(request: Request) -> Response:
        inner = httpx.Request(request.method, str(request.url), content=await request.body())
        answer = await judge.handle_async_request(inner)
        return Response(answer.content, answer.status_code, dict(answer.headers))

    app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])])
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        engine = await RemoteEngine.connect(f"http://127.0.0.1:{listening.getsockname()[1]}", prompts_per_call=8)
        asked = prompts(40)
        outcomes = await engine.read_labels(asked, LABELS)
        assert all(right(prompt, outcome) for prompt, outcome in zip(asked, outcomes, strict=True))
        await engine.stop()
        server.should_exit = True
        await serving
