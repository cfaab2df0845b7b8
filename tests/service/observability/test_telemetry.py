"""Telemetry without a service: registries, the engine's time by team, and the event loop's lag."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.observability import EngineBatch, Telemetry, monitor_event_loop
from service.observability.telemetry import OTHER_TEAM, TeamLabels
from testkit.metrics_page import exposed


def test_two_apps_in_one_process_count_separately() -> None:
    one, other = Telemetry(), Telemetry()
    one.count_request("/v1/score", 200, None)
    assert (exposed(one)("rubricd_requests_total"), exposed(other)("rubricd_requests_total")) == (1, 0)


@given(st.lists(st.text(min_size=1, max_size=3)), st.integers(0, 5))
def test_team_labels_are_bounded_and_stable(names: list[str], max_teams: int) -> None:
    teams = TeamLabels(max_teams)
    labels = {name: teams.label(name) for name in names}
    assert len(set(labels.values()) - {OTHER_TEAM}) <= max_teams
    assert all(label in (name, OTHER_TEAM) for name, label in labels.items())
    assert {name: teams.label(name) for name in names} == labels


costs = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 10_000), min_size=1)


@given(st.lists(st.tuples(costs, st.floats(0, 100)), min_size=1, max_size=5))
def test_the_engines_time_is_divided_among_teams_completely(batches: list[tuple[dict[str, int], float]]) -> None:
    telemetry = Telemetry()
    for tokens, busy_s in batches:
        telemetry.record_batch(
            EngineBatch(
                "label", queries=1, seconds=busy_s, busy_s=busy_s, planned_tokens=tokens, computed_tokens=tokens
            )
        )
    found = exposed(telemetry)
    assert found("rubricd_team_judge_seconds_total") == pytest.approx(sum(busy_s for _, busy_s in batches))
    assert found("rubricd_team_tokens_total") == sum(sum(tokens.values()) for tokens, _ in batches)
    assert found("rubricd_prompt_tokens_total", source="computed") == found("rubricd_team_tokens_total")


async def test_a_blocked_event_loop_is_measured() -> None:
    seen: list[float] = []
    watching = asyncio.create_task(monitor_event_loop(seen.append))
    await asyncio.sleep(0)
    time.sleep(0.4)  # noqa: ASYNC251 -- the loop is to stand still
    while not seen:
        await asyncio.sleep(0)
    watching.cancel()
    assert 0.1 < seen[0] < 60
