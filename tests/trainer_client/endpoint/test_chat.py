"""A chat endpoint is asked over a real socket: what is sent, what comes back, what is tried again and what is paid."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from testkit.chat_server import Asked, ChatServer, Raw, chat_server, completion
from testkit.free_port import free_port
from trainer_client.endpoint import AnswerLog, ChatEndpoint, Prices, Usage
from trainer_client.errors import (
    ConnectFailed,
    ContractError,
    InvalidRequest,
    QuotaExceeded,
    Refused,
    RubricdClientError,
    Unauthorized,
    Unavailable,
)
from trainer_client.http.retry import Clock

ASK = [{"role": "user", "content": "How many is two and two?"}]


class _Pauses(list[float]):
    """A clock's pauses, which take no time of the test."""

    @property
    def clock(self) -> Clock:
        async def sleep(seconds: float) -> None:
            self.append(seconds)

        return Clock(now=lambda: time.monotonic() + sum(self), sleep=sleep)


def _endpoint(server: ChatServer, pauses: _Pauses | None = None, **options: Any) -> ChatEndpoint:
    return ChatEndpoint(server.url, "writer", clock=(_Pauses() if pauses is None else pauses).clock, **options)


async def test_a_conversation_is_answered_with_texts_reasons_and_tokens() -> None:
    with chat_server(lambda asked: f"{asked.last} Four.") as server:
        async with _endpoint(server, key="secret") as endpoint:
            answer = await endpoint.chat(ASK, n=2, temperature=0.5, top_p=0.9, max_tokens=7, seed=3)
    assert answer.texts == ("How many is two and two? Four.",) * 2
    assert (answer.finish_reasons, answer.usage, answer.model) == (("stop", "stop"), Usage(6, 14), "writer")
    (asked,) = server.asked
    assert asked.body == {
        "model": "writer",
        "messages": ASK,
        "n": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 3,
    }
    assert asked.headers["authorization"] == "Bearer secret"


async def test_what_is_not_named_is_left_to_the_endpoint() -> None:
    with chat_server(lambda asked: "Four.") as server:
        async with _endpoint(server) as endpoint:
            await endpoint.chat(ASK)
    assert server.asked[0].body == {"model": "writer", "messages": ASK}
    assert "authorization" not in server.asked[0].headers


async def test_a_schema_is_asked_for_as_the_caller_says() -> None:
    schema = {"type": "object"}
    formats = []
    with chat_server(lambda asked: "{}") as server:
        for constrain in ("schema", "object", "none"):
            async with _endpoint(server, constrain=constrain) as endpoint:
                await endpoint.chat(ASK, json_schema=schema)
            formats.append(server.asked[-1].body.get("response_format"))
    named = {"name": "answer", "schema": schema, "strict": True}
    assert formats == [{"type": "json_schema", "json_schema": named}, {"type": "json_object"}, None]


async def test_options_add_and_take_away_fields() -> None:
    with chat_server(lambda asked: "Four.") as server:
        options = {"max_tokens": None, "max_completion_tokens": 9}
        async with _endpoint(server, options=options) as endpoint:
            await endpoint.chat(ASK, max_tokens=9)
    assert server.asked[0].body == {"model": "writer", "messages": ASK, "max_completion_tokens": 9}


async def test_logprobs_come_by_token() -> None:
    with chat_server(lambda asked: "It is four") as server:
        async with _endpoint(server) as endpoint:
            answer = await endpoint.chat(ASK, logprobs=2)
    (tokens,) = answer.logprobs
    assert [one.token for one in tokens] == ["It", "is", "four"]
    assert tokens[0].logprob == -0.5 and tokens[0].top == (("other", -1.0),) * 2


async def test_a_server_that_ignores_n_is_asked_again_with_other_seeds() -> None:
    with chat_server(lambda asked: [f"text {asked.number}"]) as server:
        async with _endpoint(server) as endpoint:
            answer = await endpoint.chat(ASK, n=3, seed=10)
    assert answer.texts == ("text 0", "text 1", "text 2")
    assert [asked.body["seed"] for asked in server.asked] == [10, 11, 12]
    assert answer.usage == Usage(18, 6)


async def test_what_the_log_has_is_not_asked_again(tmp_path: Path) -> None:
    """Also for a server that ignores `n` and is asked without a seed."""
    with chat_server(lambda asked: [f"text {asked.number}"]) as server:
        said = []
        for _ in range(2):
            with AnswerLog(tmp_path / "log.jsonl") as log:
                async with _endpoint(server, log=log, prices=Prices(1.0, 10.0)) as endpoint:
                    said.append([await endpoint.chat(ASK, n=3), await endpoint.chat(ASK, seed=1, logprobs=0)])
                    spending = endpoint.spending
        assert len(server.asked) == 4
    assert (
        [one.texts for one in said[0]]
        == [one.texts for one in said[1]]
        == [("text 0", "text 1", "text 2"), ("text 3",)]
    )
    assert said[0][1].logprobs == said[1][1].logprobs
    assert [one.from_log for one in said[1]] == [True, True] and not said[0][0].from_log
    assert (spending.requests, spending.from_log, spending.cost) == (0, 4, 0.0)


async def test_money_is_counted_by_million_tokens() -> None:
    with chat_server(lambda asked: "one two three") as server:
        async with _endpoint(server, prices=Prices(2.0, 8.0)) as endpoint:
            await asyncio.gather(*(endpoint.chat(ASK, seed=seed) for seed in range(10)))
    assert (endpoint.spending.prompt_tokens, endpoint.spending.completion_tokens) == (60, 30)
    assert endpoint.spending.cost == pytest.approx((60 * 2 + 30 * 8) / 1e6)
    assert "cost 0.0004" in str(endpoint.spending)


async def test_an_answer_without_usage_makes_the_cost_a_lower_bound() -> None:
    def answer(asked: Asked) -> Raw:
        return Raw(200, {**completion(asked, ["Four."]), "usage": None})

    with chat_server(answer) as server:
        async with _endpoint(server, prices=Prices(1.0, 1.0)) as endpoint:
            assert (await endpoint.chat(ASK)).usage is None
    assert endpoint.spending.uncounted == 1 and "at least" in str(endpoint.spending)


TEMPORARY = [
    Raw(429, {"error": {"message": "slow down"}}, {"retry-after": "7"}),
    Raw(500, {"error": {"message": "oops"}}),
    Raw(502, b"<html>bad gateway</html>"),
    Raw(503, {}),
    Raw(529, {"error": {"message": "overloaded"}}),
]


async def test_temporary_refusals_are_asked_again_after_a_pause() -> None:
    pauses = _Pauses()
    script = [*TEMPORARY]
    with chat_server(lambda asked: script.pop(0) if script else "Four.") as server:
        async with _endpoint(server, pauses) as endpoint:
            assert (await endpoint.chat(ASK)).text == "Four."
    assert len(server.asked) == 6
    assert pauses[0] >= 7.0


async def test_a_connection_that_breaks_is_made_once_more() -> None:
    script: list[Raw] = [Raw(200, {"choices": []}, hang_up=True)]
    with chat_server(lambda asked: script.pop(0) if script else "Four.") as server:
        async with _endpoint(server) as endpoint:
            assert (await endpoint.chat(ASK)).text == "Four."


FINAL = [
    (Raw(400, {"error": {"message": "the context has 9 tokens"}}), InvalidRequest, "the context has 9 tokens"),
    (Raw(401, {"error": {"message": "bad key"}}), Unauthorized, "answered 401: bad key"),
    (Raw(404, {"error": {"message": "The model `x` does not exist."}}), InvalidRequest, "check the model's name"),
    (Raw(404, b"<html>nothing here</html>"), InvalidRequest, "the url ends where /chat/completions begins"),
    (Raw(422, {"detail": [{"msg": "no"}]}), InvalidRequest, "answered 422"),
    (Raw(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), Refused, "answered 429: pay"),
    (Raw(200, b"<html>"), ContractError, "did not answer as a chat endpoint does"),
    (Raw(200, []), ContractError, "did not answer"),
    (Raw(200, {"choices": [], "model": "m"}), ContractError, "no choices"),
    (Raw(200, {"choices": [{"index": 0, "message": {"content": [1]}}], "model": "m"}), ContractError, "not a text"),
]


@pytest.mark.parametrize(("raw", "error", "said"), FINAL)
async def test_what_asking_again_cannot_change_is_one_error_at_once(
    raw: Raw, error: type[RubricdClientError], said: str
) -> None:
    with chat_server(lambda asked: raw) as server:
        async with _endpoint(server) as endpoint:
            with pytest.raises(error, match=said):
                await endpoint.chat(ASK)
    assert len(server.asked) == 1


async def test_a_limit_that_stays_is_an_error_after_an_hour_and_an_outage_after_the_last_attempt() -> None:
    with chat_server(lambda asked: TEMPORARY[0]) as server:
        async with _endpoint(server) as endpoint:
            with pytest.raises(QuotaExceeded):
                await endpoint.chat(ASK)
            refused = len(server.asked)
            server.answer = lambda asked: TEMPORARY[2]
            with pytest.raises(Unavailable):
                await endpoint.chat(ASK)
    assert 100 < refused < 300 and len(server.asked) <= refused + 6


async def test_too_many_texts_are_an_error() -> None:
    with chat_server(lambda asked: ["one", "two"]) as server:
        async with _endpoint(server) as endpoint:
            with pytest.raises(ContractError, match="asked for 1 texts"):
                await endpoint.chat(ASK)


async def test_nobody_there_is_a_sentence() -> None:
    async with ChatEndpoint(f"http://127.0.0.1:{free_port()}", "m", clock=_Pauses().clock) as endpoint:
        with pytest.raises(ConnectFailed, match=r"cannot connect to 127\.0\.0\.1"):
            await endpoint.chat(ASK)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("http://h:1/v1/", "http://h:1/v1"),
        ("http://h:1/api/openai", "http://h:1/api/openai"),
        ("http://h:1/v1/chat/completions", "http://h:1/v1"),
    ],
)
def test_the_base_url_is_as_people_write_it(given: str, base: str) -> None:
    assert ChatEndpoint(given, "m").url == base


@pytest.mark.parametrize("url", ["h:1", "ftp://h/v1", "http://", "http://[::1"])
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="a url must look like"):
        ChatEndpoint(url, "m")


async def test_a_lone_surrogate_in_a_row_is_sent() -> None:
    with chat_server(lambda asked: "Four.") as server:
        async with _endpoint(server) as endpoint:
            await endpoint.chat([{"role": "user", "content": "a\ud800b"}])
    assert json.dumps(server.asked[0].last) == '"a\\ud800b"'
