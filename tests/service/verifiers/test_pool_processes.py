"""The rule pool's processes: what a check that is stopped costs, what a death leaves, and that none outlives it."""

import asyncio
import os
import random
import signal
from contextlib import suppress

import pytest

from service.errors import Cancelled, VerifierFailed
from service.rubrics.rubric import Rule
from service.settings import RuleSettings
from service.verifiers.pool import RulePool
from testkit.waiting import HUNG_S
from tests.service.verifiers.pools import CATASTROPHE, ENDLESS, INTEGRAL, TABLE, children, rule, until


@pytest.mark.parametrize("catastrophe", [CATASTROPHE, INTEGRAL, ENDLESS], ids=lambda case: case[0].name)
async def test_a_catastrophe_costs_its_time_limit_and_nobody_else(
    impatient: RulePool, catastrophe: tuple[Rule, str]
) -> None:
    easy = rule("regex", pattern="b")
    assert await asyncio.gather(*(impatient.check(easy, "b") for _ in range(8))) == [True] * 8  # all have started
    slow = asyncio.ensure_future(impatient.check(*catastrophe))
    assert await asyncio.gather(*(impatient.check(easy, "b") for _ in range(4))) == [True] * 4
    assert not slow.done()
    with pytest.raises(VerifierFailed, match="did not finish within 2 s"):
        await slow
    assert await asyncio.gather(*(impatient.check(easy, "b") for _ in range(20))) == [True] * 20


async def test_200_checks_while_processes_are_killed() -> None:
    dice = random.Random(7)
    pool = RulePool(RuleSettings(rule_workers=3, rule_timeout_s=3))
    cases: list[tuple[Rule, str, bool | None]] = [dice.choice(TABLE) for _ in range(198)]
    cases += [(*CATASTROPHE, None), (*ENDLESS, None)]
    dice.shuffle(cases)
    answers: list[list[bool | None]] = [[] for _ in cases]

    async def ask(i: int) -> None:
        asked, response, _ = cases[i]
        try:
            answers[i].append(await pool.check(asked, response))
        except VerifierFailed:
            answers[i].append(None)

    async def kill() -> int:
        killed = 0
        while killed < 15:
            await asyncio.sleep(dice.uniform(0.01, 0.2))
            for pid in dice.sample(sorted(children()), k=min(1, len(children()))):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        return killed

    killer = asyncio.ensure_future(kill())
    for begin in range(0, 200, 20):
        await asyncio.wait_for(asyncio.gather(*(ask(i) for i in range(begin, begin + 20))), HUNG_S)
        await asyncio.sleep(0.1)
    killer.cancel()
    assert all(len(answer) == 1 for answer in answers)
    wrong = [(case, met) for case, [met] in zip(cases, answers, strict=True) if met is not None and met is not case[2]]
    assert wrong == []
    assert sum(met is not None for [met] in answers) >= 150
    await pool.stop()
    assert children() == set()


async def test_a_process_that_died_while_idle_costs_nothing(pool: RulePool) -> None:
    for _ in range(5):
        assert await pool.check(rule("regex", pattern="b"), "b")
        [pid] = children()
        os.kill(pid, signal.SIGKILL)
    assert await pool.check(rule("regex", pattern="b"), "b")


async def test_a_process_that_dies_while_it_decides_is_a_failure() -> None:
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=2 * HUNG_S))
    assert await pool.check(rule("json_schema", schema={}), "1")
    check = asyncio.ensure_future(pool.check(*ENDLESS))
    await asyncio.sleep(0.1)
    [pid] = children()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(VerifierFailed, match="died while it decided"):
        await asyncio.wait_for(check, HUNG_S)
    await pool.stop()


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.02, 0.6])
async def test_a_caller_that_is_cancelled_frees_its_process(after_s: float) -> None:
    """While its process starts, loads or decides; a caller that is cancelled while it waits is passed over."""
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=2 * HUNG_S))
    running = asyncio.ensure_future(pool.check(*ENDLESS))
    waiting = asyncio.ensure_future(pool.check(*ENDLESS))
    next_one = asyncio.ensure_future(pool.check(rule("regex", pattern="b"), "b"))
    await asyncio.sleep(after_s)
    before = children()
    waiting.cancel()
    await asyncio.sleep(0)
    assert repr(pool) == "<RulePool 1 busy, 1 free, 1 waiting>"
    running.cancel()
    assert await asyncio.wait_for(next_one, HUNG_S)
    assert running.cancelled()
    assert waiting.cancelled()
    assert repr(pool) == "<RulePool 0 busy, 2 free, 0 waiting>"
    await until(lambda: not before & children())
    await pool.stop()


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.02, 0.6])
async def test_stop_answers_all_and_leaves_no_process(after_s: float) -> None:
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=2 * HUNG_S))
    checks = [asyncio.ensure_future(pool.check(*ENDLESS)) for _ in range(5)]
    await asyncio.sleep(after_s)
    await asyncio.wait_for(asyncio.gather(pool.stop(), pool.stop()), HUNG_S)
    assert children() == set()
    for answer in await asyncio.wait_for(asyncio.gather(*checks, return_exceptions=True), HUNG_S):
        assert isinstance(answer, Cancelled)
    with pytest.raises(Cancelled):
        await pool.check(*ENDLESS)
    await pool.stop()
    assert children() == set()


async def test_nothing_starts_before_it_is_needed(pool: RulePool) -> None:
    before = children()
    await pool.check(rule("choice", gold="B"), "B")
    await pool.check(rule("math_verify", gold="B"), "B")
    assert children() == before == set()
    for _ in range(3):
        await pool.check(rule("regex", pattern="b"), "b")
    assert len(children()) == 1


def test_math_agrees_in_a_loop_that_is_not_in_the_main_thread() -> None:
    """The library itself fails there, because its time limits are signals."""

    async def ask() -> tuple[bool, bool]:
        pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=HUNG_S))
        asked = rule("math_verify", gold=r"\frac{1}{2}")
        verdicts = await pool.check(asked, "It is 0.5"), await pool.check(asked, "It is 0.6")
        await pool.stop()
        return verdicts

    async def in_thread() -> tuple[bool, bool]:
        return await asyncio.to_thread(asyncio.run, ask())

    assert asyncio.run(ask()) == asyncio.run(in_thread()) == (True, False)
