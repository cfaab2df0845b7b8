"""Every alert fires where its condition is caused in a real process of the service, and is inactive again afterwards.

A real Prometheus with the shipped rules, SPEED times as fast, watches five processes. Each scenario causes what its
alerts look for, waits until Prometheus reports that they fire, ends the cause, and waits until they are inactive. Loads
go on all the time, so that an alert clears because the service is well again, not because nobody sends requests.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from testkit.prometheus import Prometheus, prometheus
from testkit.redis import RedisServer
from tests.deploy import scenarios
from tests.deploy.alerting import Row, Watch, running, table
from tests.deploy.rules import ALERTS, RECORDING, names

SPEED, SCRAPE_S = 100.0, 0.25
FAILING, DRIFTING, REPLICAS = "rubricd-failing", "rubricd-drifting", "rubricd-replicas"
DOUBTING = "rubricd-doubting"


async def test_every_alert_fires_and_clears_and_every_recording_has_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: dict[str, Row] = {}
    with RedisServer() as full, RedisServer() as lost:
        async with AsyncExitStack() as stack:
            replica = scenarios.Replica(tmp_path, lost)
            failing, drifting, other, slow, doubting = await asyncio.gather(
                stack.enter_async_context(scenarios.failing(tmp_path, full)),
                stack.enter_async_context(scenarios.drifting(tmp_path)),
                stack.enter_async_context(replica.first()),
                stack.enter_async_context(scenarios.slow(tmp_path)),
                stack.enter_async_context(scenarios.doubting(tmp_path)),
            )
            targets = {FAILING: [failing.target], DRIFTING: [drifting.target], REPLICAS: [slow.target, other.target]}
            targets[DOUBTING] = [doubting.target]
            asked, blind = (
                stack.enter_context(
                    prometheus(tmp_path / name, jobs, rules=[RECORDING, ALERTS], scrape_s=SCRAPE_S, speed=SPEED)
                )
                for name, jobs in (("asked", targets), ("blind", {"rubricd": []}))
            )
            watch, unwatched = Watch(asked, rows), Watch(blind, rows)
            async with running(watch.follow(), unwatched.follow()), asyncio.TaskGroup() as together:
                together.create_task(scenarios.fail(watch.job(FAILING), failing, full, tmp_path / "ledger"))
                together.create_task(scenarios.drift(watch.job(DRIFTING), drifting))
                together.create_task(replica.die(watch.job(REPLICAS), other))
                together.create_task(scenarios.wait(watch.job(REPLICAS), slow))
                together.create_task(scenarios.doubt(watch.job(DOUBTING), doubting))
                together.create_task(scenarios.go_unwatched(unwatched.job(""), tmp_path / "blind", drifting))
            empty = await asyncio.to_thread(without_data, asked)
    with capsys.disabled():
        print(f"\n{table(rows.values())}", file=sys.stderr)  # a worker's stdout goes nowhere
    assert not empty
    assert set(rows) == set(names(ALERTS, "alert"))


def without_data(asked: Prometheus) -> Sequence[str]:
    """Recording rules of which there never was a number."""
    return [name for name in names(RECORDING, "record") if not asked.query(f"last_over_time({name}[10m])")]
