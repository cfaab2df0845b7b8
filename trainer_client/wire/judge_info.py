"""Defines the answer of `GET /v1/judge`: who the judge is, how it can be asked, and how far it can be trusted."""

from typing import Literal, Self

from pydantic import Field

from trainer_client.wire.calibration import Calibration, Interval
from trainer_client.wire.judges import DeployedJudge
from trainer_client.wire.models import Answer, AnyMode, Batch, Layout, Mode, is_none
from trainer_client.wire.response import Judge, Trust


class Limits(Answer):
    """The limits of one request. Lengths are in tokens, the body in bytes."""

    max_items: int = Field(description="Responses of a request.")
    max_criteria: int = Field(description="Criteria of a rubric.")
    max_judgements: int | None = Field(
        default=None,
        description="Criteria of all responses of a request, times `votes`, and twice as many where each is asked "
        "twice. Older services name none.",
    )
    max_body_bytes: int = Field(description="Of an unpacked body.")
    max_model_len: int = Field(description="Of one prompt.")
    max_queued_tokens: int = Field(description="Of the queue.")


class JudgePrompt(Answer):
    """A prompt of mode `verdict` in layout `rubricd`, which a request names as `judge_prompt`."""

    name: str = Field(description="What a request calls it.")
    description: str = Field(description="What it is, in a line.")
    labels: list[str] = Field(description="The words for met and not met.")
    reading: Literal["single", "opposite"] = Field(
        description="`opposite`: the criterion is asked twice, whether it is true and whether it is false."
    )
    examples: int = Field(description="Worked examples in it.")
    label_mass: float | None = Field(default=None, description="What its labels held on a canary, if tried.")
    served: bool = Field(description="Whether a request may name it.")
    reason: str | None = Field(default=None, description="Why it is not served.")


class Unserved(Answer):
    """A mode, layout and prompt that this judge does not serve, and why."""

    mode: Mode = Field(description="The mode.")
    layout: Layout = Field(description="The layout.")
    prompt: str | None = Field(default=None, description="The prompt; null: the mode has none to choose.")
    batch: Batch | None = Field(
        default=None, exclude_if=is_none, description="`all`: all criteria of a response in one document."
    )
    reason: str = Field(description="Why it is not served.")


class Exam(Answer):
    """How a judge did in questions whose answers are known. A pair is one criterion about two responses, of which one
    meets it, and is right where that one has the larger P(met) or rating, or is preferred."""

    mode: AnyMode = Field(description="The mode that was examined.")
    layout: Layout = Field(description="The layout that was examined.")
    prompt: str | None = Field(
        default=None, description="The prompt that was examined; null: the mode has none to choose."
    )
    batch: Batch | None = Field(
        default=None, exclude_if=is_none, description="`all`: all criteria of a response in one document."
    )
    fingerprint: str = Field(description="The fingerprint of the judge in this way.")
    trust: Trust = Field(description="`failed`: the mode is not served in this layout.")
    reason: str | None = Field(description="What keeps the judge from being proven.")
    questions: int = Field(description="Questions that were asked.")
    answered: int = Field(description="Questions with a verdict.")
    pairs: int = Field(description="Pairs that they make.")
    accuracy: Interval = Field(description="Share of pairs that are right, with its exact interval. Chance is 0.5.")
    auroc: float | None = Field(description="Over all questions; null where none was answered.")
    met_when_empty: float | None = Field(
        description="Share of what an empty response does not have that was called met; null in the rating modes."
    )


class CompareInfo(Answer):
    """How this judge compares. A field of its own, since a client from before `POST /v1/compare` knows no such mode."""

    judge: Judge | None = Field(description="As it answers `POST /v1/compare`; null where it does not serve that.")
    exam: Exam | None = Field(default=None, description="null before it is over: it is sat at the first comparison.")
    reason: str | None = Field(default=None, description="Why it is not served.")


class OptionsInfo(Answer):
    """How this judge reads levels and choices by their labels, in its default way."""

    most: int = Field(description="So many options can be told apart in one criterion.")
    calibration: str | None = Field(default=None, description="The name of the calibration that made `p_levels`.")
    trust: Trust = Field(description="`unproven` before its exam is over, which is sat after the start, and without.")
    exam: Exam | None = Field(default=None, description="null before it is over.")


class MoreWays(Answer):
    """What stands in the lists of the same names in `JudgeInfo`, of layouts that were added later: a client from before
    them refuses a list with a layout that it does not know."""

    layouts: list[Layout] = Field(description="More of `layouts`.")
    judges: list[Judge] = Field(description="More of `judges`.")
    unserved: list[Unserved] = Field(description="More of `unserved`.")
    exams: list[Exam] = Field(description="More of `exams`.")
    calibrations: list[Calibration] = Field(description="More of `calibrations`.")


class JudgeInfo(Answer):
    """The answer of `GET /v1/judge`."""

    model: str = Field(description="Its folder or name.")
    revision: str = Field(description="Of its weights: a hub's commit, or a digest.")
    engine: str = Field(description="What computes or asks it.")
    fingerprint: str = Field(description="In the default mode, layout and prompt.")
    toy: bool = Field(default=False, description="As in every answer's `judge`.")
    modes: list[Mode] = Field(description="Those that it serves.")
    layouts: list[Layout] = Field(description="Those that it serves.")
    judges: list[Judge] = Field(
        default_factory=list, description="One for each mode, layout and prompt that this judge offers."
    )
    prompts: list[JudgePrompt] = Field(default_factory=list, description="The default one first.")
    unserved: list[Unserved] = Field(default_factory=list, description="The modes, layouts and prompts that it lacks.")
    exams: list[Exam] = Field(
        default_factory=list, description="Those that are over, of modes and layouts that failed, too."
    )
    compare: CompareInfo | None = Field(default=None, description="Older services: null.")
    options: OptionsInfo | None = Field(default=None, description="null where it reads none, and from older services.")
    labels: dict[str, int] = Field(description="The label tokens and their ids.")
    label_mass_floor: float = Field(description="Below it a criterion abstains.")
    limits: Limits = Field(description="Of one request.")
    calibration: str | None = Field(default=None, description="Its name, in the default mode and layout.")
    calibrations: list[Calibration] = Field(
        default_factory=list, description="Those that are loaded, each with the certificate of its judge."
    )
    facts: dict[str, str] = Field(
        default_factory=dict, description="Everything that the fingerprint names besides prompts and labels."
    )
    more: MoreWays | None = Field(
        default=None, description="Layouts that were added later (`simple_evals`). Older services: null."
    )
    name: str | None = Field(
        default=None, exclude_if=is_none, description="Its name in a deployment that names its judges."
    )
    deployed: list[DeployedJudge] | None = Field(
        default=None, exclude_if=is_none, description="The judges of such a deployment, the default one first."
    )
    diagram: str | None = Field(
        default=None, exclude_if=is_none, description="What this judge is made of, as a Mermaid flowchart."
    )

    def whole(self) -> Self:
        """The same with what is in `more` in its lists."""
        if self.more is None:
            return self
        added = {name: [*getattr(self, name), *some] for name, some in self.more}
        return self.model_copy(update={**added, "more": None})
