"""Counted waiters: a flight belongs to nobody, and dies with the last who waits for it."""

import pytest

from service.cache.single_flight import Flight, SingleFlight
from service.errors import EngineFailed


class Work:
    def __init__(self) -> None:
        self.cancelled = 0
        self.deadline_s: float | None = None

    def cancel(self) -> None:
        self.cancelled += 1

    def extend_deadline(self, deadline_s: float | None) -> None:
        self.deadline_s = deadline_s


def begin(flights: SingleFlight[int], deadline_s: float | None = None) -> tuple[Flight[int], Work]:
    flight, new = flights.join(b"k", deadline_s)
    assert new
    work = flight.work = Work()
    return flight, work


async def test_the_second_joins_the_first_and_both_get_the_value() -> None:
    flights = SingleFlight[int]()
    flight, _ = begin(flights)
    same, new = flights.join(b"k")
    assert same is flight
    assert not new
    flight.succeed(7)
    assert flight.future.result() == 7
    assert len(flights) == 0


async def test_who_began_it_may_leave_in_200_of_200_trials() -> None:
    for _ in range(200):
        flights = SingleFlight[int]()
        leader, work = begin(flights)
        follower, _ = flights.join(b"k")
        leader.release()
        assert work.cancelled == 0
        leader.succeed(1)
        assert follower.future.result() == 1


async def test_the_last_to_leave_cancels_the_work_and_the_next_begins_anew() -> None:
    flights = SingleFlight[int]()
    flight, work = begin(flights)
    flights.join(b"k")
    flight.release()
    flight.release()
    assert work.cancelled == 1
    assert flight.future.cancelled()
    again, new = flights.join(b"k")
    assert new
    assert again is not flight


async def test_a_failure_is_shared_and_then_forgotten() -> None:
    flights = SingleFlight[int]()
    flight, _ = begin(flights)
    flights.join(b"k")
    flight.fail(EngineFailed("x"))
    with pytest.raises(EngineFailed):
        flight.future.result()
    assert flights.join(b"k")[1]


async def test_leaving_an_answered_flight_does_not_touch_its_successor() -> None:
    flights = SingleFlight[int]()
    flight, work = begin(flights)
    flight.succeed(1)
    _, successor = begin(flights)
    flight.release()
    assert (work.cancelled, successor.cancelled, len(flights)) == (0, 0, 1)


@pytest.mark.parametrize(
    ("first", "second", "both"), [(1.0, 2.0, 2.0), (2.0, 1.0, 2.0), (1.0, None, None), (None, 1.0, None)]
)
async def test_its_deadline_is_the_most_patient_waiters(
    first: float | None, second: float | None, both: float | None
) -> None:
    flights = SingleFlight[int]()
    flight, work = begin(flights, first)
    work.deadline_s = first
    flights.join(b"k", second)
    assert flight.deadline_s == both
    assert work.deadline_s == both
