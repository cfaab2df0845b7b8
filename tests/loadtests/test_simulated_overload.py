"""Law 4 under load, simulated: what is admitted can be finished in time, and the rest is refused at once."""

from loadtests.fairness import LOADS, overload
from loadtests.simulation import LIMITS, UNITS_PER_S, Shape


async def test_goodput_holds_from_once_to_ten_times_what_can_be_computed() -> None:
    found = [await overload(load, Shape(32, 1), 120) for load in LOADS]
    peak = max(one.good for one in found)
    for one in found:
        assert one.good >= 0.9 * peak
        assert one.late <= 0.01
        assert one.most <= 2 * LIMITS.max_queued_tokens
        assert one.refusal_s < 0.05
    assert found[-1].refusals > 500
    assert found[-1].good > 0.8 * UNITS_PER_S


async def test_without_admission_control_goodput_falls() -> None:
    """The control: the same load, deadlines are not compared before the queue."""
    early, late = [await overload(10, Shape(32, 1), 60, refuse_early=refuse) for refuse in (True, False)]
    assert late.good < 0.8 * early.good
