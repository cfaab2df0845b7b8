"""Wire to domain and back: the only translator between the two vocabularies."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from service.modes.fingerprint import JudgeIdentity
from service.rubrics.judgement import Judgement
from service.rubrics.lint import Finding
from service.rubrics.rubric import Candidate, Criterion, Rule, Turn
from service.scheduling import Tenant
from service.scoring.group_stats import by_name
from service.scoring.options import Options
from service.scoring.pending import Usage
from service.scoring.results import Scored
from service.tenancy.team import Team
from trainer_client import wire


def criteria(rubric: wire.Rubric) -> tuple[Criterion, ...]:
    return tuple(_criterion(id, criterion) for id, criterion in zip(rubric.ids(), rubric.criteria, strict=True))


def _criterion(id: str, criterion: wire.Criterion) -> Criterion:
    verifier = criterion.verifier
    return Criterion(
        id=id,
        text=criterion.judged_text,
        points=criterion.worth,
        category=criterion.category,
        tags=criterion.tags,
        rule=None if verifier is None else Rule(verifier.rule, verifier.model_dump(exclude={"rule"}, by_alias=True)),
    )


def candidates(request: wire.ScoreRequest) -> list[Candidate]:
    """One a response, in the order of the results."""
    return [candidate for index, item in enumerate(request.items) for candidate in _of_item(index, item)]


def _of_item(index: int, item: wire.Item) -> list[Candidate]:
    shared = () if item.rubric is None else criteria(item.rubric)
    turns = _turns(item.prompt)
    responses = [item.response] if item.responses is None else item.responses
    group = item.group if item.responses is None else (str(index) if item.id is None else item.id)
    return [
        Candidate(id=id, turns=turns, response=response or "", criteria=shared, reference=item.reference, group=group)
        for id, response in zip(item.result_ids(index), responses, strict=True)
    ]


def _turns(prompt: str | list[wire.Message]) -> tuple[Turn, ...]:
    if isinstance(prompt, str):
        return (Turn("user", prompt),)
    return tuple(Turn(message.role, message.content) for message in prompt)


_PRIORITY: Mapping[wire.Priority, int] = {"interactive": 0, "train": 1, "eval": 2}


def options(request: wire.ScoreRequest, now_s: float) -> Options:
    """`now_s` is when the request arrived, on the service's clock."""
    return Options(
        mode=request.mode,
        layout=request.layout,
        votes=request.votes,
        norm=request.rating_norm,
        priority=_PRIORITY[request.priority],
        aggregation=request.aggregation,
        soft=request.soft,
        threshold=request.threshold,
        min_coverage=request.min_coverage,
        deadline_s=None if request.deadline_ms is None else now_s + request.deadline_ms / 1000,
    )


def tenant(team: Team, priority: wire.Priority) -> Tenant:
    return Tenant(team.name, team.weight, priority)


def judge(judge: JudgeIdentity) -> wire.Judge:
    return wire.Judge.model_validate(
        {
            "model": judge.identity.model,
            "revision": judge.identity.revision,
            "engine": judge.identity.engine,
            "mode": judge.mode,
            "layout": judge.layout,
            "fingerprint": judge.fingerprint,
        }
    )


def judge_info(judges: Sequence[JudgeIdentity], limits: wire.Limits) -> wire.JudgeInfo:
    """`judges` by mode and layout, the default first."""
    default = judges[0]
    return wire.JudgeInfo.model_validate(
        {
            "model": default.identity.model,
            "revision": default.identity.revision,
            "engine": default.identity.engine,
            "fingerprint": default.fingerprint,
            "modes": list(dict.fromkeys(one.mode for one in judges)),
            "layouts": list(dict.fromkeys(one.layout for one in judges)),
            "judges": [judge(one) for one in judges],
            "labels": dict(zip(default.labels, default.label_ids, strict=True)),
            "label_mass_floor": default.mass_floor,
            "facts": dict(default.identity.facts),
            "limits": limits,
        }
    )


def findings(found: Sequence[Finding]) -> wire.LintResponse:
    return wire.LintResponse.model_validate(
        {
            "findings": [
                {"code": f.code, "severity": f.severity, "criterion": f.criterion_id, "message": f.message}
                for f in found
            ]
        }
    )


def response(id: str, judged_by: JudgeIdentity, scored: Sequence[Scored], usage: Usage) -> wire.ScoreResponse:
    return wire.ScoreResponse(
        id=id,
        judge=judge(judged_by),
        results=[wire.Result(**_result(one)) for one in scored],
        groups=_groups(scored) or None,
        usage=_usage(usage),
    )


def line(place: int, scored: Scored) -> wire.StreamedResult:
    """One line of a streamed answer; `place` is the result's among the request's."""
    return wire.StreamedResult(index=place, **_result(scored))


def end(id: str, judged_by: JudgeIdentity, scored: Sequence[Scored], usage: Usage) -> wire.StreamEnd:
    """The last line of a streamed answer."""
    groups = _groups(scored) or None
    return wire.StreamEnd(done=True, id=id, judge=judge(judged_by), groups=groups, usage=_usage(usage))


def _usage(usage: Usage) -> wire.Usage:
    return wire.Usage(
        judgements=usage.judgements,
        cache_hits=usage.cache_hits,
        deduplicated=usage.deduplicated,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
    )


def _result(scored: Scored) -> dict[str, Any]:
    pairs = zip(scored.criteria, scored.judgements, strict=True)
    return {
        "id": scored.candidate.id,
        "status": scored.score.status,
        "score": scored.score.value,
        "score_bounds": scored.score.bounds,
        "coverage": scored.score.coverage,
        "criteria": [_criterion_result(criterion, judgement) for criterion, judgement in pairs],
        "rating": _rating(scored),
    }


def _rating(scored: Scored) -> wire.Rating | None:
    rating, normalised = scored.rating, scored.score.value
    if rating is None or normalised is None:
        return None
    return wire.Rating(expected=rating.expected, most_likely=rating.most_likely, normalised=normalised)


def _criterion_result(criterion: Criterion, judgement: Judgement) -> wire.CriterionResult:
    return wire.CriterionResult.model_validate(
        {
            "id": criterion.id,
            "status": judgement.status,
            "met": judgement.met,
            "p": judgement.p,
            "p_raw": judgement.p_raw,
            "label_mass": judgement.label_mass,
            "points": criterion.points,
            "source": judgement.source,
            "explanation": judgement.explanation,
            "detail": judgement.detail,
        }
    )


def _groups(scored: Sequence[Scored]) -> list[wire.Group]:
    return [_group(id, [one.score.value for one in members]) for id, members in by_name(scored).items()]


def _group(id: str, values: Sequence[float | None]) -> wire.Group:
    valid = [value for value in values if value is not None]
    std = statistics.pstdev(valid) if valid else None
    return wire.Group(
        id=id,
        n=len(values),
        valid=len(valid),
        mean=math.fsum(valid) / len(valid) if valid else None,
        std=std,
        zero_variance=None if std is None else len(set(valid)) == 1,
    )
