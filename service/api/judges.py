"""Describes the judge on the wire: who it is, in which ways it can be asked, and how far it can be trusted.

Guarantees: a way that failed its exam is not offered, and its reason stands where those of other unserved ways stand.
"""

from collections.abc import Callable, Mapping
from typing import Any

from service.judges.diagram import flowchart
from service.judges.judges import Deployed, Judges
from service.modes.fingerprint import JudgeIdentity
from service.modes.served_modes import COMPARED, PROMPTED, JudgingModes, Way
from service.prompting.wording import Wording
from service.scoring.exam.grading import Grade, Trust
from trainer_client import wire


def described(judge: JudgeIdentity, trust: Trust, *, read_more: bool = True) -> wire.Judge:
    """`read_more` says whether its readings of levels and values belong to what is described."""
    return wire.Judge.model_validate(
        {
            "model": judge.identity.model,
            "revision": judge.identity.revision,
            "engine": judge.identity.engine,
            "mode": judge.mode,
            "layout": judge.layout,
            "prompt": judge.prompt,
            "fingerprint": judge.fingerprint,
            "toy": judge.identity.toy,
            "calibration": None if judge.calibration is None else judge.calibration.name,
            "uncalibrated": judge.uncalibrated,
            "trust": trust,
            "name": judge.name,
            "members": [_member(one) for one in judge.members] or None,
            "batch": judge.batch,
            "readings": dict(judge.readings) if judge.readings and read_more else None,
        }
    )


def _member(judge: JudgeIdentity) -> wire.JudgeMember:
    return wire.JudgeMember(
        name=judge.name or "",
        kind=judge.identity.engine,
        model=judge.identity.model,
        fingerprint=judge.fingerprint,
        members=[_member(one) for one in judge.members],
    )


def info_of(judges: Judges, name: str | None, limits: Callable[[int], wire.Limits]) -> wire.JudgeInfo:
    """The judge of this name, the default one for None, beside those of the deployment. `limits` are for its longest
    prompt. Raises InvalidRequest where there is none, Unavailable where it cannot judge now."""
    judge = judges.named(name)
    info = judge_info(judge.judging_modes, judge.trust_of, judge.grades, limits(judge.max_model_len))
    if not judges.deployed:
        return info
    asked = judge.judging_modes.first.judge
    deployed = [_deployed(one) for one in judges.deployed.values()]
    return info.model_copy(update={"name": asked.name, "deployed": deployed, "diagram": flowchart(asked)})


def _deployed(one: Deployed) -> wire.DeployedJudge:
    first, reason = one.judge.judging_modes.first.judge, one.judge.unavailable_reason
    down = [f"`{name}`: {why}" for name, why in one.down]
    return wire.DeployedJudge(
        name=one.name,
        kind=one.kind,
        model=first.identity.model,
        fingerprint=first.fingerprint,
        ready=reason is None,
        reason=reason or "; ".join(down) or None,
        required=one.required,
        members=list(one.members),
        rule=None if one.rule is None else dict(one.rule),
    )


def judge_info(
    modes: JudgingModes[Any],
    trust_of: Callable[[JudgeIdentity], Trust],
    grades: Mapping[str, Grade],
    limits: wire.Limits,
) -> wire.JudgeInfo:
    """`grades` are by fingerprint. A way that failed its exam is not served."""
    comparing = _comparing(modes, grades)
    reading_options = _reading_options(modes.first.judge, grades)
    # A client from before `POST /v1/compare` refuses a list with a mode that it does not know.
    modes = modes.without({way: "" for way in modes.ways if way[:2] == COMPARED})
    graded = {way: grades[key] for way, one in modes.ways.items() if (key := one.judge.fingerprint) in grades}
    exams = [_exam(modes.ways[way].judge, grade) for way, grade in graded.items()]
    modes = modes.without({way: grade.reason or "" for way, grade in graded.items() if grade.trust == "failed"})
    judges, default = [one.judge for one in modes.ways.values()], modes.first.judge
    lists: dict[str, list[Any]] = {
        "layouts": list(dict.fromkeys(one.layout for one in judges)),
        "judges": [described(one, trust_of(one)) for one in judges],
        "exams": exams,
        "unserved": [
            {**way._asdict(), "reason": reason} for way, reason in modes.refused.items() if way.mode != "compare"
        ],
        "calibrations": [one.calibration.document for one in judges if one.calibration is not None],
    }
    return wire.JudgeInfo.model_validate(
        {
            "model": default.identity.model,
            "revision": default.identity.revision,
            "engine": default.identity.engine,
            "fingerprint": default.fingerprint,
            "toy": default.identity.toy,
            "modes": list(dict.fromkeys(one.mode for one in judges)),
            **{name: [one for one in some if not _is_later(one)] for name, some in lists.items()},
            "more": {name: [one for one in some if _is_later(one)] for name, some in lists.items()},
            "prompts": [_prompt(modes, wording) for wording in modes.wordings.values()],
            "compare": comparing,
            "options": reading_options,
            "labels": dict(zip(default.labels, default.label_ids, strict=True)),
            "label_mass_floor": default.mass_floor,
            "facts": dict(default.identity.facts),
            "limits": limits,
            "calibration": None if default.calibration is None else default.calibration.name,
        }
    )


def _is_later(one: Any) -> bool:
    """Whether it is of a layout that the first clients do not know, or of `batch`, which they would not see."""
    if isinstance(one, str):
        return one not in wire.FIRST_LAYOUTS
    layout, batch = (one["layout"], one.get("batch")) if isinstance(one, Mapping) else (one.layout, one.batch)
    return layout not in wire.FIRST_LAYOUTS or batch is not None


def _comparing(modes: JudgingModes[Any], grades: Mapping[str, Grade]) -> dict[str, Any]:
    found = modes.ways.get(Way(*COMPARED))
    if found is None:
        return {"judge": None, "reason": modes.refused.get(Way(*COMPARED))}
    grade = grades.get(found.judge.fingerprint)
    failed = grade is not None and grade.trust == "failed"
    return {
        "judge": None if failed else described(found.judge, _trust(grade)),
        "exam": None if grade is None else _exam(found.judge, grade),
        "reason": grade.reason if grade is not None and failed else None,
    }


def _reading_options(judge: JudgeIdentity, grades: Mapping[str, Grade]) -> dict[str, Any] | None:
    if not judge.most_options:
        return None
    reading = judge.reading_options
    grade = grades.get(reading.fingerprint)
    return {
        "most": judge.most_options,
        "calibration": None if judge.level_calibration is None else judge.level_calibration.name,
        "trust": _trust(grade),
        "exam": None if grade is None else _exam(reading, grade),
    }


def _prompt(modes: JudgingModes[Any], wording: Wording) -> dict[str, Any]:
    way = Way(*PROMPTED, wording.name)
    served = modes.ways.get(way)
    return {
        "name": wording.name,
        "description": wording.description,
        "labels": list(served.judge.labels if served is not None else wording.labels or ()),
        "reading": wording.reading,
        "examples": len(wording.examples),
        "label_mass": modes.label_mass.get(way),
        "served": served is not None,
        "reason": modes.refused.get(way),
    }


def _trust(grade: Grade | None) -> Trust:
    return "unproven" if grade is None else grade.trust


def _exam(judge: JudgeIdentity, grade: Grade) -> wire.Exam:
    low, high = grade.interval
    return wire.Exam.model_validate(
        {
            "mode": judge.mode,
            "layout": judge.layout,
            "prompt": judge.prompt,
            "batch": judge.batch,
            "fingerprint": judge.fingerprint,
            "trust": grade.trust,
            "reason": grade.reason,
            "questions": grade.questions,
            "answered": grade.answered,
            "pairs": grade.pairs,
            "accuracy": {"value": grade.accuracy, "low": low, "high": high},
            "auroc": grade.auroc,
            "met_when_empty": grade.met_when_empty,
        }
    )
