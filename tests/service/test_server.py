"""Tests of the server's parts that need no process. tests/e2e/test_serve.py and test_rolling_restart.py start it."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.errors import ConfigurationError
from service.server import check_host, next_steps, serve, spare_the_collector
from service.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "judge.example", "127.0.0.1.example", ""])
def test_another_address_needs_a_teams_file(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"`host` is .*loopback only"):
        check_host(host)


def test_the_address_of_the_metrics_needs_one_too() -> None:
    with pytest.raises(ConfigurationError, match=r"`metrics_host` is 0\.0\.0\.0.*loopback only"):
        serve(Settings(engine="fake", metrics_port=0, metrics_host="0.0.0.0", port=0))


def test_what_to_try_next_is_an_address_that_can_be_opened_and_true_of_the_judge(tmp_path: Path) -> None:
    alone = next_steps("http://127.0.0.1:8000", Settings())
    assert "the bundled judge is a toy" in alone and "RUBRICD_KEY" not in alone
    for everywhere, here in (("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")):
        said = next_steps(
            f"http://{everywhere}:8000", Settings(engine="vllm", judge="m", teams=tmp_path / "teams.yaml")
        )
        assert said.startswith(f"Try next: open http://{here}:8000/ in a browser")
        assert f"`RUBRICD_KEY=rbd_... .venv/bin/rubricd doctor --url http://{here}:8000`" in said
    hosted: dict[str, Any] = {"decisions_url": "http://judge", "decisions_model": "m"}
    for settings in (Settings(engine="decisions", **hosted), Settings(judges=tmp_path / "judges.yaml")):
        assert "bundled" not in next_steps("http://127.0.0.1:8000", settings)


@pytest.fixture
def collector() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("collector")
def test_the_collector_does_not_look_at_what_is_loaded() -> None:
    gc.unfreeze()
    spare_the_collector()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] >= 50_000
