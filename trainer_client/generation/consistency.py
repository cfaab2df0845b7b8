"""Keeps a rubric only where a judge that uses it prefers the answer that people preferred (OpenRubrics' filter).

Guarantees: a preference comes from two scores of one judge. Where one of them is missing nothing is decided, and the
rubric is neither kept nor dropped. Equal scores are no preference.
"""

from dataclasses import dataclass
from typing import Literal

from trainer_client import wire
from trainer_client.client import Failed, JudgeClient, Scored, ScoreOptions
from trainer_client.errors import RubricdClientError
from trainer_client.generation.rows import Source
from trainer_client.http.retry import HOPELESS

Verdict = Literal["kept", "dropped", "undecided"]


@dataclass(frozen=True, slots=True)
class Preference:
    """The scores of both answers under a rubric. `why` says why one is missing; `judge` is the fingerprint."""

    preferred: float | None
    rejected: float | None
    judge: str | None
    why: str | None = None

    @property
    def verdict(self) -> Verdict:
        if self.preferred is None or self.rejected is None:
            return "undecided"
        return "kept" if self.preferred > self.rejected else "dropped"


async def preference(client: JudgeClient, source: Source, rubric: wire.Rubric, options: ScoreOptions) -> Preference:
    """Asks the judge about both answers of a row. Raises RubricdClientError where no judge can be asked at all."""
    assert source.pair is not None, "rows of a template with a pair have one"
    item = {"prompt": list(source.messages), "responses": list(source.pair), "rubric": rubric}
    outcomes = await client.score([item], **options)
    errors = [one.error for one in outcomes if isinstance(one, Failed)]
    if len(errors) == len(outcomes) and (errors[0].retryable or isinstance(errors[0], HOPELESS)):
        raise errors[0]
    scores = [one.result.score if isinstance(one, Scored) else None for one in outcomes]
    judge = next((one.judge.fingerprint for one in outcomes if isinstance(one, Scored)), None)
    return Preference(scores[0], scores[1], judge, _why(outcomes, errors))


def _why(outcomes: list[Scored | Failed], errors: list[RubricdClientError]) -> str | None:
    if errors:
        return str(errors[0])
    missing = [one.result for one in outcomes if isinstance(one, Scored) and one.result.score is None]
    if not missing:
        return None
    statuses = sorted({one.status for result in missing for one in result.criteria if one.status != "ok"})
    return f"the judge gave no score ({', '.join(statuses) or 'too few criteria were judged'})"
