"""Holds what the tests of the rule pool share: rules, catastrophes, and a look at the pool's processes."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.rubrics.rubric import Rule
from service.scheduling import Tenant
from service.verifiers import worker
from service.verifiers.checks import RuleChecks
from service.verifiers.pool import RulePool

WORKER = Path(worker.__file__)
INTEGRAL = Rule("math_verify", {"gold": "42"}), r"\boxed{\int_0^1 \sin(x^x) \cos(x^{x^x}) \tan(x^{\sin x}) dx}"
CATASTROPHE = Rule("regex", {"pattern": "(a|aa)+$"}), "a" * 40 + "b"
ENDLESS = Rule("json_schema", {"schema": {"pattern": "(a|aa)+$"}}), f'"{"a" * 40}b"'


def children() -> set[int]:
    """The rule processes of this process, with dead ones that nobody has reaped."""
    pids = {pid for path in Path("/proc/self/task").glob("*/children") for pid in map(int, path.read_text().split())}
    return {pid for pid in pids if _is_rule_process(pid)}


def _is_rule_process(pid: int) -> bool:
    try:
        command = proc(pid, "cmdline")
    except OSError:
        return False
    return not command or WORKER.name.encode() in command


def proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def until(condition: Any, limit_s: float = 20.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


def rule(name: str, **params: Any) -> Rule:
    return Rule(name, params)


async def submitted(pool: RulePool, checks: Sequence[tuple[Rule, str]], team: str = "") -> RuleChecks:
    return await pool.submit(checks, Tenant(team))


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
