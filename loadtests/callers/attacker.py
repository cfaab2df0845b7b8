"""Runs the attack of one row in a process of its own, so that making and sending it takes no time from the victim.

    python -m loadtests.callers.attacker ROW PORT KEY SECONDS

It primes the service, says `ready`, waits for a line, attacks again and again for the seconds, and prints the summary.
"""

import asyncio
import resource
import sys
import time

from loadtests.callers.attacks import Answer, Target, summary
from loadtests.callers.rows import ROWS, Row

PAUSE_S = 0.5
"""Between two attacks: it is about what one request does, not about how many there are."""


async def run(row: Row, target: Target, seconds: float) -> list[Answer]:
    answers: list[Answer] = []
    began_s = time.perf_counter()
    while not answers or time.perf_counter() - began_s < seconds:
        if not (answers and (row.once or row.lasts_s)):
            answers += await row.attack(target)
        await asyncio.sleep(PAUSE_S)
    return answers


async def primed(row: Row, target: Target) -> None:
    if row.before is not None:
        await row.before(target)


def main(name: str, port: str, key: str, seconds: str) -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    [row] = [row for row in ROWS if row.name == name]
    target = Target(int(port), key, hold_s=float(seconds))
    asyncio.run(primed(row, target))
    print("ready", flush=True)
    sys.stdin.readline()
    answers = asyncio.run(run(row, target, float(seconds)))
    print(f"{int(sound(row, answers))} {summary(answers)}", flush=True)
    return 0


def sound(row: Row, answers: list[Answer]) -> bool:
    """Returns whether each answer is one of those that are right, and came in time."""
    right = row.answers is None or all(answer.outcome in row.answers for answer in answers)
    return right and (row.within_s is None or all(answer.seconds <= row.within_s for answer in answers))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
