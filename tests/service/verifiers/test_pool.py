"""Rules decide or name the cause why not, each check is answered once, and no process outlives the pool."""

import asyncio
import time
from pathlib import Path
from typing import Any, get_args

import pytest

from service.errors import InvalidRequest, Overloaded, RuleQuotaUsedUp, TooLong, VerifierFailed
from service.rubrics.rubric import Rule
from service.scheduling import Tenant
from service.settings import RuleSettings
from service.verifiers.pool import RULES, RulePool
from testkit.waiting import HUNG_S
from tests.service.verifiers.pools import CATASTROPHE, ENDLESS, TABLE, rule, submitted
from trainer_client import wire


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


def distinct(name: str, checks: int) -> list[tuple[Rule, str]]:
    return [(rule("regex", pattern="b"), f"{name} {n} b") for n in range(checks)]


async def test_a_team_over_its_limit_is_refused_with_when_to_come_back_and_nobody_else() -> None:
    pool = RulePool(
        RuleSettings(rule_workers=1, rule_timeout_s=2 * HUNG_S, max_team_queued_checks=100, max_request_checks=150)
    )
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
    assert all(await asyncio.wait_for(asyncio.gather(*victim.futures), HUNG_S))
    assert not endless.futures[0].done()
    for one in (first, endless):
        one.close()
    assert pool.waiting == 0
    await pool.stop()


async def test_10_000_checks_of_a_team_refuse_none_of_another_and_do_not_hold_them_up() -> None:
    """Twenty requests with a check each, while another team has 10,000 waiting that take 5 s each."""
    pool = RulePool(RuleSettings(rule_workers=2, rule_timeout_s=5))
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
    assert max(waits_s) < 600, "what waits before it takes seven hours"
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
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=HUNG_S))
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
    assert max(lags_s) < 0.2
    await pool.stop()


async def test_a_response_too_long_for_rules_says_so() -> None:
    pool = RulePool(RuleSettings(max_rule_chars=10))
    for asked in (rule("contains", text="b"), rule("regex", pattern="b")):
        with pytest.raises(TooLong, match="more than 10 characters"):
            await pool.check(asked, "b" * 11)
        assert await pool.check(asked, "b" * 10)
    await pool.stop()


async def test_what_a_check_takes_is_charged_and_a_team_without_a_quota_left_gets_no_more() -> None:
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=HUNG_S))
    charged: list[float] = []

    def charge(seconds: float) -> bool:
        charged.append(seconds)
        return len(charged) < 3

    request = await pool.submit(distinct("a", 50), Tenant("a"), charge)
    outcomes = await asyncio.gather(*request.futures, return_exceptions=True)
    unpaid = [one for one in outcomes if isinstance(one, RuleQuotaUsedUp)]
    assert outcomes.count(True) + len(unpaid) == 50
    assert len(unpaid) >= 46
    assert all(0 <= seconds < 10 for seconds in charged)  # a clock of processor time may be coarse
    await pool.stop()


async def test_checks_are_served_in_order_of_arrival() -> None:
    pool = RulePool(RuleSettings(rule_workers=1, rule_timeout_s=HUNG_S))
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
