"""A judge that knows the answers of the built-in exam, or gets them wrong as a test wants."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from service.api.operator_files.labelled_rows import built_in_exam
from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.fake import FakeEngine, FaultPlan
from service.modes.modes import render_prompts
from service.modes.registry import judging_modes
from service.scoring.exam.questions import Question
from service.settings import ModeSettings
from testkit.tokenizer_families import family

EXAM = built_in_exam()


class ExamJudge(FakeEngine):
    """`p_met` says P(met) of a question of the exam; of any other prompt it is 0.5. `explain` writes the explanation.
    It is no toy, so that it can fail. `asked` has the questions that it got. With `by_order` it takes the option that
    stands first, where it is asked for one."""

    def __init__(
        self,
        p_met: Callable[[Question], float] = lambda question: 0.9 if question.met else 0.1,
        explain: Callable[[Question | None], str] = lambda question: "The response has what it takes, or lacks it.",
        *,
        label_mass: Callable[[int], float] = lambda labels: 0.98,
        by_order: bool = False,
        plan: FaultPlan | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(plan=plan, sleep=sleep)
        self.identity = replace(self.identity, model="exam", toy=False)
        self.p_met, self.explain, self.label_mass = p_met, explain, label_mass
        self.asked: list[Question] = []
        self._by_order = by_order
        self._known: dict[tuple[int, ...], Question] = {}
        modes = judging_modes(self.identity, family("qwen"), ModeSettings())
        for judging_mode, mode in [*((one, one.judge.mode) for one in modes.values()), (modes.first, "levels")]:
            questions = EXAM.for_mode(mode)
            rendered = render_prompts(judging_mode.renderer, [one.query(mode) for one in questions], "", 0)
            self._known |= {prompt.ids: one for prompt, one in zip(rendered, questions, strict=True)}
        self._lengths = sorted({len(ids) for ids in self._known}, reverse=True)

    def question(self, prompt: Prompt) -> Question | None:
        """The question that the prompt is, or begins with."""
        ids = prompt.ids
        return next((self._known[ids[:n]] for n in self._lengths if ids[:n] in self._known), None)

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        await super().read_labels(prompts, label_ids)  # counts, waits and fails as its plan says
        return [self._labels(self.question(prompt), len(label_ids)) for prompt in prompts]

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        await super().generate(prompts, samplings)
        texts = [self.explain(self.question(prompt)) for prompt in prompts]
        return [Generation(json.dumps({"explanation": one, "criteria_met": True}), True, 9) for one in texts]

    def _labels(self, question: Question | None, labels: int) -> LabelLogprobs:
        p = 0.5 if question is None else self.p_met(question)
        if question is not None:
            self.asked.append(question)
        if question is not None and question.criterion.graded:
            first = self._by_order or question.criterion.options[0].value == 1
            shares = [0.9, 0.1] if self._by_order else [p, 1 - p] if first else [1 - p, p]
        elif labels == 2:
            shares = [p, 1 - p]
        else:  # ratings, of which a better response has a larger one
            best = round(p * (labels - 1))
            shares = [0.9 if n == best else 0.1 / (labels - 1) for n in range(labels)]
        mass = self.label_mass(labels)
        return LabelLogprobs(tuple(math.log(max(share * mass, 1e-9)) for share in shares))
