"""A judging mode turns a query into steps of the engine: the first one, and what follows each result. Pure.

Guarantees: a mode decides from the engine's results and nothing else, so that whoever runs its steps may stop between
any two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from service.engine.base import (
    EngineQuery,
    EngineResult,
    Generation,
    GenerationQuery,
    LabelLogprobs,
    LabelQuery,
    Prompt,
    Sampling,
)
from service.errors import JudgementError, Unparseable
from service.modes.explanation import TemplateWords, why_no_explanation
from service.modes.extraction import Extracted, read_value
from service.modes.fingerprint import JudgeIdentity
from service.modes.label_verdict import read_verdict
from service.modes.level_reading import NO_READINGS, OPTION_KEY, LevelReading, Readings, option_schema
from service.modes.rating import Rating, Scale, read_rating
from service.modes.written_verdict import OPTION_FIELDS, VERDICT_FIELDS, document_up_to_verdict, read_explanation
from service.prompting.renderer import PromptRenderer, Renderer
from service.rubrics.judgement import BatchVerdict, Verdict, abstains
from service.rubrics.levels import LevelVerdict
from service.rubrics.rubric import Candidate, Criterion

ModeResult = Verdict | Rating | LevelVerdict | Extracted | BatchVerdict


def is_kept(result: ModeResult, mass_floor: float) -> bool:
    """Whether caches may keep it. An abstention may come out otherwise under load or in another batch of the engine,
    and of several verdicts each must be there."""
    if isinstance(result, BatchVerdict):
        return all(isinstance(one, Verdict) and not abstains(one.label_mass, mass_floor) for one in result.verdicts)
    return not abstains(result.label_mass, mass_floor)


@dataclass(frozen=True, slots=True)
class Query:
    """One query to the judge about a candidate: one criterion, or its rubric as a whole where the criterion is None.
    `vote` counts independent answers to the same query, from 1; 0 is the one answer without chance in it. `judgements`
    are how many it counts for: those of all criteria where one document answers them."""

    candidate: Candidate
    criterion: Criterion | None
    vote: int = 0
    judgements: int = 1

    def texts(self, renderer: PromptRenderer) -> tuple[str, ...]:
        """The texts that the result depends on besides the candidate, as the cache's key needs them."""
        if self.criterion is not None:
            return renderer.criterion_texts(self.criterion)
        return tuple(part for item in renderer.items_of(self.candidate.criteria) for part in item)


@dataclass(frozen=True, slots=True)
class Step:
    """One engine query on the way to a query's result, and what earlier steps read: labels, or an explanation. `about`
    is the candidate, for a mode that compares what the judge writes with what it was shown. `criterion` is one that is
    more than met or not; `place` is the prompt behind which its labels are read, and `read` are those so far."""

    query: EngineQuery
    earlier: LabelLogprobs | None = None
    explanation: str | None = None
    about: Candidate | None = None
    criterion: Criterion | None = None
    place: Prompt | None = None
    read: tuple[LabelLogprobs, ...] = ()


@dataclass(frozen=True, slots=True)
class Reads:
    """Several label queries at once, after one step. `join` makes the result of what each one gave, in order."""

    queries: tuple[LabelQuery, ...]
    join: Callable[[Sequence[EngineResult | JudgementError]], ModeResult]


class JudgingMode(Protocol):
    @property
    def judge(self) -> JudgeIdentity: ...

    @property
    def renderer(self) -> PromptRenderer: ...

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        """Raises TooLong where the answer would not fit."""
        ...

    def next_step(self, step: Step, result: EngineResult) -> Step | Reads | ModeResult:
        """The next step, or the verdict or rating. Raises JudgementError where the result holds neither."""
        ...


@dataclass(frozen=True, slots=True)
class VerdictMode:
    """Mode `verdict`: one forward pass, P(met) from the labels' probabilities. `opposite` asks whether the criterion is
    false, in the same mode; `reads_both` where the prompt's verdict is that of both askings. `readings` are how it is
    asked about criteria that are more than met or not."""

    judge: JudgeIdentity
    renderer: Renderer
    opposite: "VerdictMode | None" = None
    reads_both: bool = False
    readings: Readings = NO_READINGS

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        criterion = query.criterion
        if criterion is None or criterion.plain:
            return Step(LabelQuery(prompt, self.judge.label_ids))
        if criterion.graded:
            return _first_pass(self.readings, prompt, criterion)
        return _extracting(self.readings, prompt, query.candidate, criterion)

    def next_step(self, step: Step, result: EngineResult) -> Step | ModeResult:
        if step.criterion is None:
            return read_verdict(as_label_logprobs(result))
        if step.criterion.extraction is not None:
            return _extracted(step, result)
        return _next_pass(self.readings, step, as_label_logprobs(result))


@dataclass(frozen=True, slots=True)
class ComparisonMode:
    """Mode `compare`: one forward pass for each order of two responses; its verdict is P(the first one is better)."""

    judge: JudgeIdentity
    renderer: Renderer

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        return Step(LabelQuery(prompt, self.judge.label_ids))

    def next_step(self, step: Step, result: EngineResult) -> Verdict:
        return read_verdict(as_label_logprobs(result))


@dataclass(frozen=True, slots=True)
class RatingMode:
    """Modes `implicit` and `likert`: one forward pass a response, two where "10" is two tokens."""

    judge: JudgeIdentity
    renderer: Renderer
    scale: Scale

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        return Step(LabelQuery(prompt, self.scale.first_ids))

    def next_step(self, step: Step, result: EngineResult) -> Step | Rating:
        read = as_label_logprobs(result)
        if step.earlier is not None:
            return read_rating(step.earlier, read)
        if self.scale.ten_id is not None:
            return read_rating(read, None)
        # "1" may begin "10": a second pass, with the "1" in the prompt, reads what would follow it.
        prompt = step.query.prompt
        after_one = replace(prompt, own=(*prompt.own, self.scale.digit_ids[1]))
        return Step(LabelQuery(after_one, self.scale.digit_ids), earlier=read)


@dataclass(frozen=True, slots=True)
class ReasonedMode:
    """Mode `reasoned`: the judge writes its reasons and then its verdict, and P(met) is read from the labels'
    probabilities at the verdict's place. A model that reasons before it answers does so within `max_reasoning_tokens`;
    reasoning that does not end gives no verdict.

    `verdict_key` ends the document before its verdict. `labels` are words that explain nothing by themselves.
    """

    judge: JudgeIdentity
    renderer: Renderer
    template: TemplateWords
    labels: tuple[str, ...]
    verdict_key: str
    greedy: Sampling
    temperature: float
    max_reasoning_tokens: int
    reasoning_end_id: int | None
    explanation_chars: int = 0
    readings: Readings = NO_READINGS

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        graded = None if query.criterion is None or query.criterion.plain else query.criterion
        if graded is not None and graded.extraction is not None:
            return _extracting(self.readings, prompt, query.candidate, graded)
        return replace(self.begin(prompt, query, self._sampling(graded)), criterion=graded)

    def begin(self, prompt: Prompt, query: Query, sampling: Sampling) -> Step:
        """The step that writes a document, or the reasoning before it."""
        if query.vote:  # votes are independent samples, each with a seed of its own, so that a vote can be repeated
            sampling = replace(sampling, temperature=self.temperature, seed=query.vote)
        if self.reasoning_end_id is not None:  # first the reasoning alone, free of the schema
            stop, most = (self.reasoning_end_id,), self.max_reasoning_tokens
            sampling = replace(sampling, max_tokens=most, json_schema=None, stop_ids=stop)
        return Step(GenerationQuery(prompt, sampling), about=query.candidate)

    def next_step(self, step: Step, result: EngineResult) -> Step | ModeResult:
        if step.criterion is not None and step.criterion.extraction is not None:
            return _extracted(step, result)
        if isinstance(step.query, LabelQuery):
            if step.criterion is not None:
                return _next_pass(self.readings, step, as_label_logprobs(result))
            return replace(read_verdict(as_label_logprobs(result)), explanation=step.explanation)
        if not isinstance(result, Generation):
            raise Unparseable("the engine wrote nothing")
        if step.query.sampling.json_schema is None:
            return self.after_reasoning(step, step.query, result, self._sampling(step.criterion))
        return self._at_verdict(step, result)

    def after_reasoning(self, step: Step, query: GenerationQuery, reasoning: Generation, sampling: Sampling) -> Step:
        """The step that writes the document behind the reasoning. Raises Unparseable where that has no end."""
        if not reasoning.finished:
            raise Unparseable("the judge's reasoning did not end: raise `max_reasoning_tokens`")
        prompt = self.renderer.continue_prompt(
            query.prompt, reasoning.text, f"{self.renderer.skeleton.reasoning_end}\n\n"
        )
        sampling = replace(sampling, temperature=query.sampling.temperature, seed=query.sampling.seed)
        return replace(step, query=GenerationQuery(prompt, sampling))

    def _sampling(self, graded: Criterion | None) -> Sampling:
        """Of a document that ends in a verdict, or in an option of the criterion."""
        if graded is None:
            return self.greedy
        names = _reading(self.readings).labels.names(len(graded.options))
        return replace(self.greedy, json_schema=option_schema(self.explanation_chars, names))

    def _at_verdict(self, step: Step, document: Generation) -> Step:
        """The judge is asked for its verdict behind the explanation that it wrote. Raises Unparseable where that is
        none."""
        graded = step.criterion
        explanation = read_explanation(document, VERDICT_FIELDS if graded is None else OPTION_FIELDS)
        if step.about is not None:
            template = self.template if graded is None else _reading(self.readings).template or self.template
            reason = why_no_explanation(explanation, self.labels, step.about, template)
            if reason is not None:
                raise Unparseable(reason)
        key = self.verdict_key if graded is None else OPTION_KEY
        prompt = self.renderer.continue_prompt(step.query.prompt, document_up_to_verdict(explanation), key)
        if graded is not None:
            return _first_pass(self.readings, prompt, graded, explanation)
        return Step(LabelQuery(prompt, self.judge.label_ids), explanation=explanation)


def _reading(readings: Readings) -> LevelReading:
    if readings.levels is None:
        raise ValueError("a mode without levels was asked for one")
    return readings.levels


def _first_pass(readings: Readings, prompt: Prompt, graded: Criterion, explanation: str | None = None) -> Step:
    query = _reading(readings).next_query(prompt, len(graded.options), ())
    assert isinstance(query, LabelQuery)
    return Step(query, explanation=explanation, criterion=graded, place=prompt)


def _next_pass(readings: Readings, step: Step, result: LabelLogprobs) -> Step | LevelVerdict:
    """The next pass over labels, or the verdict. Raises Unparseable."""
    assert step.criterion is not None and step.place is not None
    read = (*step.read, result)
    found = _reading(readings).next_query(step.place, len(step.criterion.options), read)
    if isinstance(found, LabelQuery):
        return replace(step, query=found, read=read)
    return replace(found, explanation=step.explanation)


def _extracting(readings: Readings, prompt: Prompt, candidate: Candidate, criterion: Criterion) -> Step:
    if readings.extraction is None or criterion.extraction is None:
        raise ValueError("a mode without extraction was asked for a value")
    return Step(readings.extraction.query(prompt, criterion.extraction), about=candidate, criterion=criterion)


def _extracted(step: Step, result: EngineResult) -> Extracted:
    """Raises Unparseable."""
    assert step.criterion is not None and step.criterion.extraction is not None and step.about is not None
    return read_value(result, step.criterion.extraction, step.about)


def asks_twice(judging_mode: JudgingMode, consistency: int) -> bool:
    """Whether each criterion is asked also with the opposite question: because the prompt does so, or the request."""
    return isinstance(judging_mode, VerdictMode) and (judging_mode.reads_both or consistency == 2)


def render_prompts(renderer: PromptRenderer, queries: Sequence[Query], salt: str, priority: int) -> list[Prompt]:
    """One prompt for each query, in order. Queries about one candidate stand together, and share its tokens."""
    if all(query.criterion is None for query in queries):
        return renderer.render_whole([query.candidate for query in queries], salt, priority)
    found: list[Prompt | None] = [None] * len(queries)
    for asking, places in _by_renderer(renderer, queries).items():
        runs: list[tuple[Candidate, list[Criterion]]] = []
        for place in places:
            candidate, criterion = queries[place].candidate, queries[place].criterion
            assert criterion is not None
            if not runs or runs[-1][0] is not candidate:
                runs.append((candidate, []))
            runs[-1][1].append(criterion)
        render = renderer.render if asking is renderer else _more(asking).render_shown
        prompts = (prompt for rendered in render(runs, salt, priority) for prompt in rendered)
        for place, prompt in zip(places, prompts, strict=True):
            found[place] = prompt
    return [prompt for prompt in found if prompt is not None]


def _by_renderer(renderer: PromptRenderer, queries: Sequence[Query]) -> Mapping[PromptRenderer, Sequence[int]]:
    """The places of the queries that each renderer puts into prompts."""
    found: dict[PromptRenderer, list[int]] = {}
    for place, query in enumerate(queries):
        if query.criterion is not None:
            asking = renderer if query.criterion.plain else _more(renderer).of(query.criterion)
            found.setdefault(asking, []).append(place)
    return found


def _more(renderer: PromptRenderer) -> Renderer:
    """Raises ValueError for a renderer that puts verdicts into prompts alone."""
    if not isinstance(renderer, Renderer):
        raise ValueError("a judge whose server has the prompts was asked for more than a verdict")
    return renderer


def as_label_logprobs(result: EngineResult) -> LabelLogprobs:
    """Raises Unparseable for anything else."""
    if not isinstance(result, LabelLogprobs):
        raise Unparseable("the engine read no labels")
    return result
