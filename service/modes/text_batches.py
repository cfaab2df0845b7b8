"""Mode `reasoned` with `batch: all`, of a judge whose server reads texts: all criteria in one document a vote. Pure.

Guarantees: P(met) of a criterion is the share of the votes that say so. A vote whose document has no verdict about a
criterion is missing there and nowhere else; where missing votes could turn the majority there is no verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.engine.base import Document, Documents, EngineResult, Generation, GenerationQuery, Prompt, Sampling
from service.errors import JudgementError, Unparseable
from service.modes.batched import Found, check_plain
from service.modes.fingerprint import JudgeIdentity
from service.modes.modes import Query, Step
from service.modes.written_batch import batch_schema, read_batch
from service.prompting.texts import TextRenderer
from service.rubrics.judgement import BatchVerdict, Verdict
from service.rubrics.rubric import Criterion


@dataclass(frozen=True, slots=True)
class TextBatchedMode:
    """`one` bounds the answer about one criterion."""

    judge: JudgeIdentity
    renderer: TextRenderer
    one: Sampling
    temperature: float
    explanation_chars: int

    def check(self, criteria: Sequence[Criterion]) -> None:
        """Raises InvalidRequest for criteria that are more than met or not."""
        check_plain(criteria)

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        criteria = len(query.candidate.criteria)
        schema = batch_schema(criteria, self.explanation_chars)
        sampling = replace(self.one, max_tokens=criteria * self.one.max_tokens, json_schema=schema)
        if query.vote:
            sampling = replace(sampling, temperature=self.temperature, seed=query.vote)
        return Step(GenerationQuery(prompt, sampling), about=query.candidate)

    def next_step(self, step: Step, result: EngineResult) -> BatchVerdict:
        if not isinstance(result, Documents) or step.about is None:
            raise Unparseable("the engine gave no documents")
        criteria = len(step.about.criteria)
        votes = [_said(vote, criteria) for vote in result.votes]
        return BatchVerdict(tuple(_share([vote[place] for vote in votes]) for place in range(criteria)))


def _said(vote: Document | JudgementError, criteria: int) -> list[Found]:
    """What one vote says about each criterion."""
    if isinstance(vote, JudgementError):
        return [vote] * criteria
    written = read_batch(Generation(vote.text, vote.finished, vote.spent.generated_tokens), criteria)
    found: list[Found] = [Unparseable(written.why_not.get(place, "")) for place in range(criteria)]
    for entry in written.entries:
        found[entry.place] = Verdict(float(entry.met), None, entry.explanation)
    return found


def _share(votes: Sequence[Found]) -> Found:
    given = [vote for vote in votes if isinstance(vote, Verdict)]
    missing = [vote for vote in votes if not isinstance(vote, Verdict)]
    cast = math.fsum(vote.p_met for vote in given)
    met = cast / len(votes) >= 0.5
    if missing and (not given or met is not ((cast + len(missing)) / len(votes) >= 0.5)):
        return missing[0]
    agreeing = [vote.explanation for vote in given if (vote.p_met >= 0.5) is met]
    return Verdict(cast / len(given), None, agreeing[0] if agreeing else None)
