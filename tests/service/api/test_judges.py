"""`GET /v1/judge` for clients of before and of today."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from service.app import create_app
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.settings import Settings
from testkit.apps import fake_settings, item, started
from testkit.tokenizer_families import family
from trainer_client import wire
from trainer_client.client import JudgeClient, Scored


@asynccontextmanager
async def client_of() -> AsyncIterator[tuple[JudgeClient, httpx.ASGITransport]]:
    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(FakeEngine(), family("qwen"))

    app = create_app(fake_settings(), build=build)
    transport = httpx.ASGITransport(app=app)
    async with started(app), JudgeClient("http://localhost", transport=transport) as client:
        yield client, transport


async def test_an_older_client_meets_no_layout_that_it_does_not_know() -> None:
    async with client_of() as (_, transport), httpx.AsyncClient(transport=transport) as plain:
        told = (await plain.get("http://localhost/v1/judge")).json()
    more = told.pop("more")
    assert "simple_evals" not in json.dumps({name: some for name, some in told.items() if name != "prompts"})
    assert set(told["layouts"]) == wire.FIRST_LAYOUTS and more["layouts"] == ["simple_evals"]
    assert {(one["layout"], one.get("batch")) for one in more["judges"]} == {("simple_evals", None), ("rubricd", "all")}


async def test_a_client_of_today_finds_them_all_in_their_lists() -> None:
    async with client_of() as (client, _):
        info = await client.judge()
        assert info.more is None and info.layouts == ["rubricd", "healthbench", "simple_evals"]
        ways = {
            (one.mode, one.layout): one.fingerprint for one in info.judges if one.mode == "reasoned" and not one.batch
        }
        assert len(set(ways.values())) == 3
        [outcome] = await client.score([item()], mode="reasoned", layout="simple_evals")
        assert isinstance(outcome, Scored) and outcome.judge.layout == "simple_evals"


def test_an_older_service_has_nothing_more() -> None:
    info = wire.JudgeInfo.model_validate({**_OLD, "judges": []})
    assert info.whole() is info and info.layouts == ["rubricd"]


_OLD = {
    "model": "m",
    "revision": "r",
    "engine": "e",
    "fingerprint": "f",
    "modes": ["verdict"],
    "layouts": ["rubricd"],
    "labels": {},
    "label_mass_floor": 0.5,
    "limits": {
        "max_items": 1,
        "max_criteria": 1,
        "max_body_bytes": 1,
        "max_model_len": 1,
        "max_queued_tokens": 1,
    },
}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stream_and_a_list_find_the_judge_of_a_later_layout(stream: bool) -> None:
    async with client_of() as (client, _):
        if stream:
            outcomes = [outcome async for _, outcome in client.stream([item()], mode="reasoned", layout="simple_evals")]
        else:
            outcomes = await client.score([item()], mode="reasoned", layout="simple_evals")
    assert [isinstance(one, Scored) for one in outcomes] == [True]
