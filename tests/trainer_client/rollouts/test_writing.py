"""What is written is read back as it was."""

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from trainer_client import wire
from trainer_client.rollouts import LoggedVerdict, Rollout, read
from trainer_client.rollouts.writing import RESPONSES, write

ROLLOUTS = 300
RUBRIC = wire.Rubric.model_validate(
    [
        {"text": "Is kind.", "points": 5, "id": "kind", "tags": {"axis": "tone"}},
        {"text": "Names causes.", "points": 2, "levels": [{"text": "none", "value": 0}, {"text": "all", "value": 1}]},
    ]
)


def _made(rng: random.Random, n: int) -> Rollout:
    """Any rollout of this rubric: with and without a score, a step, and texts that end lines and scripts."""
    step = rng.choice([None, 3])
    text = rng.choice(["Hi", "مرحبا", "a\nb\u2028", "</script>"])
    scored = rng.random() < 0.7
    kind = LoggedVerdict(
        id="kind",
        text="Is kind.",
        points=5.0,
        tags={"axis": "tone"},
        status="ok" if scored else "timeout",
        met=rng.random() < 0.5 if scored else None,
        p=rng.random() if scored else None,
        source=rng.choice([None, "judge", "rule"]),
        explanation=rng.choice([None, text]),
        fingerprint="judge-1",
        p_raw=rng.random() if scored else None,
        detail=None if scored else "late",
        members=({"judge": "small", "status": "ok", "met": True, "p": 0.1 + 0.2},) if scored else (),
    )
    graded = replace(
        kind,
        id="1",
        text="Names causes.",
        points=2.0,
        tags={},
        level=0,
        p_levels=[0.1 + 0.2, 0.7],
        p_levels_raw=[0.6, 0.4],
        value=0.7,
        levels=("none", "all"),
        level_values=(0.0, 1.0),
        extracted=text,
        status="ok",
        detail=None,
        members=(),
    )
    return Rollout(
        place="",
        step=step,
        group=f"{step}/g" if step is not None else "g",
        id=f"r{n}",
        prompt=text if rng.random() < 0.5 else ({"role": "user", "content": text},),
        response=text,
        rubric=RUBRIC,
        reference=rng.choice([None, text]),
        criteria=(kind, graded),
        status="ok" if scored else "timeout",
        score=rng.random() if scored else None,
        reward=rng.random(),
        advantage=-rng.random(),
        shown=rng.choice([None, (), (0, 1)]),
        judge="judge-1",
        attempts=2,
        coverage=rng.random(),
        bounds=(-0.25, rng.random()),
    )


def test_300_rollouts_are_read_back_as_they_were(tmp_path: Path) -> None:
    rng = random.Random(5)
    made = [_made(rng, n) for n in range(ROLLOUTS)]
    assert write(tmp_path, made) == tmp_path / RESPONSES
    found = [replace(one, place="") for one in read(tmp_path)]
    assert sum(one != other for one, other in zip(made, found, strict=True)) == 0


def test_what_failed_as_a_whole_keeps_its_reason(tmp_path: Path) -> None:
    gone = replace(
        _made(random.Random(1), 0), score=None, criteria=(), status="overloaded", detail="the judge was full"
    )
    write(tmp_path, [gone])
    (found,) = read(tmp_path)
    assert (found.score, found.criteria, found.status, found.detail) == (None, (), "overloaded", "the judge was full")


def test_the_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    rng = random.Random(2)
    write(tmp_path, [_made(rng, 0)])

    def two() -> object:
        yield _made(rng, 1)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write(tmp_path, two())  # type: ignore[arg-type]
    with gzip.open(tmp_path / RESPONSES) as file:
        assert [json.loads(line)["id"] for line in file] == ["r0"]
