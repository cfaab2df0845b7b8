"""Mode `reasoned` with `batch: all`: all criteria of a response are answered in one document. Pure.

P(met) of each is read from the labels' probabilities at its own verdict's place, behind what the judge wrote before it,
as where one criterion is asked.

Guarantees: a criterion whose entry is missing, doubled, cut off or no explanation has no verdict, with the reason, and
the others have theirs. A document that cannot fit is refused before the judge writes any of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from service.engine.base import EngineResult, Generation, GenerationQuery, LabelQuery, Prompt, Sampling
from service.errors import InvalidRequest, JudgementError, TooLong, Unparseable
from service.modes.explanation import why_no_explanation
from service.modes.fingerprint import JudgeIdentity
from service.modes.label_verdict import read_verdict
from service.modes.modes import Query, Reads, ReasonedMode, Step, as_label_logprobs
from service.modes.written_batch import Entry, batch_schema, read_batch
from service.prompting.renderer import Renderer
from service.rubrics.judgement import BatchVerdict, Verdict
from service.rubrics.rubric import Candidate, Criterion

Found = Verdict | JudgementError


@dataclass(frozen=True, slots=True)
class BatchedMode:
    """`written` is the mode that writes one verdict, with this mode's prompt: its bounds hold for each entry.
    `limit_tokens` is the judge's context, prompt and document together."""

    judge: JudgeIdentity
    written: ReasonedMode
    limit_tokens: int

    @property
    def renderer(self) -> Renderer:
        return self.written.renderer

    def check(self, criteria: Sequence[Criterion]) -> None:
        """Raises InvalidRequest for criteria that are more than met or not, or whose document cannot fit."""
        check_plain(criteria)
        asked, each = sum(criterion.rule is None for criterion in criteria), self.written.greedy.max_tokens
        most = (self.limit_tokens - 1) // each
        if asked > most:
            instead = f"send at most {most} criteria a response, or leave `batch` out" if most else "leave `batch` out"
            message = (
                f"`batch: all` writes one document for {asked} criteria, of up to {each} tokens each, and this judge "
                f"has {self.limit_tokens} for prompt and document; {instead}"
            )
            raise InvalidRequest(message, ((("batch",), message),))

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        sampling = self._sampling(query.candidate)
        thought = 0 if self.written.reasoning_end_id is None else self.written.max_reasoning_tokens
        if len(prompt) + max(sampling.max_tokens, thought) > self.limit_tokens:
            raise TooLong(
                f"the prompt has {len(prompt)} tokens and the document of {len(query.candidate.criteria)} criteria up "
                f"to {sampling.max_tokens}, and the judge has {self.limit_tokens} for both: leave `batch` out"
            )
        return self.written.begin(prompt, query, sampling)

    def next_step(self, step: Step, result: EngineResult) -> Step | Reads | BatchVerdict:
        if not isinstance(result, Generation) or not isinstance(step.query, GenerationQuery) or step.about is None:
            raise Unparseable("the engine wrote nothing")
        if step.query.sampling.json_schema is None:
            return self.written.after_reasoning(step, step.query, result, self._sampling(step.about))
        return self._at_verdicts(step.query.prompt, step.about, result)

    def _sampling(self, candidate: Candidate) -> Sampling:
        criteria, one = len(candidate.criteria), self.written.greedy
        schema = batch_schema(criteria, self.written.explanation_chars)
        return replace(one, max_tokens=criteria * one.max_tokens, json_schema=schema)

    def _at_verdicts(self, prompt: Prompt, about: Candidate, document: Generation) -> Reads | BatchVerdict:
        """The judge is asked for each verdict behind the explanation that it wrote, and behind the entries before."""
        written = read_batch(document, len(about.criteria))
        found: list[Found] = [
            Unparseable(written.why_not.get(place, "")) for place in range(len(about.criteria))
        ]  # an entry takes the place of each that has no reason
        asked: list[tuple[LabelQuery, Entry]] = []
        before = self.renderer.behind(prompt, "{")
        for entry in written.entries:
            reason = why_no_explanation(entry.explanation, self.written.labels, about, self.written.template)
            if reason is not None:
                found[entry.place] = Unparseable(reason)
            else:
                place = self.renderer.continue_prompt(before, entry.opening, self.written.verdict_key)
                asked.append((LabelQuery(place, self.judge.label_ids), entry))
            # What later entries were written behind is there for them, whatever became of it.
            before = self.renderer.behind(before, f"{entry.whole}, ")
        if not asked:
            return BatchVerdict(tuple(found))
        return Reads(tuple(query for query, _ in asked), partial(_joined, found, [entry for _, entry in asked]))


def check_plain(criteria: Sequence[Criterion]) -> None:
    """Raises InvalidRequest for a criterion that is more than met or not."""
    for criterion in criteria:
        if not criterion.plain and criterion.rule is None:
            message = (
                f"`batch: all` answers criteria that are met or not, and criterion `{criterion.id}` has levels, "
                "choices or a value; leave `batch` out"
            )
            raise InvalidRequest(message, ((("batch",), message),))


def _joined(
    found: Sequence[Found], entries: Sequence[Entry], read: Sequence[EngineResult | JudgementError]
) -> BatchVerdict:
    joined = list(found)
    for entry, one in zip(entries, read, strict=True):
        joined[entry.place] = _verdict(entry, one)
    return BatchVerdict(tuple(joined))


def _verdict(entry: Entry, read: EngineResult | JudgementError) -> Found:
    if isinstance(read, JudgementError):
        return read
    try:
        return replace(read_verdict(as_label_logprobs(read)), explanation=entry.explanation)
    except Unparseable as error:
        return error.with_traceback(None)
