"""Joins checks, answers and estimates to the findings of an audit, for its page, its JSON file and its exit code.

Guarantees: a check whose measures found nothing is `not run` and says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainer_client import wire
from trainer_client.audit.askings import Answer, Asking, AuditRow, Rows
from trainer_client.audit.checks import CHECKS, Check
from trainer_client.audit.effects import Estimate, Placed, Verdict, estimate, worst_of


@dataclass(frozen=True, slots=True)
class Finding:
    """A check with its estimates and its verdict. `why_not` is the reason where it was not run."""

    check: Check
    estimates: tuple[Estimate, ...]
    verdict: Verdict
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit of one judge in one mode and layout. `texts` are the criteria's, by row and criterion id."""

    judge: wire.Judge
    findings: tuple[Finding, ...]
    rows: int
    prompts: int
    left_out: Mapping[str, int]
    asked: int
    missing: Mapping[str, int]
    texts: Mapping[tuple[str, str], str]

    @property
    def verdict(self) -> Verdict:
        return worst_of([one.verdict for one in self.findings])


def audit(judge: wire.Judge, chosen: Rows, answers: Mapping[str, Answer], missing: Mapping[str, int]) -> Audit:
    """The findings of all checks on these rows, from the judge's answers by key of the asking."""
    asked: set[str] = set()

    def ask(asking: Asking) -> Answer:
        asked.add(asking.key)
        return answers.get(asking.key, {})

    findings = tuple(_finding(check, judge.mode, chosen.rows, ask) for check in CHECKS)
    texts = {(row.name, str(one.id)): one.text for row in chosen.rows for one in row.criteria}
    prompts = len({row.group for row in chosen.rows})
    return Audit(judge, findings, len(chosen.rows), prompts, chosen.left_out, len(asked), missing, texts)


def checks_in(mode: wire.AnyMode) -> tuple[Check, ...]:
    """The checks that have a meaning in this mode."""
    return tuple(check for check in CHECKS if mode in check.modes)


def _finding(check: Check, mode: wire.AnyMode, rows: Sequence[AuditRow], ask: Any) -> Finding:
    if mode not in check.modes:
        return Finding(check, (), "not run", f"it has no meaning in mode {mode}")
    found = [Placed(effect, row.name, row.group) for row in rows for effect in check.effects(row, ask)]
    estimates = tuple(estimate(measure, found) for measure in check.measures)
    estimates = tuple(one for one in estimates if one.pairs or one.missing)
    verdict = worst_of([one.verdict for one in estimates])
    return Finding(check, estimates, verdict, _why_not(check, estimates) if verdict == "not run" else "")


def _why_not(check: Check, estimates: Sequence[Estimate]) -> str:
    if estimates:
        return "the judge gave no verdict on one side of every pair"
    if check.name == "self-preference":
        return "no second policy: name its labelled answers with --against"
    return "no row has criteria, or a second prompt, that it can be done with"


def as_json(one: Audit) -> dict[str, Any]:
    """The audit as JSON values, without any text of the rows."""
    return {
        "verdict": one.verdict,
        "judge": one.judge.model_dump(mode="json"),
        "rows": one.rows,
        "prompts": one.prompts,
        "left_out": dict(one.left_out),
        "asked": one.asked,
        "not_judged": dict(one.missing),
        "checks": [
            {
                "name": finding.check.name,
                "verdict": finding.verdict,
                **({"why_not": finding.why_not} if finding.why_not else {}),
                "measures": [_measure_json(estimate) for estimate in finding.estimates],
            }
            for finding in one.findings
        ],
    }


def _measure_json(one: Estimate) -> dict[str, Any]:
    return {
        **asdict(one.measure),
        "verdict": one.verdict,
        "mean": one.mean,
        "interval_95": None if one.low is None else [one.low, one.high],
        "why": one.why,
        "pairs": one.pairs,
        "prompts": one.prompts,
        "missing": one.missing,
    }
