"""Labelled canaries are asked again and again, and tell whether P(met) still says of their labels what it did.

Guarantees: the questions and their order stay the same while the service runs. What is compared is P(met) as it is
served, calibrated where the judge has a calibration without a prior. A change is measured from the first answers.
"""

from collections.abc import Sequence

from service.modes.fingerprint import JudgeIdentity
from service.modes.modes import JudgingMode
from service.observability import Telemetry
from service.scheduling import Scheduler
from service.scoring.exam.asking import Answers, answers_of
from service.scoring.exam.grading import Agreement, agree
from service.scoring.exam.questions import Question


class LabelledCanaries:
    """`questions` in the one way of judging that is watched."""

    def __init__(
        self, judging_mode: JudgingMode, questions: Sequence[Question], scheduler: Scheduler, telemetry: Telemetry
    ) -> None:
        self._judging_mode = judging_mode
        self._questions = questions
        self._scheduler = scheduler
        self._telemetry = telemetry
        self._at_start: Agreement | None = None

    @property
    def answered(self) -> bool:
        """Whether there are answers to compare with."""
        return self._at_start is not None

    async def check(self) -> None:
        """Asks them all, past every cache. Raises RubricdError where they could not be asked."""
        self.learn(await answers_of(self._judging_mode, self._questions, self._scheduler))

    def learn(self, answers: Answers) -> None:
        """Records how these answers agree with the labels, and what changed since the first ones."""
        judge = self._judging_mode.judge
        served = [_served(judge, one, p) for one, p in zip(self._questions, answers, strict=True)]
        now = agree(self._questions, served)
        answered = 0.0 if now is None else now.judged / now.labels
        if now is None:
            self._telemetry.record_labelled_canaries({"answered": answered}, None)
            return
        self._at_start = self._at_start or now
        figures = {
            "answered": answered,
            "agreement": now.agreement,
            "log_loss": now.log_loss,
            "brier": now.brier,
            "ece": now.ece,
        }
        self._telemetry.record_labelled_canaries(figures, now.log_loss - self._at_start.log_loss)


def _served(judge: JudgeIdentity, question: Question, p: float | None) -> float | None:
    """P(met) as an answer has it, where that takes no second query."""
    if p is None or judge.calibration is None or judge.calibration.prior is not None:
        return p
    return judge.calibration.curve_of(question.criterion)(p, None)
