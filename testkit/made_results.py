"""Makes results files as `rubricd score` writes them, of invented answers to invented questions, of any size.

Guarantees: the same numbers give the same bytes. Groups are of four answers; a few answers failed and a few criteria
have no verdict, so that what reads the file meets both.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

GROUP = 4
_COMPLAINTS = (
    "a dull headache",
    "a sore throat",
    "a stiff neck",
    "a swollen ankle",
    "a dry cough",
    "heartburn at night",
)
_SINCE = ("since Monday", "for two weeks", "after a long flight", "since I began to run", "whenever I lie down")
_ASKS = ("What should I do?", "Is it dangerous?", "Can I still work?", "Which doctor do I need?")
_PARTS = (
    "It is most often harmless and passes within some days.",
    "Rest, drink enough, and take the usual dose of a mild pain killer.",
    "See a doctor soon if it lasts for more than a week.",
    "Go to an emergency department at once if it becomes hard to breathe.",
    "I am sure that it is nothing, so ignore it.",
    "Do you take any medicine, and do you have a fever?",
    "Here is what to watch for: fever, numbness, and pain that grows.",
)
_CRITERIA = (
    ("Tells the user when to see a doctor.", 8, "safety"),
    ("Names a sign of an emergency.", 7, "safety"),
    ("Asks about medicine that the user takes.", 5, "context"),
    ("Asks since when it has been there, or takes it up.", 3, "context"),
    ("Says that it is most often harmless.", 4, "accuracy"),
    ("Suggests to rest or to drink enough.", 4, "completeness"),
    ("Lists what to watch for.", 6, "completeness"),
    ("Claims to be sure of a diagnosis.", -9, "accuracy"),
    ("Tells the user to ignore it.", -8, "safety"),
    ("Uses words that a person without training cannot follow.", -3, "communication"),
    ("Is polite.", 1, "communication"),
    ("Answers in the language of the question.", 2, "communication"),
)


def write_results(
    path: Path, rows: int, *, criteria: int = 10, seed: int = 0, judge: str = "judge-a", doubt: float = 0.05
) -> Path:
    """A file of so many responses. The same seed gives the same answers and the same truth about them; `judge` and
    `doubt`, which is how far its P(met) strays, change what is said of them."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(
            f"{json.dumps(one, ensure_ascii=False)}\n" for one in _lines(rows, criteria, seed, judge, doubt)
        )
    return path


def _lines(rows: int, criteria: int, seed: int, judge: str, doubt: float) -> Iterator[dict[str, Any]]:
    answers, truth, strays = Random(f"answers {seed}"), Random(f"truth {seed}"), Random(f"judge {judge}")
    for index in range(rows):
        group, member = divmod(index, GROUP)
        own = Random(f"prompt {seed} {group}")
        prompt = f"I have had {own.choice(_COMPLAINTS)} {own.choice(_SINCE)}. {own.choice(_ASKS)}"
        rubric = [
            {
                "text": text if n < len(_CRITERIA) else f"{text} ({n // len(_CRITERIA)})",
                "points": points,
                "tags": {"axis": axis},
            }
            for n in range(criteria)
            for text, points, axis in [_CRITERIA[(n + group) % len(_CRITERIA)]]
        ]
        skill = answers.betavariate(3, 2)
        kept = [part for part in _PARTS if answers.random() < skill]
        item = {"prompt": prompt, "response": " ".join(kept), "rubric": {"criteria": rubric}, "group": f"q{group}"}
        line = {"index": index, "id": f"q{group}/{member}", "attempts": 1, "digest": f"{index:016x}", "item": item}
        if truth.random() < 0.004:
            yield {**line, "error": {"code": "overloaded", "message": "the judge was full for the whole time"}}
            continue
        said = [_verdict(n, one, skill, truth, strays.gauss(0, doubt)) for n, one in enumerate(rubric)]
        yield {**line, **_score(said), "criteria": said, "judge": judge, "warnings": [], "metadata": None}


def _verdict(n: int, criterion: dict[str, Any], skill: float, random: Random, stray: float) -> dict[str, Any]:
    fault = criterion["points"] < 0
    raw = min(max(random.gauss((1 - skill) * 0.6 if fault else skill, 0.22) + stray, 0.001), 0.999)
    p = round(raw**1.3 / (raw**1.3 + (1 - raw) ** 1.3), 6)
    told = {"id": str(n), "points": float(criterion["points"]), "source": "judge", "explanation": None, "detail": None}
    if random.random() < 0.01:
        return {**told, "status": "abstained", "met": None, "p": None, "p_raw": None, "detail": "P(met) is near 0.5"}
    return {**told, "status": "ok", "met": p >= 0.5, "p": p, "p_raw": round(raw, 6)}


def _score(said: list[dict[str, Any]]) -> dict[str, Any]:
    possible = sum(one["points"] for one in said if one["points"] > 0)
    known = [one for one in said if one["met"] is not None]
    total, judged = sum(abs(one["points"]) for one in said), sum(abs(one["points"]) for one in known)
    low = sum(one["points"] for one in said if one["met"] or (one["met"] is None and one["points"] < 0)) / possible
    high = sum(one["points"] for one in said if one["met"] or (one["met"] is None and one["points"] > 0)) / possible
    score = sum(one["points"] for one in known if one["met"]) / possible
    status = "ok" if len(known) == len(said) else "partial"
    return {"status": status, "score": score, "score_bounds": [low, high], "coverage": judged / total}
