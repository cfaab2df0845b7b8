"""The parts of the overload test that need no service: requests, times, answers, figures."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from loadtests.open_loop import CRITERIA, RESPONSES, TEMPLATES, VERDICTS, Reply, body, evenly, randomly, read_head
from loadtests.overload import (
    Cores,
    Level,
    least_of_peak,
    level,
    percentile,
    served,
    slowest_refusals_ms,
)
from testkit.processes import Failed
from trainer_client.wire import ScoreRequest


def _reply(seconds: float, *, status: int = 200, statuses: str = "ok ok", tokens: tuple[int, int] = (100, 40)) -> Reply:
    criteria = [{"status": one} for one in statuses.split()]
    usage = {"prompt_tokens": tokens[0], "cached_tokens": tokens[1]}
    answer: dict[str, Any] = {"results": [{"criteria": criteria}], "usage": usage} if status == 200 else {}
    return Reply(status, "3" if status == 503 else None, json.dumps(answer).encode(), seconds, sent_s=5.0)


def _level(*replies: Reply) -> Level:
    return level(2.0, replies, 10.0, 200, Cores(0.2, 0.1, 1.5), 2**20)


def test_a_request_is_one_of_the_contract_with_so_many_questions() -> None:
    for number in range(TEMPLATES):
        [item] = ScoreRequest.model_validate_json(body(number, 250)).items
        assert item.responses is not None and len(item.responses) == RESPONSES
        assert item.rubric is not None and len(item.rubric.criteria) == CRITERIA
    assert ScoreRequest.model_validate_json(body(0, 250)).deadline_ms == 250
    assert ScoreRequest.model_validate_json(body(0, None)).deadline_ms is None


def test_no_two_requests_have_a_prompt_or_a_response_in_common() -> None:
    texts = [item["prompt"] for n in range(200) for item in json.loads(body(n, None))["items"]]
    texts += [text for n in range(200) for item in json.loads(body(n, None))["items"] for text in item["responses"]]
    assert len(set(texts)) == len(texts) == 200 * (1 + RESPONSES)


def test_even_times_keep_their_distance_and_their_phase() -> None:
    assert evenly(2.0, 3.0, 0.5) == [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    assert evenly(2.0, 3.0, 0.0) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_random_times_are_in_order_within_the_time_and_as_many_as_asked_for() -> None:
    times = randomly(50.0, 20.0, "a test")
    assert times == sorted(times) and times[0] > 0 and times[-1] < 20
    assert len(times) == pytest.approx(1000, abs=100)
    assert times == randomly(50.0, 20.0, "a test") != randomly(50.0, 20.0, "another")
    gaps = [late - early for early, late in pairwise(times)]
    assert sum(gap > 0.02 for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.05)


def test_a_head_is_read_whatever_the_case_of_its_names() -> None:
    head = b"HTTP/1.1 503 Service Unavailable\r\nRETRY-After: 7\r\ncontent-length:12\r\n\r\n"
    assert read_head(head) == (503, {"retry-after": "7", "content-length": "12"})


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([3.0], 0.99) == 3 and math.isnan(percentile([], 0.5))


def test_only_whole_answers_in_time_are_good() -> None:
    found = _level(
        _reply(0.1), _reply(0.2, statuses="ok abstained"), _reply(0.201), _reply(0.1, statuses="ok timeout"), _reply(9)
    )
    assert found.verdicts_per_s == 2 * VERDICTS / 10
    assert (found.requests, found.late, found.timeouts, found.refused) == (5, 2, 1, 0)


def test_wasted_are_the_computed_tokens_of_what_was_not_whole() -> None:
    found = _level(_reply(0.1, tokens=(100, 10)), _reply(0.1, statuses="ok timeout", tokens=(50, 40)))
    assert found.wasted == pytest.approx(10 / 100) and found.tokens_per_s == pytest.approx(100 / 10)
    assert _level(_reply(0.1, status=503)).wasted == 0


def test_refusals_are_timed_and_must_say_when_to_come_back() -> None:
    silent = Reply(503, None, b"{}", 0.03, 0.0)
    found = _level(_reply(0.01, status=503), _reply(0.02, status=503), silent, _reply(0.1))
    assert (found.refused, found.without_retry_after, found.late) == (3, 1, 0)
    assert [found.refused_p50_ms, found.refused_p99_ms] == pytest.approx([20, 30])


def test_goodput_is_held_against_its_peak_and_the_slowest_refusals_count() -> None:
    of_loads = [
        replace(_level(*[_reply(0.1)] * n, *[_reply(0.001 * ms, status=503)] * bool(ms)), load=load)
        for load, n, ms in ((0.5, 2, 0), (1.0, 8, 0), (2.0, 10, 30), (10.0, 9, 20))
    ]
    assert least_of_peak(of_loads) == pytest.approx(0.9)
    assert slowest_refusals_ms(of_loads) == pytest.approx(30)
    assert math.isnan(slowest_refusals_ms(of_loads[:2]))


@pytest.mark.parametrize("status", [401, 422, 429, 500])
def test_another_status_ends_the_run(status: int) -> None:
    with pytest.raises(Failed, match=str(status)):
        _level(_reply(0.1), _reply(0.1, status=status))


def test_what_is_not_answered_whole_is_demand_that_was_not_served() -> None:
    found = served("small-0", [_reply(0.1), _reply(0.3), _reply(9, statuses="timeout"), _reply(0.01, status=503)])
    assert (found.requests, found.share) == (4, 0.5)
    assert [found.p50_ms, found.p95_ms] == pytest.approx([100, 300])


def test_how_late_a_request_was_sent_is_counted_from_when_it_was_due() -> None:
    assert _reply(0.1).due(4.5).sent_late_s == 0.5
