"""The program that decides rules, run by itself: its imports, its limits, its environment and its end."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from service.rubrics.rubric import Rule
from service.verifiers import worker
from service.verifiers.pool import RulePool
from service.verifiers.process import Job
from tests.service.verifiers.pools import CATASTROPHE, ENDLESS, WORKER, children, proc, rule, until


def run_worker(*jobs: tuple[Rule, str], options: Sequence[str] = (), limit_s: float = 9) -> tuple[str, str]:
    """Returns what a rule process answers to these jobs, and what it writes to its standard error."""
    lines = [job((asked, response), limit_s) for asked, response in jobs]
    ran = subprocess.run(
        [sys.executable, "-I", *options, WORKER],
        input=b"".join(lines),
        capture_output=True,
        check=True,
    )
    return re.sub(r', "cpu_s": [0-9.e-]+', "", ran.stdout.decode()), ran.stderr.decode()


def job(check: tuple[Rule, str], limit_s: float) -> bytes:
    asked, response = check
    return Job([(asked.name, asked.params, 0)], [response], limit_s).encode()


def test_a_process_imports_only_what_its_rule_needs() -> None:
    def imported(*jobs: tuple[Rule, str]) -> set[str]:
        answers, log = run_worker(*jobs, options=("-X", "importtime"))
        assert answers == 'started\n{"met": [true]}\n' * len(jobs)
        return {line.split("|")[-1].strip().split(".")[0] for line in log.splitlines() if "|" in line}

    pattern = (rule("regex", pattern="1"), "1")
    assert not imported(pattern) & {"math_verify", "sympy", "jsonschema", "asyncio"}
    number, expression = (rule("math_verify", gold="1"), "1"), (rule("math_verify", gold="x+1"), "$1+x$")
    assert not imported(number) & {"math_verify", "sympy", "asyncio"}
    everything = imported(pattern, (rule("json_schema", schema={}), "1"), number, expression)
    assert everything >= {"regex", "jsonschema", "math_verify"}
    assert not everything & {"trainer_client", "torch", "transformers", "tokenizers", "fastapi", "pydantic"}


def test_a_slow_pattern_does_not_even_cost_its_process() -> None:
    answers, _ = run_worker(CATASTROPHE, (rule("regex", pattern="1"), "1"), limit_s=0.2)
    assert answers == 'started\n{"error": "slow"}\nstarted\n{"met": [true]}\n'


def test_a_process_that_ran_out_of_memory_says_so_and_ends() -> None:
    program = "from service.verifiers import worker as w; w.MEMORY_BYTES = 100 << 20; w.main()"
    large = job((rule("json_schema", schema={}), f"[{'[],' * 3_000_000}[]]"), 9)
    ran = subprocess.run(
        [sys.executable, "-c", program], input=large + large, capture_output=True, check=True, cwd=WORKER.parents[2]
    )
    assert ran.stdout.startswith(b'started\n{"error": "memory", "cpu_s": ')
    assert ran.stdout.count(b"\n") == 2


def test_a_process_outlives_the_limit_of_a_job_that_it_has_done() -> None:
    with subprocess.Popen([sys.executable, "-I", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for pause_s in (worker.OVERTIME_S + 0.3, 0):
            process.stdin.write(job((rule("json_schema", schema={}), "1"), 0))
            process.stdin.flush()
            assert process.stdout.readline() == b"started\n"
            assert process.stdout.readline().startswith(b'{"met": [true], ')
            time.sleep(pause_s)


async def test_a_process_ends_when_the_service_is_killed() -> None:
    """An idle process ends at once, because its pipe closes, and a busy one soon after its limit."""
    program = f"""
import asyncio, sys
from service.rubrics.rubric import Rule
from service.scheduling import Tenant
from service.settings import RuleSettings
from service.verifiers.pool import RulePool
async def main():
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=1.5))
    busy = asyncio.ensure_future(pool.check(Rule("json_schema", {ENDLESS[0].params!r}), {ENDLESS[1]!r}))
    await pool.check(Rule("regex", {{"pattern": "b"}}), "b")
    print(*(process._program._process.pid for process in pool._processes if process._program), flush=True)
    await busy
asyncio.run(main())
"""
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=WORKER.parents[2]
    )
    assert service.stdout is not None
    pids = list(map(int, (await service.stdout.readline()).split()))
    assert len(pids) == 2
    service.kill()
    await service.wait()
    await until(lambda: not any(_runs(pid) for pid in pids))


def _runs(pid: int) -> bool:
    """Whether the process runs and is no zombie: the process that adopts it may reap it late."""
    try:
        return proc(pid, "stat").rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


async def test_a_process_does_not_see_the_environment(pool: RulePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_SECRET", "secret")
    await pool.check(rule("regex", pattern="b"), "b")
    [pid] = children()
    assert b"secret" not in proc(pid, "environ")
    assert b"-I" in proc(pid, "cmdline").split(b"\0")
