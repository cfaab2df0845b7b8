"""What the sizing page predicts, beside what real engines count and a real Redis holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from service.api import translate
from service.app import create_app
from service.cache.redis import add_checksum
from service.cache.write_behind import verdict_name
from service.engine.base import Engine
from service.engine.build import MINIATURE, LoadedJudge
from service.engine.local.engine import LocalEngine
from service.engine.tokenizer import load_tokenizer
from service.engine.vllm.engine import VllmEngine
from service.rubrics.judgement import Verdict
from service.scoring.scorer import DEFAULT
from service.scoring.verdict_codec import encode
from service.settings import Settings
from testkit.apps import client_of, fake_settings, scorer_of, started
from testkit.redis import RedisServer
from testkit.teams_file import auth, team, write
from trainer_client import wire
from trainer_client.sizing.model import REDIS_BYTES, REDIS_BYTES_A_CHAR, Work, tokens

pytestmark = pytest.mark.asyncio(loop_scope="session")
GROUP, CRITERIA = 8, 12
# Of a conversation's and of a response's sentences.
SHAPES = [(12, 20), (3, 31)]


class Kept:
    """An engine that outlives the app."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def stop(self) -> None:
        pass


@asynccontextmanager
async def asking(engine: Engine, teams: Path) -> AsyncIterator[httpx.AsyncClient]:
    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(cast(Engine, Kept(engine)), load_tokenizer(str(MINIATURE), None))

    app = create_app(fake_settings(teams=teams, canary_every_s=0.0, drain_s=5.0), build=build)
    async with started(app), client_of(app) as client:
        yield client


def group(conversation: int, response: int) -> dict[str, Any]:
    return {
        "prompt": "My neck is stiff. " * conversation,
        "responses": [f"{n}. " + "Drink some water. " * response for n in range(1, GROUP + 1)],
        "rubric": [{"text": f"Gives at least {n + 10} steps.", "points": 1} for n in range(CRITERIA)],
    }


def lengths(client: httpx.AsyncClient, body: dict[str, Any]) -> Work:
    """The work in the judge's own tokens. All responses are equally long, and all criteria."""
    renderer = scorer_of(client).judging_modes[DEFAULT].renderer
    found = translate.candidates(wire.ScoreRequest.model_validate(body))
    rendered = renderer.render([(candidate, candidate.criteria) for candidate in found])
    [shared] = {len(prompt.shared) for prompts in rendered for prompt in prompts}
    [own] = {len(prompt.own) for prompts in rendered for prompt in prompts}
    first, second = rendered[0][0].shared, rendered[1][0].shared
    common = next(n for n, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)
    return Work(1, common - 1, shared - common, own, CRITERIA, GROUP)


async def counted(engine: Engine, teams: Path, block: int) -> list[tuple[float, float]]:
    """Share of prompt tokens that was not computed, predicted and counted, in points."""
    pairs = []
    async with asking(engine, teams) as client:
        for shape in SHAPES:
            body = {"items": [group(*shape)]}
            answer = await client.post("/v1/score", json=body, headers=auth(f"a{shape[0]}"))
            usage = answer.json()["usage"]
            assert usage["judgements"] == GROUP * CRITERIA
            work = lengths(client, body)
            assert usage["prompt_tokens"] == GROUP * tokens(work, block).unshared
            pairs.append(
                (100 * tokens(work, block).shared_ratio, 100 * usage["cached_tokens"] / usage["prompt_tokens"])
            )
    return pairs


@pytest.fixture
def teams(tmp_path: Path) -> Path:
    """One a shape: what a team was computed nobody else is given, so that each begins with nothing."""
    return write(tmp_path / "teams.json", *(team(f"a{shape[0]}") for shape in SHAPES))


async def test_the_local_engine_shares_what_is_predicted_for_blocks_of_one_token(teams: Path) -> None:
    engine = LocalEngine.load(str(MINIATURE))
    try:
        pairs = await counted(engine, teams, block=1)
    finally:
        await engine.stop()
    for predicted, found in pairs:
        assert found == pytest.approx(predicted, abs=1.0)
        assert predicted > 85
    print(pairs)


async def test_vllm_shares_what_is_predicted_for_its_blocks(vllm_engine: VllmEngine, teams: Path) -> None:
    """128 tokens on a CPU."""
    pairs = await counted(vllm_engine, teams, block=128)
    for predicted, found in pairs:
        assert found == pytest.approx(predicted, abs=1.0)
        assert predicted > 40
    print(pairs)


@pytest.mark.parametrize("chars", [0, 1000])
async def test_a_verdict_in_redis_takes_what_is_said(redis_server: RedisServer, redis_url: str, chars: int) -> None:
    """Just past a power of two, where Redis has doubled its tables, and at most a fifth less before."""
    with redis_server.client() as client:
        before = client.info("memory")["used_memory"]
        count = 17_000
        with client.pipeline(transaction=False) as pipe:
            for n in range(count):
                key = n.to_bytes(32, "big")
                said = encode(Verdict(0.1 + n / 1e6, 0.9, "x" * chars if chars else None))
                pipe.set(verdict_name(key), add_checksum(key, said), ex=604_800)
            pipe.execute()
        found = (client.info("memory")["used_memory"] - before) / count
    print(found)
    assert found == pytest.approx(REDIS_BYTES + REDIS_BYTES_A_CHAR * chars, rel=0.2)
