"""Rollouts for tests, by hand: what each of a group's answers meets."""

from collections.abc import Mapping, Sequence

from trainer_client import wire
from trainer_client.rollouts import LoggedVerdict, Rollout

Met = bool | None


def rollout(
    step: int,
    group: str,
    answer: str,
    met: Mapping[str, Met],
    points: Mapping[str, float],
    reward: float | None = 0.0,
    others: Mapping[str, Mapping[str, Met]] | None = None,
) -> Rollout:
    rubric = wire.Rubric.model_validate(
        {"criteria": [{"id": id, "text": f"Is {id}.", "points": points[id]} for id in met]}
    )
    return Rollout(
        place=f"{group} {step}",
        step=step,
        group=f"{step}/{group}",
        id=group,
        prompt="Hello?",
        response=answer,
        rubric=rubric,
        reference=None,
        criteria=_verdicts(met, points),
        status="ok",
        score=reward,
        reward=reward,
        advantage=None,
        shown=(),
        judge="judge-1",
        attempts=1,
        others={name: _verdicts(said, points) for name, said in (others or {}).items()},
    )


def _verdicts(met: Mapping[str, Met], points: Mapping[str, float]) -> tuple[LoggedVerdict, ...]:
    return tuple(
        LoggedVerdict(
            id, f"Is {id}.", points[id], {}, "ok" if one is not None else "timeout", one, None, "judge", None, "j"
        )
        for id, one in met.items()
    )


def group(
    step: int, name: str, rows: Sequence[tuple[str, Mapping[str, Met], float | None]], **points: float
) -> list[Rollout]:
    """A group of rollouts: answer, what it meets, reward."""
    return [rollout(step, name, answer, met, points, reward) for answer, met, reward in rows]
