"""Scripted judges for audits: one that decides its criteria rightly, and the same one with a planted defect."""

import re
from collections.abc import Callable, Sequence

from trainer_client import wire
from trainer_client.audit import audit, checks
from trainer_client.audit.askings import RATING, Answer, Asking, AuditRow, Judged, audit_rows

PROMPTS = 24
Judge = Callable[[Asking, int, str], float]
"""P(met) of the criterion with this place and text."""

JUDGE = wire.Judge(model="scripted", revision="r", engine="fake", mode="verdict", layout="rubricd", fingerprint="f00d")


def items(prompts: int = PROMPTS) -> list[wire.Item]:
    """Each response names four of the words that its six criteria ask for."""
    found = []
    for n in range(prompts):
        words = [f"w{n}x{k}" for k in range(6)]
        response = " ".join(f"Take the {word} today and rest for a while." for word in words[:4])
        rubric = [{"text": f"Names {word}.", "points": 2 if k < 5 else -3} for k, word in enumerate(words)]
        found.append(
            wire.Item.model_validate({"prompt": f"What helps with {n}?", "response": response, "rubric": rubric})
        )
    return found


def right(asking: Asking, place: int, text: str) -> float:
    word = re.findall(r"Names (\w+)", text)[0]
    named = re.search(rf"\b{word}\b", str(asking.item.response)) is not None
    return 0.95 if named != text.startswith("This is not true") else 0.05


def noisy(asking: Asking, place: int, text: str) -> float:
    return right(asking, place, text) - 0.04 * asking.attempt


def positional(asking: Asking, place: int, text: str) -> float:
    return right(asking, place, text) * (0.8 if place < 3 else 1)


def literal(asking: Asking, place: int, text: str) -> float:
    return right(asking, place, text) if text.startswith(("Names", "This is not true")) else 0.5


def agreeable(asking: Asking, place: int, text: str) -> float:
    return 0.95


def long_winded(asking: Asking, place: int, text: str) -> float:
    return min(right(asking, place, text) + 0.1 * ("I hope this helps." in str(asking.item.response)), 1.0)


def marked(asking: Asking, place: int, text: str) -> float:
    return min(right(asking, place, text) + 0.2 * ("- " in str(asking.item.response)), 1.0)


def vain(asking: Asking, place: int, text: str) -> float:
    return right(asking, place, text) + 0.2 * ("as I always say" in str(asking.item.response))


def answers(judge: Judge, rows: Sequence[AuditRow], mode: wire.Mode = "verdict") -> dict[str, Answer]:
    """The judge's answers to everything that an audit of these rows asks."""
    asked = checks.askings_of(audit.checks_in(mode), rows)
    return {key: _answer(judge, asking, mode) for key, asking in asked.items()}


def _answer(judge: Judge, asking: Asking, mode: wire.Mode) -> Answer:
    criteria = asking.item.rubric.criteria if asking.item.rubric else []
    found = {str(one.id): judge(asking, place, one.text) for place, one in enumerate(criteria)}
    if mode in ("implicit", "likert"):
        return {RATING: Judged(sum(found.values()) / len(found) if found else 0.5, None)}
    return {id: Judged(p, p >= 0.5) for id, p in found.items()}


def audited(judge: Judge, mode: wire.Mode = "verdict", **options: object) -> audit.Audit:
    chosen = audit_rows(items(), PROMPTS, rates=mode in ("implicit", "likert"), **options)  # type: ignore[arg-type]
    return audit.audit(JUDGE.model_copy(update={"mode": mode}), chosen, answers(judge, chosen.rows, mode), {})
