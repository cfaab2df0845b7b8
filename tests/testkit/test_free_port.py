"""No two servers of the tests get the same port, whichever processes start them."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from testkit.free_port import END, FIRST, free_port

ROOT = Path(__file__).parents[2]
TAKER = "import sys; from testkit.free_port import free_port; print(*(free_port() for _ in range(100))); input()"


def test_four_processes_take_100_ports_each_and_none_is_taken_twice() -> None:
    with ExitStack() as running:
        takers = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", TAKER], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for _ in range(4)
        ]
        lines = [taker.stdout.readline() for taker in takers if taker.stdout is not None]
        ports = [int(port) for line in lines for port in line.split()] + [free_port() for _ in range(100)]
        for taker in takers:
            taker.communicate("\n")
    assert len(ports) == len(set(ports)) == 500
    assert all(FIRST <= port < END for port in ports)
