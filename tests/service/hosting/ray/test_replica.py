"""One replica, started and stopped as Ray does it, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine, FaultPlan
from service.errors import ConfigurationError
from service.hosting.ray import replica as module
from service.hosting.ray.autoscaling import TOKENS
from service.hosting.ray.replica import JudgeReplica, deployment, grace_s, resources
from service.settings import Settings
from testkit.apps import client_of, item
from testkit.teams_file import auth, team, write
from testkit.tokenizer_families import family


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_ENGINE", "fake")
    monkeypatch.setenv("RUBRICD_CANARY_EVERY_S", "0")
    monkeypatch.setattr(module, "_proxies_listen_at", lambda: "127.0.0.1")
    monkeypatch.setattr(module, "configure", lambda form: None)

    async def tell(where: str) -> None:
        pass

    monkeypatch.setattr(module, "_register", tell)


@asynccontextmanager
async def replica(engine: FakeEngine) -> AsyncIterator[Any]:
    """From its constructor to its destructor, asked for its health once."""

    async def build(settings: Settings) -> LoadedJudge:
        return LoadedJudge(engine, family("qwen"))

    kind: Any = type("Replica", (JudgeReplica,), {})
    one = kind.__new__(kind)
    try:
        await one.__init__(build)
        one._set_asgi_app(await one.__serve_build_asgi_app__())
        await one._run_asgi_lifespan_startup()
        await one.check_health()
        yield one
    finally:
        await one.__del__()
        kind.__del__ = lambda self: None  # Ray ends the process, so that nobody calls it again


async def test_it_is_healthy_once_its_judge_has_given_a_verdict() -> None:
    loading = asyncio.Event()

    async def hold(seconds: float) -> None:
        await loading.wait()

    engine = FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=hold)
    begun = replica(engine)
    starting = asyncio.create_task(begun.__aenter__())
    await asyncio.sleep(0.2)
    assert not starting.done()
    loading.set()
    one = await starting
    assert one.record_routing_stats() == {"ready": True}
    await begun.__aexit__(None, None, None)
    assert engine.stopped


async def test_a_judge_that_cannot_load_says_why() -> None:
    with pytest.raises(ConfigurationError, match="no verdict on a canary"):
        async with replica(FakeEngine(plan=FaultPlan(rates={"batch": 1.0}))):
            pass


async def test_an_engine_that_is_down_is_waited_for_and_then_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    async with replica(engine) as one:
        engine.down = "it restarts"
        assert one.record_routing_stats() == {"ready": False}
        await one.check_health()
        monkeypatch.setattr(module, "_REPLACE_AFTER_S", 0.0)
        with pytest.raises(RuntimeError, match="it restarts"):
            await one.check_health()
        engine.down = None
        await one.check_health()


async def test_it_tells_the_tokens_that_wait_and_are_at_the_engine() -> None:
    going = asyncio.Event()
    going.set()

    async def hold(seconds: float) -> None:
        await going.wait()

    async with replica(FakeEngine(plan=FaultPlan(batch_s=1.0), sleep=hold)) as one, client_of(one._app) as client:
        assert one.record_autoscaling_stats() == {TOKENS: 0.0}
        going.clear()
        asked = [
            asyncio.create_task(client.post("/v1/score", json={"items": [item(response=str(n))]})) for n in range(9)
        ]
        while (told := one.record_autoscaling_stats()[TOKENS]) < 1000:
            await asyncio.sleep(0.01)
        going.set()
        answers = await asyncio.gather(*asked)
        assert told <= sum(answer.json()["usage"]["prompt_tokens"] for answer in answers)
        assert one.record_autoscaling_stats() == {TOKENS: 0.0}


async def test_without_teams_the_proxies_may_listen_on_loopback_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_proxies_listen_at", lambda: "0.0.0.0")
    with pytest.raises(ConfigurationError, match="listens on loopback only"):
        async with replica(FakeEngine()):
            pass
    monkeypatch.setenv("RUBRICD_TEAMS", str(write(tmp_path / "teams.json", team("a"))))
    async with replica(FakeEngine()) as one, client_of(one._app) as client:
        assert (await client.post("/v1/score", json={"items": [item()]})).status_code == 401
        assert (await client.post("/v1/score", json={"items": [item()]}, headers=auth("a"))).status_code == 200


@pytest.mark.parametrize(
    ("settings", "gpus"),
    [
        ({"engine": "vllm", "vllm_tensor_parallel_size": 4}, 4),
        ({"engine": "vllm"}, 1),
        ({"engine": "local", "device": "cuda:1"}, 1),
        ({"engine": "local", "device": "cpu"}, 0),
        ({"engine": "fake"}, 0),
    ],
)
def test_a_replica_has_the_gpus_of_its_judge(settings: dict[str, Any], gpus: int) -> None:
    assert resources(Settings(**settings))["num_gpus"] == gpus
    assert deployment(Settings(**settings)).ray_actor_options["num_gpus"] == gpus


def test_accepted_work_is_finished_before_a_replica_goes() -> None:
    settings = Settings(max_queue_s=100.0, drain_s=20.0)
    assert grace_s(settings) == 125.0
    assert deployment(settings)._deployment_config.graceful_shutdown_timeout_s == 125.0


def test_ray_refuses_nothing_that_the_services_queue_would_take() -> None:
    made = deployment(Settings())
    assert made.max_ongoing_requests >= 100_000
