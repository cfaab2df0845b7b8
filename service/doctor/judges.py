"""Looks at each judge of the deployment: the one of the settings, or those that `judges.yaml` names.

Guarantees: what belongs to a judge stands under its name, members before what is made of them; each mistake of the file
is a finding with its line. Other services are asked who their judge is, and no judge is asked a question.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from service.clock import SystemClock
from service.doctor.findings import Finding, host_of
from service.doctor.judge import check_files, check_judge, check_remote
from service.errors import ConfigurationError
from service.judge_preparing import connect, own_settings, read_plan
from service.judges.cascade import identity_of
from service.judges.cascade_judgement import CascadePlan
from service.judges.composition import Member
from service.judges.rubricd.judge import RubricdJudge
from service.settings import Settings, deployment
from service.settings.judges_file import WrongJudgesFile, read_judges

_FILE = "Judges"


def settings_of_judges(settings: Settings) -> list[Settings]:
    """Those of each judge that an engine of this service runs, as far as they can be read."""
    if settings.judges is None:
        return [settings]
    try:
        file = read_judges(settings.judges)
    except ConfigurationError:
        return []
    found = []
    for entry in file.judges.values():
        if isinstance(entry, deployment.EngineJudge):
            own = {name: getattr(entry, name) for name in entry.model_fields_set if name in Settings.model_fields}
            found.append(settings.model_copy(update=own))
    return found


async def check_judges(settings: Settings) -> list[Finding]:
    if settings.judges is None:
        return [finding async for finding in _engine(settings)]
    try:
        file = read_judges(settings.judges)
    except WrongJudgesFile as error:
        return [Finding(_FILE, "error", f"{settings.judges}, {where}", what) for where, what in error.mistakes]
    except ConfigurationError as error:
        return [Finding(_FILE, "error", str(error), "correct the file, or leave `judges` out")]
    return [finding async for finding in _judges(settings, file)]


async def _judges(settings: Settings, file: deployment.JudgesFile) -> AsyncIterator[Finding]:
    names = list(file.judges)
    required = ", ".join(f"`{name}`" for name in file.must_judge)
    first = f"{len(names)} judges, of which `{names[0]}` judges where a request names none"
    yield Finding(_FILE, "ok", f"{settings.judges}: {first}; required: {required}")
    others: dict[str, RubricdJudge] = {}
    try:
        for name in file.in_order():
            entry = file.judges[name]
            if isinstance(entry, deployment.EngineJudge):
                async for finding in _named(settings, name, entry):
                    yield finding
            elif isinstance(entry, deployment.RubricdJudge):
                yield await _other(name, entry, others)
            elif isinstance(entry, deployment.Cascade):
                yield _cascade(name, entry, others)
            else:
                kind = next(kind for kind in deployment.COMPOSITIONS if hasattr(entry, kind))
                yield Finding(name, "ok", f"{kind} of {', '.join(f'`{member}`' for member in entry.members)}")
    finally:
        for other in others.values():
            await other.stop()


async def _named(settings: Settings, name: str, entry: deployment.EngineJudge) -> AsyncIterator[Finding]:
    try:
        own = own_settings(settings, entry)
    except ConfigurationError as error:
        yield Finding(name, "error", str(error), "set the variable where the service starts")
        return
    async for finding in _engine(own):
        yield replace(finding, subject=f"{name}: {finding.subject.lower()}")


async def _engine(settings: Settings) -> AsyncIterator[Finding]:
    yield check_judge(settings)
    if settings.engine == "remote":
        yield await check_remote(settings)
    yield check_files(settings)


async def _other(name: str, entry: deployment.RubricdJudge, others: dict[str, RubricdJudge]) -> Finding:
    try:
        others[name] = await connect(name, entry, SystemClock())
    except ConfigurationError as error:
        return Finding(name, "error", str(error), "start that service first, or correct this judge's entry")
    judge = others[name].judging_modes.first.judge
    return Finding(name, "ok", f"{judge.identity.model} of {host_of(entry.url)}, fingerprint {judge.fingerprint}")


def _cascade(name: str, entry: deployment.Cascade, others: Mapping[str, RubricdJudge]) -> Finding:
    try:
        plan = read_plan(name, entry)
        unknown = [member for n, member in enumerate(entry.cascade) if not _known(name, n, member, plan, others)]
    except ConfigurationError as error:
        return Finding(name, "error", str(error), "plan again with `rubricd cascade plan`, or correct the file")
    text = f"cascade of {', '.join(f'`{member}`' for member in entry.cascade)}, plan {entry.plan} ({plan.promise})"
    if not unknown:
        return Finding(name, "ok", f"{text}, of these judges")
    said = ", ".join(f"`{member}`" for member in unknown)
    return Finding(name, "ok", f"{text}; whether it is of {said} the start says, when their engines run")


def _known(cascade: str, n: int, member: str, plan: CascadePlan, others: Mapping[str, RubricdJudge]) -> bool:
    """Whether the member's fingerprint is known before an engine runs. Raises ConfigurationError where it is another
    judge than the plan's."""
    if member not in others:
        return False
    identity_of(cascade, n, Member(member, others[member]), plan.steps[n])
    return True
