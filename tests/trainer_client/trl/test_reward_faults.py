"""A training whose judge fails some criteria: no reward is made up."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service.app import create_app, lifecycle_of
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine, FaultPlan
from service.settings import Settings
from testkit.apps import fake_settings
from testkit.tokenizer_families import family
from tests.trainer_client.trl.tiny import EVEN, QUIET, Recorder, rows, save_policy, texts
from trainer_client.client import JudgeClient, reward
from trainer_client.reward_client import JudgeConfig
from trainer_client.trl.trainer import build, grpo_config


@contextmanager
def faulty(**rates: float) -> Iterator[str]:
    """The service itself on a loopback port, with a judge that fails so from when it is ready; without rates a healthy
    one."""
    engine = FakeEngine()

    async def build_engine(settings: Settings) -> LoadedJudge:
        return LoadedJudge(engine, family("qwen"))

    app = create_app(fake_settings(cache_entries=0, canary_every_s=0), build=build_engine)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started or lifecycle_of(app).state == "loading":
        time.sleep(0.01)
    assert lifecycle_of(app).state == "ready"
    engine.plan = FaultPlan(rates=rates)  # type: ignore[arg-type]
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_a_judge_that_fails_some_criteria(tmp_path: Path) -> None:
    """Trained against the service while its engine fails: every reward in the loss is a healthy judge's, or none."""
    policy = save_policy(tmp_path / "policy")
    sizes = {"group": 4, "prompts_per_batch": 3, "mini_batch": 3, "per_device": 12, "steps": 4}
    config = grpo_config(tmp_path / "out", **{**QUIET, **sizes, "save_strategy": "no", "log_completions": True})
    given = [row for _ in range(4) for row in rows(3)]
    with faulty(some=0.3, low_mass=0.2, nan=0.1) as url:
        judging = JudgeConfig(url, judge_timeout_s=0.3, max_missing_fraction=1.0)
        trainer = build(policy, given, judging=judging, config=config, scaffold=EVEN)
        seen = Recorder()
        seen.watch(trainer).train()
    logs = [trainer.state.log_history[n]["judge/none_share"] for n in range(4)]
    with faulty() as url:
        right = [_healthy(url, policy, rollout) for rollout in seen.rollouts]
    assert None not in right[0]
    judged = unjudged = 0
    for values, part, share in zip(_logged(tmp_path / "out"), seen.losses, logs, strict=True):
        wanted = right.pop(0)
        assert all(one is None or one == pytest.approx(good) for one, good in zip(values, wanted, strict=True))
        assert share == pytest.approx(values.count(None) / 12)
        judged, unjudged = judged + 12 - values.count(None), unjudged + values.count(None)
        assert part["advantages"].eq(0).sum() >= values.count(None)
        assert not part["advantages"].isnan().any()
    assert judged > 5 and unjudged > 5


def _logged(out: Path) -> list[list[float | None]]:
    import pyarrow.parquet as pq

    tables = [pq.read_table(file).to_pydict()["reward"] for file in sorted((out / "completions").glob("*.parquet"))]
    return [[None if one is None or one != one else float(one) for one in rewards] for rewards in tables]


def _healthy(url: str, policy: str, rollout: dict[str, Any]) -> list[float | None]:
    items = [
        {
            "prompt": rollout["prompts"][n][0]["content"],
            "response": answer,
            "rubric": json.loads(rollout["prompts"][n][-1]["row"])["rubric"],
        }
        for n, answer in enumerate(texts(policy, rollout["completion_ids"]))
    ]

    async def ask() -> list[float | None]:
        async with JudgeClient(url) as client:
            return [reward(outcome) for outcome in await client.score(items)]

    return asyncio.run(ask())
