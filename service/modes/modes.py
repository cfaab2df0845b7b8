"""How a judge is asked in one mode and layout: which prompts, what is asked first, what after each answer.

Always true: a way decides only from what the engine answered; a step is pure, so whoever runs it (asking.py) may stop
between any two.
"""

from collections.abc import Sequence
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
from service.errors import Unparseable
from service.modes.fingerprint import JudgeIdentity
from service.modes.label_verdict import read_verdict
from service.modes.rating import Rating, Scale, read_rating
from service.modes.written_verdict import read_written_verdict
from service.prompting.renderer import Renderer, rubric_items
from service.prompting.template import REASONING_END
from service.rubrics.judgement import Verdict
from service.rubrics.rubric import Candidate, Criterion

ModeResult = Verdict | Rating


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a candidate: one criterion, or, where it is None, its rubric as a whole. `vote` counts the
    independent answers to one question, from 1; 0 is the one answer without chance in it."""

    candidate: Candidate
    criterion: Criterion | None
    vote: int = 0

    @property
    def asked(self) -> tuple[str, ...]:
        """What the answer depends on besides the candidate, as the cache's key needs it."""
        if self.criterion is not None:
            return (self.criterion.text,)
        return tuple(part for item in rubric_items(self.candidate.criteria) for part in item)


@dataclass(frozen=True, slots=True)
class Step:
    """One question on its way: what the engine is being asked, and what it said before."""

    ask: EngineQuery
    before: LabelLogprobs | None = None


class JudgingMode(Protocol):
    @property
    def judge(self) -> JudgeIdentity: ...

    @property
    def renderer(self) -> Renderer: ...

    def first(self, prompt: Prompt, question: Question) -> Step: ...

    def then(self, step: Step, answer: EngineResult) -> Step | ModeResult:
        """The next step, or what the judge said. Raises JudgementError where it said nothing that counts."""
        ...


@dataclass(frozen=True, slots=True)
class VerdictMode:
    """Mode `verdict`: one forward pass, P(met) from the labels' probabilities."""

    judge: JudgeIdentity
    renderer: Renderer

    def first(self, prompt: Prompt, question: Question) -> Step:
        return Step(LabelQuery(prompt, self.judge.label_ids))

    def then(self, step: Step, answer: EngineResult) -> Verdict:
        return read_verdict(as_label_logprobs(answer))


@dataclass(frozen=True, slots=True)
class RatingMode:
    """Modes `implicit` and `likert`: one forward pass a response, two where "10" is two tokens."""

    judge: JudgeIdentity
    renderer: Renderer
    scale: Scale

    def first(self, prompt: Prompt, question: Question) -> Step:
        return Step(LabelQuery(prompt, self.scale.first_ids))

    def then(self, step: Step, answer: EngineResult) -> Step | Rating:
        said = as_label_logprobs(answer)
        if step.before is not None:
            return read_rating(step.before, said)
        if self.scale.ten_id is not None:
            return read_rating(said, None)
        prompt = step.ask.prompt
        after_one = replace(prompt, own=(*prompt.own, self.scale.digit_ids[1]))
        return Step(LabelQuery(after_one, self.scale.digit_ids), before=said)


@dataclass(frozen=True, slots=True)
class ReasonedMode:
    """Mode `reasoned`: the judge writes its reasons and then its verdict. One that cannot help thinking aloud is let
    think until its thought ends, within `thought_tokens`; a thought that does not end is no verdict."""

    judge: JudgeIdentity
    renderer: Renderer
    greedy: Sampling
    temperature: float
    thought_tokens: int
    thought_end_id: int | None

    def first(self, prompt: Prompt, question: Question) -> Step:
        written = self.greedy
        if question.vote:
            written = replace(written, temperature=self.temperature, seed=question.vote)
        if self.thought_end_id is None:
            return Step(GenerationQuery(prompt, written))
        stop = (self.thought_end_id,)
        return Step(
            GenerationQuery(prompt, replace(written, max_tokens=self.thought_tokens, json_schema=None, stop_ids=stop))
        )

    def then(self, step: Step, answer: EngineResult) -> Step | Verdict:
        if not isinstance(answer, Generation) or not isinstance(step.ask, GenerationQuery):
            raise Unparseable("the engine wrote nothing")
        if step.ask.sampling.json_schema is not None:
            return read_written_verdict(answer)
        if not answer.finished:
            raise Unparseable("the judge did not come to the end of its thought: raise `thought_tokens`")
        asked = step.ask.sampling
        prompt = self.renderer.continue_prompt(step.ask.prompt, answer.text, f"{REASONING_END}\n\n")
        return Step(GenerationQuery(prompt, replace(self.greedy, temperature=asked.temperature, seed=asked.seed)))


def prompts(judging_mode: JudgingMode, questions: Sequence[Question], salt: str, priority: int) -> list[Prompt]:
    """One prompt a question, in order. Questions about one candidate stand together."""
    runs: list[tuple[Candidate, list[Criterion]]] = []
    for question in questions:
        if question.criterion is None:
            continue
        if not runs or runs[-1][0] is not question.candidate:
            runs.append((question.candidate, []))
        runs[-1][1].append(question.criterion)
    if not runs:
        return judging_mode.renderer.render_whole([question.candidate for question in questions], salt, priority)
    return [prompt for rendered in judging_mode.renderer.render(runs, salt, priority) for prompt in rendered]


def as_label_logprobs(answer: EngineResult) -> LabelLogprobs:
    if not isinstance(answer, LabelLogprobs):
        raise Unparseable("the engine read no labels")
    return answer
