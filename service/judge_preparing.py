"""Reads what the judges of a deployment are made of before an engine starts, which may take minutes.

Guarantees: the start and the doctor read settings, keys, files and plans of judges by these functions, so that what one
of them refuses the other refuses with the same words. An error names its judge, where judges have names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.api.operator_files.calibration import read_calibration_file
from service.api.operator_files.cascade_plan import read_plan_file
from service.api.operator_files.labelled_rows import read_labelled_rows
from service.clock import Clock
from service.errors import ConfigurationError
from service.judges.cascade import check_length
from service.judges.cascade_judgement import CascadePlan
from service.judges.rubricd.call import Pay
from service.judges.rubricd.judge import RubricdJudge
from service.modes.calibration import Calibration
from service.modes.level_calibration import LevelCalibration
from service.prompting.template import read_grader
from service.prompting.wording import prompts_for
from service.scoring.exam.questions import Question
from service.settings import Settings, deployment
from service.settings.variables import from_environment

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PreparedJudge:
    """What one engine's judge is made of besides the engine."""

    settings: Settings
    calibrations: Sequence[Calibration]
    level_calibrations: Sequence[LevelCalibration]
    canaries: Sequence[Question] | None
    grader: str | None

    @classmethod
    def of(cls, settings: Settings) -> "PreparedJudge":
        """Raises ConfigurationError for a prompt or a file that cannot be used."""
        prompts_for(settings.prompt)
        return cls(
            settings,
            *read_calibration_file(settings.calibration),
            None if settings.canaries is None else read_labelled_rows(settings.canaries, "canaries"),
            None if settings.healthbench_template is None else read_grader(settings.healthbench_template),
        )


def prepare(settings: Settings, name: str, entry: deployment.EngineJudge) -> PreparedJudge:
    """Raises ConfigurationError that names the judge."""
    return naming(name, lambda: PreparedJudge.of(own_settings(settings, entry)))


def own_settings(settings: Settings, entry: deployment.EngineJudge) -> Settings:
    """The service's settings with this judge's own. Raises ConfigurationError for a key that is not there."""
    own = {name: getattr(entry, name) for name in entry.model_fields_set if name in Settings.model_fields}
    for key in deployment.KEYS:
        variable = f"{key}_env"
        if (value := _key(getattr(entry, variable), variable)) is not None:
            own[key] = value
    return settings.model_copy(update=own)


def _key(variable: str | None, field: str) -> str | None:
    """Raises ConfigurationError where the variable that is named holds none."""
    if variable is None:
        return None
    if (key := from_environment(variable)) is None:
        raise ConfigurationError(f"`{field}` names the environment variable {variable}, which is not set; set it")
    return key


def read_plan(name: str, entry: deployment.Cascade) -> CascadePlan:
    """Raises ConfigurationError that names the judge."""

    def read() -> CascadePlan:
        plan = read_plan_file(entry.plan)
        check_length(plan, len(entry.cascade))
        return plan

    return naming(name, read)


async def connect(
    name: str, entry: deployment.RubricdJudge, clock: Clock, pay: Pay = lambda team, dollars, unpriced: None
) -> RubricdJudge:
    """The judge of another service, which answers. Raises ConfigurationError that names the judge."""
    key = naming(name, lambda: _key(entry.key_env, "key_env"))
    try:
        return await RubricdJudge.connect(
            name,
            entry.url,
            there=entry.judge,
            key=key,
            expected=entry.expect_judge,
            timeout_s=entry.timeout_s,
            clock=clock,
            pay=pay,
        )
    except ConfigurationError as error:
        raise _of(name, error) from error


def naming(name: str, read: Callable[[], T]) -> T:
    """What `read` returns. Raises its ConfigurationError with the judge's name."""
    try:
        return read()
    except ConfigurationError as error:
        raise _of(name, error) from error


def _of(name: str, error: ConfigurationError) -> ConfigurationError:
    return ConfigurationError(f"judge `{name}`: {error}")
