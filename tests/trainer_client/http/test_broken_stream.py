"""A stream that breaks, lies or is garbage: what it costs, and what is not believed of it."""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Json, Service, expected_score, items, problem, scores
from tests.trainer_client.http.streaming import Stream, all_of, codes, group, judging, lines, pieces, streamed
from trainer_client import errors
from trainer_client.client import Failed, Scored, reward
from trainer_client.http.retry import RetryPolicy


class Breaking(Service):
    """Breaks each of the first streams after so many lines, or with half of one."""

    def __init__(self, *after: int, half: bool = False, error: Exception | None = None) -> None:
        super().__init__(self._play)
        self.after = list(after)
        self.half = half
        self.error = error

    def _play(self, body: Json) -> httpx.Response:
        said = lines(scores(body))
        if not self.after:
            return streamed(said)
        count = self.after.pop(0)
        return streamed(Stream([*said[:count], *([said[count][:-1]] if self.half else [])], self.error))


@pytest.mark.parametrize("error", [None, httpx.ReadError("reset"), httpx.RemoteProtocolError("cut off")])
@pytest.mark.parametrize("half", [False, True])
async def test_what_came_before_a_break_stays_and_only_the_rest_is_asked_for_again(
    half: bool, error: Exception | None
) -> None:
    service = Breaking(2, 3, half=half, error=error)
    async with judging(service) as client:
        came = await all_of(client, items(8))
    assert codes(came) == [None] * 8
    assert [[item["id"] for item in body["items"]] for body in service.bodies] == [
        list("01234567"),
        list("234567"),
        list("567"),
    ]


async def test_a_group_that_broke_is_asked_for_whole_and_what_is_known_stays() -> None:
    service = Breaking(3)
    async with judging(service) as client:
        came = await all_of(client, [*items(1), group("a", "b", "c", "d"), *items(1, id="z")])
    assert [came[place].id for place in range(6)] == ["0", "1/0", "1/1", "1/2", "1/3", "z"]
    assert [reward(came[place]) for place in range(1, 5)] == [expected_score(text) for text in "abcd"]
    assert [[item["id"] for item in body["items"]] for body in service.bodies] == [["0", "1", "z"], ["1", "z"]]


async def test_who_is_blamed_after_a_break_is_counted_in_what_was_asked_then() -> None:
    def answer(body: Json) -> httpx.Response:
        asked = [item["id"] for item in body["items"]]
        if len(asked) == 6:
            return streamed(lines(scores(body))[:3])
        if "4" in asked:
            return problem("invalid_request", 422, errors=[{"loc": ["items", asked.index("4")], "msg": "no"}])
        return streamed(lines(scores(body)))

    service = Service(answer)
    async with judging(service) as client:
        came = await all_of(client, items(6))
    assert codes(came) == [None, None, None, None, "invalid_request", None]
    assert [[item["id"] for item in body["items"]] for body in service.bodies[1:]] == [["3", "4", "5"], ["3", "5"]]
    failed = came[4]
    assert isinstance(failed, Failed) and isinstance(failed.error, errors.Refused)
    assert failed.error.errors == ((("items", 4), "no"),)


async def test_a_stream_whose_last_line_alone_is_missing_has_said_everything() -> None:
    service = Breaking(4)
    async with judging(service) as client:
        assert codes(await all_of(client, items(4))) == [None] * 4
    assert len(service.bodies) == 1


async def test_streams_that_go_on_breaking_fail_what_never_came() -> None:
    service = Breaking(*[1] * 10)
    async with judging(service, retry=RetryPolicy(attempts=3)) as client:
        came = await all_of(client, items(8))
    assert codes(came) == [None] * 3 + ["connection_broken"] * 5
    failed = came[7]
    assert isinstance(failed, Failed) and failed.error.attempts == 3
    assert failed.error.__traceback__ is None and failed.error.__context__ is None


def _line(said: list[bytes], n: int, **change: Any) -> list[bytes]:
    said[n] = json.dumps({**json.loads(said[n]), **change}).encode() + b"\n"
    return said


def _criteria_swapped(said: list[bytes]) -> list[bytes]:
    return _line(said, 2, criteria=json.loads(said[2])["criteria"][::-1])


RowError = Callable[[list[bytes]], list[bytes]]
SLIPS: dict[str, RowError] = {
    "garbage": lambda said: [*said[:2], b"<html>\n", *said[2:]],
    "empty line": lambda said: [*said[:2], b"\n", *said[2:]],
    "duplicate": lambda said: [*said[:2], *said[1:]],
    "index too large": lambda said: _line(said, 2, index=4),
    "index below zero": lambda said: _line(said, 2, index=-1),
    "index as text": lambda said: _line(said, 2, index="2"),
    "another's id": lambda said: _line(said, 2, id="0"),
    "criteria out of order": _criteria_swapped,
    "not a number": lambda said: _line(said, 2, score=float("nan")),
    "verdict without status": lambda said: _line(said, 2, criteria=[{"id": "0", "met": True}]),
    "last line too early": lambda said: [*said[:2], said[-1]],
}


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS)
async def test_a_line_that_is_not_in_the_contract_fails_what_is_not_settled(slip: RowError) -> None:
    service = Service(lambda body: streamed(slip(lines(scores(body)))))
    async with judging(service) as client:
        came = await all_of(client, items(4))
    assert codes(came) == [None, None, "contract", "contract"]
    assert len(service.bodies) == 1, "asking again would bring the same"
    failed = came[3]
    assert isinstance(failed, Failed) and failed.error.request_id == "req-1"


class Faults:
    """Answers in lines, wrongly most of the time; says only what is right of what it says."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.played: Counter[str] = Counter()

    def __call__(self, body: Json) -> httpx.Response:
        rng, whole = self.rng, scores(body)
        said = lines(whole, rng.sample(range(len(whole["results"])), len(whole["results"])))
        at = rng.randrange(len(said))
        kinds: dict[str, Callable[[], httpx.Response]] = {
            "right": lambda: streamed(pieces(b"".join(said), rng)),
            "ends early": lambda: streamed(said[:at]),
            "cut in a line": lambda: streamed(pieces(b"".join(said)[: rng.randrange(len(b"".join(said)))], rng)),
            "reset": lambda: streamed(Stream(said[:at], httpx.ReadError("reset"))),
            "garbage": lambda: streamed([*said[:at], b"{]\n", *said[at:]]),
            "twice": lambda: streamed([*said[: at + 1], *said[at:]]),
            "no last line": lambda: streamed(said[:-1]),
            "swapped": lambda: streamed(_line(said, at, id="another")),
            "overloaded": lambda: problem("overloaded", 503, retry_after="1"),
            "quota": lambda: problem("quota_exceeded", 429, retry_after="2"),
            "no connection": lambda: (_ for _ in ()).throw(httpx.ConnectError("refused")),
        }
        kind = rng.choice(["right", "right", *kinds])
        self.played[kind] += 1
        return kinds[kind]()


@pytest.mark.parametrize("seed", range(4))
async def test_under_faults_nothing_is_invented_lost_or_told_twice(seed: int) -> None:
    faults = Faults(seed)
    listed = [*items(900), *[group(f"a{n}", f"b{n}") for n in range(50)]]
    texts = [f"answer {n}" for n in range(900)] + [f"{x}{n}" for n in range(50) for x in "ab"]
    service = Service(faults)
    async with judging(service, batch_items=6, retry=RetryPolicy(burst=60, share=1.0)) as client:
        came = await all_of(client, listed)
    assert len(faults.played) == 11 and sorted(came) == list(range(1000))
    scored = {place: outcome for place, outcome in came.items() if isinstance(outcome, Scored)}
    assert 500 < len(scored) < 1000
    assert all(reward(outcome) == expected_score(texts[place]) for place, outcome in scored.items())
    assert all(reward(outcome) is None for place, outcome in came.items() if place not in scored)
