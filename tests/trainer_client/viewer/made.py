"""Rollouts for the viewer's tests, written out by hand."""

from pathlib import Path
from typing import Any

from testkit.browser import HOSTILE
from trainer_client.rollouts import LoggedVerdict, Rollout
from trainer_client.viewer.columns import Source
from trainer_client.viewer.page import write


def verdict(id: str, met: bool | None, points: float = 1.0, **more: Any) -> LoggedVerdict:
    known = {"text": f"Criterion {id}.", "tags": {}, "status": "ok" if met is not None else "abstained"}
    fields = {"p": None if met is None else 0.75 if met else 0.25, "source": "judge", "explanation": None, **known}
    return LoggedVerdict(id=id, met=met, points=points, **{**fields, "fingerprint": None, **more})


def rollout(place: int, *criteria: LoggedVerdict, group: str = "g", score: float | None = 0.5, **more: Any) -> Rollout:
    fields: dict[str, Any] = {
        "place": f"line {place}",
        "step": None,
        "group": group,
        "id": f"{group}/{place}",
        "prompt": "How are you?",
        "response": f"Answer {place}.",
        "rubric": None,
        "reference": None,
        "status": "ok" if score is not None else "overloaded",
        "score": score,
        "reward": None,
        "advantage": None,
        "shown": None,
        "judge": "judge-a",
        "attempts": 1,
    }
    return Rollout(criteria=criteria, **{**fields, **more})


def hostile() -> list[Rollout]:
    """Texts in every place that try to widen the page, to turn it round, to end its script or to run in it."""
    ends = ("</script><script>document.title='run'</script>", "<!--<script>", "\u2028\u2029\x00\ud800", "a" * 100_000)
    texts = [*HOSTILE, *ends]
    return [
        rollout(
            place,
            verdict(text, True, text=text, tags={text: text}, explanation=text),
            verdict("other", None, text=text, detail=text, status=text),
            group=text,
            score=None if place % 3 == 2 else place / 10,
            id=text,
            prompt=text,
            response=text,
            judge=text,
            status=text,
            detail=text,
        )
        for place, text in enumerate(texts)
    ]


def page_of(path: Path, *sources: list[Rollout]) -> str:
    """Writes the page of these files and returns its address."""
    write([Source(f"{'ab'[place]}.jsonl", rollouts) for place, rollouts in enumerate(sources)], path)
    return path.as_uri()
