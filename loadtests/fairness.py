"""Simulates the fair queue under a noisy neighbour, equal demand and overload: prints a table and draws a picture.

python -m loadtests.fairness [--plot docs/pictures/fairness.png] [--criteria 3] [--seconds 1200]
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtests.simulation import LIMITS, UNIT, Caller, Run, Shape, Simulation
from service.scheduling import PriorityClass, Tenant
from service.settings import SchedulingSettings

SMALL_LOAD, NOISY_LOAD = 0.05, 10.0
TIMEOUT_S = 10.0
LOADS = (1, 2, 3, 5, 10)
CLASSES: tuple[PriorityClass, ...] = ("interactive", "train", "eval")


@dataclass(frozen=True, slots=True)
class Beside:
    """Seconds until 95 % of a small team's requests are answered: alone, without the noisy neighbour, and beside it."""

    solo_s: float
    peers_s: float
    fair_s: float
    fifo_s: float | None
    served: float
    fifo_served: float


async def beside_a_noisy_neighbour(
    small: Shape,
    noisy: Shape,
    seconds: float,
    *,
    steady: bool = False,
    seed: int = 0,
    limits: SchedulingSettings = LIMITS,
) -> list[Beside]:
    """Four small teams, one outcome each. `steady`: their requests come evenly, each team's at its own time."""
    teams = [Caller(Tenant(f"small-{n}"), SMALL_LOAD, small, steady=steady) for n in range(4)]
    callers = [*teams, Caller(Tenant("noisy"), NOISY_LOAD, noisy)]
    fair = await Simulation(callers, seed=seed, limits=limits).run(seconds)
    fifo = await Simulation(callers, seed=seed, fair=False, limits=limits).run(seconds)
    peers = await Simulation(teams, seed=seed, limits=limits).run(seconds)
    found = []
    for n in range(len(teams)):
        solo = (await Simulation(callers, seed=seed, only=n, limits=limits).run(seconds)).told[n]
        told, first_come = fair.told[n], fifo.told[n]
        fifo_s = first_come.p95_s if first_come.latencies_s else None
        found.append(Beside(solo.p95_s, peers.told[n].p95_s, told.p95_s, fifo_s, told.served, first_come.served))
    return found


async def backlogged(flows: Sequence[Tenant], shape: Shape, seconds: float, *, fair: bool = True) -> Run:
    """All ask for more than there is."""
    return await Simulation([Caller(tenant, 1.5, shape) for tenant in flows], fair=fair).run(seconds)


def shares(run: Run) -> list[float]:
    """Of what was computed while requests came, by caller."""
    return [told.units / sum(told.units for told in run.told) for told in run.told]


def jain(shares: Sequence[float]) -> float:
    """1 where all got the same, 1/n where one got all."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


@dataclass(frozen=True, slots=True)
class Goodput:
    """`good`: units of requests answered whole and in time, a second; `late`, `partial`: shares of what was computed
    that were answered past the deadline, and that belong to requests not answered whole."""

    load: float
    good: float
    late: float
    partial: float
    most: int
    refusals: int
    refusal_s: float


async def overload(
    load: float, shape: Shape, seconds: float, *, refuse_early: bool = True, fair: bool = True
) -> Goodput:
    """Four teams that together ask `load` times what can be computed, and wait ten seconds."""
    callers = [Caller(Tenant(f"team-{n}"), load / 4, shape, TIMEOUT_S) for n in range(4)]
    run = await Simulation(callers, refuse_early=refuse_early, fair=fair).run(seconds)
    computed, whole, late = (sum(getattr(told, name) for told in run.told) for name in ("computed", "whole", "late"))
    return Goodput(
        load=load,
        good=whole / seconds,
        late=late / computed,
        partial=1 - whole / computed,
        most=run.most,
        refusals=len(run.refusals_s),
        refusal_s=statistics.median(run.refusals_s) if run.refusals_s else 0.0,
    )


async def _noisy_neighbours(criteria: int, seconds: float) -> dict[str, list[Beside]]:
    noisy = Shape(32, criteria)
    one = replace(LIMITS, max_in_flight=1)
    return {
        "32 responses, steady": await beside_a_noisy_neighbour(noisy, noisy, seconds, steady=True),
        "32 responses, at random": await beside_a_noisy_neighbour(noisy, noisy, seconds),
        "the same, one batch in flight": await beside_a_noisy_neighbour(noisy, noisy, seconds, limits=one),
        "1 response, at random": await beside_a_noisy_neighbour(Shape(1, criteria), noisy, seconds),
    }


async def _shared(shape: Shape) -> None:
    teams = [Tenant(f"team-{n}") for n in range(5)]
    fair, fifo = await backlogged(teams, shape, 120), await backlogged(teams, shape, 120, fair=False)
    print(f"five equal teams, all waiting: Jain {jain(shares(fair)):.4f}, in one queue {jain(shares(fifo)):.4f}")
    print(f"tokens a second, of first come first served: {fair.units_per_s / fifo.units_per_s:.3f}")
    heavy, light = shares(await backlogged([Tenant("heavy", 3.0), Tenant("light")], shape, 240))
    print(f"weights 3 to 1: {heavy / light:.2f} to 1")
    kinds = shares(await backlogged([Tenant("one", priority_class=name) for name in CLASSES], shape, 240))
    print("classes of one team, of 21: " + ", ".join(f"{k} {21 * s:.2f}" for k, s in zip(CLASSES, kinds, strict=True)))


def _print_noisy_neighbours(found: dict[str, list[Beside]]) -> None:
    print(
        "small team | p95 alone | small teams only | beside the noisy neighbour | ratio | served | one queue | served"
    )
    for name, teams in found.items():
        for one in teams:
            fifo = "none served" if one.fifo_s is None else f"{one.fifo_s:.2f} s"
            print(
                f"{name} | {one.solo_s:.2f} s | {one.peers_s:.2f} s | {one.fair_s:.2f} s | "
                f"{one.fair_s / one.solo_s:.2f} | {one.served:.3f} | {fifo} | {one.fifo_served:.3f}"
            )


def _print_overload(name: str, found: Sequence[Goodput]) -> None:
    print(f"{name}: load | good tokens/s | late | of unfinished requests | most tokens waiting | refused | CPU of one")
    for one in found:
        print(
            f"{one.load} | {one.good * UNIT:.0f} | {one.late:.4f} | {one.partial:.3f} | {one.most * UNIT} | "
            f"{one.refusals} | {one.refusal_s * 1e6:.0f} us"
        )


def plot(noisy: dict[str, list[Beside]], goodput: dict[str, list[Goodput]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for place, teams in enumerate(noisy.values()):
        bars = [
            ("alone", [one.solo_s for one in teams], "#9bb8d3"),
            ("fair queue", [one.fair_s for one in teams], "#2f6690"),
            ("one queue", [one.fifo_s for one in teams if one.fifo_s is not None], "#d1495b"),
        ]
        for n, (label, values, colour) in enumerate(bars):
            x = place * 4 + n
            left.bar(x, statistics.mean(values), color=colour, label=label if place == 0 else None)
            left.text(x, statistics.mean(values) * 1.08, f"{statistics.mean(values):.2f}", ha="center")
    left.set(yscale="log", ylim=(0.01, 1000), ylabel="p95 of a small team's requests, s")
    left.set_xticks([4 * place + 1 for place in range(len(noisy))], [name.replace(", ", ",\n") for name in noisy])
    left.set_title("Four small teams beside a noisy neighbour at ten times capacity")
    left.legend(frameon=False)
    for name, loads in goodput.items():
        right.plot([one.load for one in loads], [one.good * UNIT / 1000 for one in loads], marker="o", label=name)
    right.set(xlabel="load, of what can be computed", ylabel="thousand tokens/s", ylim=(0, 55))
    right.set_title("Answered whole within ten seconds")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


async def run(criteria: int, seconds: float, path: Path | None) -> None:
    shape = Shape(32, criteria)
    noisy = await _noisy_neighbours(criteria, seconds)
    _print_noisy_neighbours(noisy)
    await _shared(shape)
    policies = {"refused early": True, "not refused": False}
    goodput = {
        name: [await overload(load, shape, 240, refuse_early=early) for load in LOADS]
        for name, early in policies.items()
    }
    for name, found in goodput.items():
        _print_overload(name, found)
    if path is not None:
        plot(noisy, goodput, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="write a picture here")
    parser.add_argument("--criteria", type=int, default=3, help="questions that stand for a response's twelve")
    parser.add_argument("--seconds", type=float, default=1200, help="simulated time beside the noisy neighbour")
    args = parser.parse_args()
    asyncio.run(run(args.criteria, args.seconds, args.plot))


if __name__ == "__main__":
    main()
