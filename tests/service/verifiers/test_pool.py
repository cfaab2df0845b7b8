"""Rules decide or name the cause why not, each check is answered once, and no process outlives the pool."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_asyncio

from service.errors import Cancelled, InvalidRequest, Overloaded, RuleQuotaUsedUp, TooLong, VerifierFailed
from service.rubrics.rubric import Rule
from service.scheduling import Tenant
from service.settings import RuleSettings
from service.verifiers import worker
from service.verifiers.checks import RuleChecks
from service.verifiers.pool import RULES, RulePool
from service.verifiers.process import Job
from trainer_client import wire

WORKER = Path(worker.__file__)
INTEGRAL = Rule("math_verify", {"gold": "42"}), r"\boxed{\int_0^1 \sin(x^x) \cos(x^{x^x}) \tan(x^{\sin x}) dx}"
CATASTROPHE = Rule("regex", {"pattern": "(a|aa)+$"}), "a" * 40 + "b"
ENDLESS = Rule("json_schema", {"schema": {"pattern": "(a|aa)+$"}}), f'"{"a" * 40}b"'


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[RulePool]:
    """Its checks may take longer than a healthy check needs on a busy machine."""
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=10))
    yield pool
    await pool.stop()


@pytest_asyncio.fixture
async def impatient() -> AsyncIterator[RulePool]:
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=1))
    yield pool
    await pool.stop()


def children() -> set[int]:
    """The rule processes of this process, with dead ones that nobody has reaped."""
    pids = {pid for path in Path("/proc/self/task").glob("*/children") for pid in map(int, path.read_text().split())}
    return {pid for pid in pids if _is_rule_process(pid)}


def _is_rule_process(pid: int) -> bool:
    try:
        command = _proc(pid, "cmdline")
    except OSError:
        return False
    return not command or WORKER.name.encode() in command


def _proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def until(condition: Any, limit_s: float = 20.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


def rule(name: str, **params: Any) -> Rule:
    return Rule(name, params)


TABLE = [
    (rule("contains", text="Doctor"), "see a doctor", True),
    (rule("contains", text="STRASSE"), "die Straße", True),
    (rule("contains", text="Doctor", ignore_case=False), "see a doctor", False),
    (rule("contains", text="doctor"), "", False),
    (rule("exact", gold="42"), "  42\n", True),
    (rule("exact", gold=" 42 "), "42", True),
    (rule("exact", gold="Yes"), "yes", False),
    (rule("exact", gold="Yes", ignore_case=True), "yes", True),
    (rule("exact", gold=""), " ", True),
    (rule("exact", gold="42"), "4 2", False),
    (rule("length", min=2, max=3), "two words", True),
    (rule("length", min=2, max=3), "one", False),
    (rule("length", min=2, max=3), "now there are four", False),
    (rule("length", min=3), "  a\tb\n\nc ", True),
    (rule("length", max=0), " ", True),
    (rule("length", max=4, unit="characters"), "née ", True),
    (rule("length", max=3, unit="characters"), "née ", False),
    (rule("choice", gold="b"), "Answer: B", True),
    (rule("choice", gold="B"), "answer: b", True),
    (rule("choice", gold="B"), "Answer: A", False),
    (rule("choice", gold="B"), "Answer: A or B", False),
    (rule("choice", gold="B"), "", False),
    (rule("regex", pattern="b$"), "a b", True),
    (rule("regex", pattern="B$"), "a b", False),
    (rule("regex", pattern="B$", ignore_case=True), "a b", True),
    (rule("regex", pattern=r"^\p{Lu}"), "Élan", True),
    (rule("regex", pattern="b"), "\ud800b\x00", True),
    (rule("regex", pattern="(a+)+$"), "a" * 40 + "b", False),
    (rule("json_schema", schema={}), " [1, 2] ", True),
    (rule("json_schema", schema={"required": ["a"]}), '{"a": 1}', True),
    (rule("json_schema", schema={"required": ["a"]}), '{"b": 1}', False),
    (rule("json_schema", schema={}), "", False),
    (rule("json_schema", schema={}), "```json\n{}\n```", False),
    (rule("json_schema", schema={}), "{} and more", False),
    (rule("json_schema", schema={}), '{"a": NaN}', False),
    (rule("json_schema", schema={"type": "integer"}), "1" * 5000, True),
    (rule("json_schema", schema={"$defs": {"x": {"type": "object"}}, "$ref": "#/$defs/x"}), "[]", False),
    (rule("json_schema", schema={"$ref": "https://json-schema.org/draft/2020-12/schema"}), '{"type": 3}', False),
    (rule("json_schema", schema={"$id": "http://a.test/b", "$ref": "b#/$defs/x", "$defs": {"x": {}}}), "1", True),
    (rule("json_schema", schema={"const": {"$ref": "http://a.test/b"}}), '{"$ref": "http://a.test/b"}', True),
    (rule("math_verify", gold="42"), "So the answer is 42.", True),
    (rule("math_verify", gold="42"), "I had 42, then got 41.", False),
    (rule("math_verify", gold="42"), "", False),
    (rule("math_verify", gold="42"), r"\boxed{\frac{1}{}", False),
    (rule("math_verify", gold="0.5"), r"It is $\frac{1}{2}$", True),
    (rule("math_verify", gold=r"\frac{1}{2}"), r"\boxed{0.5}", True),
    (rule("math_verify", gold=r"\boxed{x^2 + 2x + 1}"), r"$(x+1)^2$", True),
    (rule("math_verify", gold="$3$"), r"\boxed{x = 3}", True),
    (rule("math_verify", gold="1 < x < 2"), "$(1,2)$", True),
    (rule("math_verify", gold="(1,2)"), "$1 < x < 2$", False),
    (rule("math_verify", gold=r"\text{Friday}"), r"\boxed{\text{Friday}}", True),
    (rule("math_verify", gold="B"), "answer: b", True),
    (rule("math_verify", gold="B"), "answer: c", False),
    (rule("math_verify", gold="b"), "answer: b", False),
]


async def test_verdicts(pool: RulePool) -> None:
    verdicts = await asyncio.gather(*(pool.check(rule, response) for rule, response, _ in TABLE))
    assert [(*case[:2], met) for case, met in zip(TABLE, verdicts, strict=True)] == TABLE


FAILURES = [
    (rule("regex", pattern="(secret"), "secret", "does not compile"),
    (rule("json_schema", schema={"type": "secret"}), "{}", "not a valid JSON Schema"),
    (rule("json_schema", schema={"$ref": "#/$defs/secret"}), "{}", "refers to something outside"),
    (rule("json_schema", schema={"$schema": "http://json-schema.org/draft-07/schema#"}), "{}", "another dialect"),
    (rule("json_schema", schema={"$schema": 7}), "{}", "another dialect"),
    (rule("json_schema", schema={"$ref": "#"}), "{}", "library failed"),
    (rule("json_schema", schema={}), "[" * 100_000, "library failed"),
    (rule("math_verify", gold=r"\frac{secret}{"), "42", "cannot be read"),
    (rule("math_verify", gold=" "), "42", "cannot be read"),
    (rule("math_verify", gold=r"$\secret{$ and 42"), "42", "cannot be read"),
    (rule("math_verify", gold="x"), "$" + "[" * 150 + "x" + "]" * 150 + "$", "nested too deeply"),
    (rule("secret"), "42", "no such rule"),
]


async def test_a_rule_that_cannot_decide_fails_without_text_of_the_request(pool: RulePool) -> None:
    for asked, response, reason in FAILURES:
        with pytest.raises(VerifierFailed, match=reason) as caught:
            await pool.check(asked, response)
        assert "secret" not in str(caught.value)


async def test_a_schema_never_causes_a_connection(pool: RulePool) -> None:
    """Whether or not the response leads to the reference."""
    met = []
    server = await asyncio.start_server(lambda reader, writer: met.append(writer), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/schema.json"
    for schema in ({"$ref": url}, {"properties": {"a": {"$ref": url}}}, {"$id": url, "$ref": "other.json"}):
        for response in ("{}", '{"a": 1}'):
            with pytest.raises(VerifierFailed, match="refers to something outside"):
                await pool.check(rule("json_schema", schema=schema), response)
    server.close()
    await server.wait_closed()
    assert not met


def test_the_rules_are_those_of_the_wire_and_of_the_page() -> None:
    union = get_args(get_args(wire.Verifier)[0])
    names = {get_args(model.model_fields["rule"].annotation)[0] for model in union}
    page = (Path(__file__).parents[3] / "docs/guide/rules.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `")}
    assert names == RULES == rows


async def test_a_field_left_out_means_what_the_wire_says(pool: RulePool) -> None:
    """Each case of the table as the wire writes it out, defaults included."""
    for asked, response, met in TABLE:
        written = wire.Criterion.model_validate(
            {"text": "t", "points": 1, "verifier": {"rule": asked.name, **asked.params}}
        )
        assert written.verifier is not None
        params = written.verifier.model_dump(exclude={"rule"}, by_alias=True)
        assert await pool.check(Rule(asked.name, params), response) is met


@pytest.mark.parametrize("catastrophe", [CATASTROPHE, INTEGRAL, ENDLESS], ids=lambda case: case[0].name)
async def test_a_catastrophe_costs_its_time_limit_and_nobody_else(
    impatient: RulePool, catastrophe: tuple[Rule, str]
) -> None:
    begin = time.perf_counter()
    slow = asyncio.ensure_future(impatient.check(*catastrophe))
    others = [impatient.check(rule("regex", pattern="b"), "b") for _ in range(20)]
    assert await asyncio.gather(*others) == [True] * 20
    assert not slow.done()
    with pytest.raises(VerifierFailed, match="did not finish within 1 s"):
        await slow
    assert time.perf_counter() - begin < 10
    assert await asyncio.gather(*(impatient.check(rule("regex", pattern="b"), "b") for _ in range(20))) == [True] * 20


async def test_200_checks_while_processes_are_killed() -> None:
    dice = random.Random(7)
    pool = RulePool(RuleSettings(rule_workers=3, rule_timeout_s=1))
    cases: list[tuple[Rule, str, bool | None]] = [dice.choice(TABLE) for _ in range(196)]
    cases += [(*CATASTROPHE, None), (*ENDLESS, None)] * 2
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
        await asyncio.wait_for(asyncio.gather(*(ask(i) for i in range(begin, begin + 20))), 60)
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
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=30))
    assert await pool.check(rule("json_schema", schema={}), "1")
    check = asyncio.ensure_future(pool.check(*ENDLESS))
    await asyncio.sleep(0.1)
    [pid] = children()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(VerifierFailed, match="died while it decided"):
        await asyncio.wait_for(check, 5)
    await pool.stop()


async def submitted(pool: RulePool, checks: Sequence[tuple[Rule, str]], team: str = "") -> RuleChecks:
    return await pool.submit(checks, Tenant(team))


def distinct(name: str, checks: int) -> list[tuple[Rule, str]]:
    return [(rule("regex", pattern="b"), f"{name} {n} b") for n in range(checks)]


async def test_a_team_over_its_limit_is_refused_with_when_to_come_back_and_nobody_else() -> None:
    pool = RulePool(RuleSettings(rule_workers=1, max_team_queued_checks=100, max_request_checks=150))
    endless = await submitted(pool, [ENDLESS], "noisy")
    first = await submitted(pool, distinct("noisy", 100), "noisy")
    assert pool.waiting_by_team == {"noisy": 100}
    with pytest.raises(Overloaded, match="of team noisy wait") as refused:
        await submitted(pool, distinct("more", 1), "noisy")
    assert 1 <= refused.value.retry_after_s <= 60
    with pytest.raises(InvalidRequest, match="more rule checks than one request may have"):
        await submitted(pool, distinct("noisy", 151), "other")
    cheap = await submitted(pool, [(rule("contains", text="b"), f"{n} b") for n in range(200)], "noisy")
    assert all([await one for one in cheap.futures])
    victim = await submitted(pool, distinct("victim", 20), "victim")
    assert all(await asyncio.wait_for(asyncio.gather(*victim.futures), 20))
    assert not endless.futures[0].done()
    for one in (first, endless):
        one.close()
    assert pool.waiting == 0
    await pool.stop()


async def test_10_000_checks_of_a_team_refuse_none_of_another_and_do_not_hold_them_up() -> None:
    """Twenty requests with a check each, while another team has 10,000 waiting that take 0.3 s each."""
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=0.3))
    assert await pool.check(rule("regex", pattern="b"), "b")
    noisy = await submitted(pool, [(CATASTROPHE[0], f"{n}{CATASTROPHE[1]}") for n in range(10_000)], "noisy")
    waits_s: list[float] = []
    for _ in range(20):
        begin_s = time.perf_counter()
        victim = await submitted(pool, distinct("victim", 1), "victim")
        assert await victim.futures[0]
        victim.close()
        waits_s.append(time.perf_counter() - begin_s)
    assert pool.waiting_by_team["noisy"] > 9_900
    print(f"with 10,000 checks of another team waiting: {max(waits_s):.3f} s at most, 0 of 20 refused")
    assert max(waits_s[1:]) < 1.0  # the first one may have to start the spare process
    noisy.close()
    await pool.stop()


async def test_equal_checks_of_a_request_are_one() -> None:
    pool = RulePool(RuleSettings(rule_workers=1))
    long = "see a doctor " * 50_000
    asked = [(rule(name, **params), "b" * 7) for name, params in 100 * [("regex", {"pattern": "b"})]]
    asked += [(rule("contains", text="nurse"), long)] * 100
    request = await submitted(pool, asked)
    assert len({id(future) for future in request.futures}) == 2
    assert [await one for one in request.futures] == [True] * 100 + [False] * 100
    await pool.stop()


@pytest.mark.parametrize("name", ["choice", "length", "contains", "exact"])
async def test_256_cheap_rules_on_a_long_response_do_not_hold_up_the_event_loop(name: str) -> None:
    """They took up to 64 s of it."""
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=30))
    by_name: dict[str, list[dict[str, Any]]] = {
        "choice": [{"gold": chr(65 + n % 26)} for n in range(256)],
        "length": [{"min": n} for n in range(256)],
        "contains": [{"text": f"nurse {n}"} for n in range(256)],
        "exact": [{"gold": f"nurse {n}"} for n in range(256)],
    }
    long = "answer: (é) " * 80_000
    lags_s, ended = [0.0], asyncio.Event()

    async def watch() -> None:
        while not ended.is_set():
            begin_s = time.thread_time()
            await asyncio.sleep(0)
            lags_s.append(time.thread_time() - begin_s)

    watching = asyncio.ensure_future(watch())
    request = await submitted(pool, [(Rule(name, one), long) for one in by_name[name]])
    await asyncio.gather(*request.futures)
    ended.set()
    await watching
    print(f"256 {name} on {len(long)} characters: {1000 * max(lags_s):.1f} ms of the event loop at most")
    assert max(lags_s) < 0.02
    await pool.stop()


async def test_a_response_too_long_for_rules_says_so() -> None:
    pool = RulePool(RuleSettings(max_rule_chars=10))
    for asked in (rule("contains", text="b"), rule("regex", pattern="b")):
        with pytest.raises(TooLong, match="more than 10 characters"):
            await pool.check(asked, "b" * 11)
        assert await pool.check(asked, "b" * 10)
    await pool.stop()


async def test_what_a_check_takes_is_charged_and_a_team_without_a_quota_left_gets_no_more() -> None:
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=10))
    charged: list[float] = []

    def charge(seconds: float) -> bool:
        charged.append(seconds)
        return len(charged) < 3

    request = await pool.submit(distinct("a", 50), Tenant("a"), charge)
    outcomes = await asyncio.gather(*request.futures, return_exceptions=True)
    unpaid = [one for one in outcomes if isinstance(one, RuleQuotaUsedUp)]
    assert outcomes.count(True) + len(unpaid) == 50
    assert len(unpaid) >= 46
    assert all(0 <= seconds < 1 for seconds in charged)  # a clock of processor time may be coarse
    await pool.stop()


async def test_checks_are_served_in_order_of_arrival() -> None:
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=5))
    served: list[int] = []

    async def ask(i: int) -> None:
        await pool.check(rule("regex", pattern="b"), "b")
        served.append(i)

    async with asyncio.TaskGroup() as group:
        for i in range(30):
            group.create_task(ask(i))
    assert served == list(range(30))
    assert repr(pool) == "<RulePool 0 busy, 2 free, 0 waiting>"
    await pool.stop()


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.02, 0.6])
async def test_a_caller_that_is_cancelled_frees_its_process(after_s: float) -> None:
    """While its process starts, loads or decides; a caller that is cancelled while it waits is passed over."""
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=30))
    running = asyncio.ensure_future(pool.check(*ENDLESS))
    waiting = asyncio.ensure_future(pool.check(*ENDLESS))
    next_one = asyncio.ensure_future(pool.check(rule("regex", pattern="b"), "b"))
    await asyncio.sleep(after_s)
    before = children()
    waiting.cancel()
    await asyncio.sleep(0)
    assert repr(pool) == "<RulePool 1 busy, 1 free, 1 waiting>"
    running.cancel()
    assert await asyncio.wait_for(next_one, 10)
    assert running.cancelled()
    assert waiting.cancelled()
    assert repr(pool) == "<RulePool 0 busy, 2 free, 0 waiting>"
    await until(lambda: not before & children())
    await pool.stop()


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.02, 0.6])
async def test_stop_answers_all_and_leaves_no_process(after_s: float) -> None:
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=30))
    checks = [asyncio.ensure_future(pool.check(*ENDLESS)) for _ in range(5)]
    await asyncio.sleep(after_s)
    await asyncio.wait_for(asyncio.gather(pool.stop(), pool.stop()), 10)
    assert children() == set()
    for answer in await asyncio.wait_for(asyncio.gather(*checks, return_exceptions=True), 10):
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
        pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=5))
        asked = rule("math_verify", gold=r"\frac{1}{2}")
        verdicts = await pool.check(asked, "It is 0.5"), await pool.check(asked, "It is 0.6")
        await pool.stop()
        return verdicts

    async def in_thread() -> tuple[bool, bool]:
        return await asyncio.to_thread(asyncio.run, ask())

    assert asyncio.run(ask()) == asyncio.run(in_thread()) == (True, False)


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
        return _proc(pid, "stat").rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


async def test_a_process_does_not_see_the_environment(pool: RulePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_SECRET", "secret")
    await pool.check(rule("regex", pattern="b"), "b")
    [pid] = children()
    assert b"secret" not in _proc(pid, "environ")
    assert b"-I" in _proc(pid, "cmdline").split(b"\0")


def test_a_pool_needs_a_worker_and_some_time() -> None:
    for options in (
        {"rule_workers": 0},
        {"rule_timeout_s": 0.0},
        {"max_queued_checks": 0},
        {"max_request_checks": 0},
        {"max_team_queued_checks": 0},
    ):
        with pytest.raises(ValueError, match="greater than 0"):
            RulePool(RuleSettings.model_validate(options))
