"""Translates wire models to the domain's values and back."""

import functools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from service.api.judges import described
from service.api.result_warnings import warnings_of
from service.errors import InvalidRequest
from service.modes.fingerprint import JudgeIdentity
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import (
    CALL,
    DOCUMENT,
    NAMED_TOOL,
    Candidate,
    Criterion,
    Extraction,
    Option,
    ReasoningFound,
    Rule,
    Turn,
)
from service.scheduling import Tenant
from service.scoring.exam.grading import Trust
from service.scoring.request import Options, Usage
from service.scoring.results import Scored, by_group
from service.tenancy.team import Team
from service.tenancy.usage import TeamUse
from trainer_client import wire
from trainer_client.formulas import Aggregation

StoredCriteria = Mapping[str, tuple[Criterion, ...]]
"""The criteria of stored rubrics, by their references."""
NOTHING_STORED: StoredCriteria = MappingProxyType({})


def criteria(
    rubric: wire.Rubric, pitfalls: wire.Pitfalls | None = None, stored: StoredCriteria = NOTHING_STORED
) -> tuple[Criterion, ...]:
    """`pitfalls` says what meeting a pitfall means that does not say it itself. Raises InvalidRequest for a reference
    that is not among the `stored`."""
    if not rubric.criteria:
        if rubric.ref is None or rubric.ref not in stored:
            raise InvalidRequest("a reference to a stored rubric cannot be used here; give the rubric's criteria")
        return stored[rubric.ref]
    found = []
    for id, criterion in zip(rubric.ids(), rubric.criteria, strict=True):
        rule = None if criterion.verifier is None else rule_of(criterion.verifier)
        category, text = criterion.category_and_text
        worth = criterion.worth
        if pitfalls == "met_is_good" and criterion.is_unsigned_pitfall:
            worth = -worth
        made = Criterion(id, text, worth, category, criterion.tags, rule)
        found.append(made if criterion.plain else _graded(made, criterion))
    return tuple(found)


def rule_of(verifier: wire.Verifier) -> Rule:
    params = verifier.model_dump(exclude={"rule", "on"}, by_alias=True)
    return Rule(verifier.rule, params, on_all=verifier.on == "all")


def _graded(made: Criterion, criterion: wire.Criterion) -> Criterion:
    """With its options, or with how a value is extracted."""
    options = tuple(Option(one.text, one.value) for one in criterion.options)
    extraction = None
    if (extract := criterion.extract) is not None:
        rule = rule_of(extract.rule)
        extraction = Extraction(extract.type, extract.instructions, rule, tuple(extract.choices or ()))
    return replace(made, options=options, ordered=criterion.levels is not None, extraction=extraction)


def candidates(request: wire.ScoreRequest, stored: StoredCriteria = NOTHING_STORED) -> list[Candidate]:
    """One for each response, in the order of the results. Responses of one item share its turns and criteria. Raises
    InvalidRequest for a reference that is not among the `stored`."""
    found: list[Candidate] = []
    for index, item in enumerate(request.items):
        shared = () if item.rubric is None else criteria(item.rubric, request.pitfalls, stored)
        turns = conversation(item.prompt, item.documents)
        if item.responses is None:
            responses, group = ["" if item.response is None else item.response], item.group
        else:
            responses, group = item.responses, str(index) if item.id is None else item.id
        for id, response in zip(item.result_ids(index), responses, strict=True):
            answer, reasoning, trajectory = judged_part(response, request.reasoning)
            about = (shared, item.reference, group, reasoning, item.metadata)
            found.append(Candidate(id, turns, answer, *about, trajectory))
    return found


def conversation(prompt: str | list[wire.Message], documents: Sequence[str] | None) -> tuple[Turn, ...]:
    """What the responses answer, and behind it what the judge alone reads: no message can have the role of that."""
    private = [Turn(DOCUMENT, text) for text in documents or ()]
    if isinstance(prompt, str):
        return (Turn("user", prompt), *private)
    return (*(turn for message in prompt for turn in turns_of(message)), *private)


def turns_of(message: wire.Message) -> list[Turn]:
    """The message, and each of its calls as a turn. One that only calls has no text of its own."""
    if message.name is not None:
        return [Turn(NAMED_TOOL, f"{_plain_name(message.name, ':')}: {message.content}")]
    if not message.tool_calls:
        return [Turn(message.role, message.content)]
    said = [Turn(message.role, message.content)] if message.content else []
    return said + [Turn(CALL, f"{_plain_name(call.name, '(')}({call.arguments})") for call in message.tool_calls]


def _plain_name(name: str, end: str) -> str:
    """A name from which what follows can be told apart: in quotes where it holds what would end it."""
    return json.dumps(name, ensure_ascii=False) if end in name or '"' in name else name


def judged_part(response: wire.Response, how: wire.Reasoning) -> tuple[str, ReasoningFound, tuple[Turn, ...]]:
    """What is judged of a response: its text, what its reasoning is, and its turns where it is a trajectory. The text
    of a trajectory is that of its last turn, if the assistant says it."""
    if isinstance(response, str):
        return (*answer_in(response, how), ())
    turns: list[Turn] = []
    final = ""
    met: set[ReasoningFound] = {"none"}
    for message in response:
        if message.role == "tool":
            turns += turns_of(message)
            final = ""
            continue
        final, found = answer_in(message.content, how)
        met.add("removed" if found == "no_answer" and message.tool_calls else found)
        turns += turns_of(message.model_copy(update={"content": final}))
        if message.tool_calls:
            final = ""
    plain = len(turns) == 1 and turns[0].role == "assistant"
    return final, next(one for one in _WORST_FIRST if one in met), () if plain else tuple(turns)


_WORST_FIRST: tuple[ReasoningFound, ...] = ("unfinished", "no_answer", "kept", "removed", "none")


def answer_in(response: str, how: wire.Reasoning) -> tuple[str, ReasoningFound]:
    """The part of a response that is judged, and what its reasoning is."""
    if how == "keep":
        return response, "kept" if wire.begins_with_reasoning(response) else "none"
    split = wire.split(response, None if how == "remove" else how.tags())
    if split.ended == "none":
        return response, "none"
    if split.ended == "unfinished":
        return split.answer, "unfinished"
    return split.answer, "removed" if split.answer else "no_answer"


def aggregation(chosen: wire.Aggregation) -> Aggregation:
    """A name alone means the options' defaults, which are the contract's."""
    return _by_name(chosen) if isinstance(chosen, str) else Aggregation(**wire.aggregation_options(chosen))


@functools.cache
def _by_name(name: wire.AggregationName) -> Aggregation:
    return Aggregation(**wire.aggregation_options(name))


ENGINE_PRIORITY: Mapping[wire.Priority, int] = {"interactive": 0, "train": 1, "eval": 2}


def options(request: wire.ScoreRequest, team: Team, arrived_s: float) -> Options:
    """`arrived_s` is when the request arrived, on the service's clock."""
    return Options(
        mode=request.mode,
        layout=request.layout,
        prompt=request.judge_prompt,
        batch=request.batch,
        consistency=request.consistency,
        votes=request.votes,
        norm=request.rating_norm,
        aggregation=aggregation(request.aggregation),
        soft=request.soft,
        threshold=request.threshold,
        min_coverage=request.min_coverage,
        unjudged=request.unjudged,
        debias=request.debias,
        deadline_s=None if request.deadline_ms is None else arrived_s + request.deadline_ms / 1000,
        scope=team.scope,
        tenant=Tenant(team.name, team.weight, request.priority),
        priority=ENGINE_PRIORITY[request.priority],
        cache=request.cache,
    )


def team_usage(team: Team, use: TeamUse, reserved_tokens: int) -> wire.TeamUsage:
    queries = use.judgements + use.cache_hits + use.deduplicated
    return wire.TeamUsage(
        team=team.name,
        quota=wire.Quota(
            tokens_per_minute=team.tokens_per_minute,
            concurrent_tokens=team.concurrent_tokens,
            requests_per_minute=team.requests_per_minute,
            rule_seconds_per_minute=team.rule_seconds_per_minute,
        ),
        reserved_tokens=reserved_tokens,
        responses=use.responses,
        judgements=use.judgements,
        cache_hits=use.cache_hits,
        deduplicated=use.deduplicated,
        tokens=use.tokens,
        cost=use.cost,
        cost_reported=use.cost_reported,
        shadows=[
            wire.CriterionDivergence(
                shadow=name,
                criterion=one.text,
                compared=one.compared,
                differs=one.differs,
                unjudged=one.unjudged,
                difference=one.difference,
            )
            for name, divergence in use.shadows.items()
            for one in divergence.widest()
        ],
        cache_share=use.cache_hits / queries if queries else None,
    )


def response(
    id: str, judged_by: JudgeIdentity, trust: Trust, scored: Sequence[Scored], usage: Usage
) -> wire.ScoreResponse:
    return wire.ScoreResponse(
        id=id,
        judge=described(judged_by, trust, read_more=_read_more(scored)),
        results=[wire.Result(**_result(one, judged_by)) for one in scored],
        groups=_groups(scored),
        usage=used(usage),
    )


def line(index: int, scored: Scored, judged_by: JudgeIdentity) -> wire.StreamedResult:
    """One line of a streamed response; `index` is the result's among the request's."""
    return wire.StreamedResult(index=index, **_result(scored, judged_by))


def end(id: str, judged_by: JudgeIdentity, trust: Trust, scored: Sequence[Scored], usage: Usage) -> wire.StreamEnd:
    """The last line of a streamed response."""
    judged = described(judged_by, trust, read_more=_read_more(scored))
    return wire.StreamEnd(done=True, id=id, judge=judged, groups=_groups(scored), usage=used(usage))


def _read_more(scored: Sequence[Scored]) -> bool:
    """Whether any criterion is more than met or not. Responses of one item share their criteria."""
    rubrics = {id(one.criteria): one.criteria for one in scored}
    return any(not criterion.plain for rubric in rubrics.values() for criterion in rubric)


def used(usage: Usage) -> wire.Usage:
    return wire.Usage(
        judgements=usage.judgements,
        cache_hits=usage.cache_hits,
        deduplicated=usage.deduplicated,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        cost=usage.cost,
    )


def _result(scored: Scored, judged_by: JudgeIdentity) -> dict[str, Any]:
    criteria: list[dict[str, Any]] = [
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
            "disagreement": judgement.disagreement,
        }
        for criterion, judgement in zip(scored.criteria, scored.judgements, strict=True)
    ]
    for wired, judgement in zip(criteria, scored.judgements, strict=True):
        if judgement.members:
            wired["members"] = [_member(*said) for said in judgement.members]
    for place, judgement in enumerate(scored.judgements):
        if judgement.level is not None or judgement.extracted is not None:
            criteria[place] |= _of_graded(judgement)
    rating, score = None, scored.score
    if scored.rating is not None and score.value is not None:
        expected, most_likely = scored.rating.expected, scored.rating.most_likely
        rating = wire.Rating(expected=expected, most_likely=most_likely, normalised=score.value)
    return {
        "id": scored.candidate.id,
        "status": score.status,
        "score": score.value,
        "score_bounds": score.bounds,
        "coverage": score.coverage,
        "criteria": criteria,
        "rating": rating,
        "warnings": warnings_of(scored, toy=judged_by.identity.toy),
        "metadata": scored.candidate.metadata,
    }


def _of_graded(judgement: Judgement) -> dict[str, Any]:
    return {
        "level": judgement.level,
        "p_levels": judgement.p_levels,
        "p_levels_raw": judgement.p_levels_raw,
        "value": judgement.value,
        "extracted": judgement.extracted,
    }


def _member(name: str, judgement: Judgement) -> wire.MemberResult:
    return wire.MemberResult(
        judge=name,
        status=judgement.status,
        met=judgement.met,
        p=judgement.p,
        level=judgement.level,
        extracted=judgement.extracted,
    )


def _groups(scored: Sequence[Scored]) -> list[wire.Group] | None:
    """None where no group was named."""
    groups = []
    for id, members in by_group(scored).items():
        valid = [one.score.value for one in members if one.score.value is not None]
        group = wire.Group(
            id=id,
            n=len(members),
            valid=len(valid),
            mean=math.fsum(valid) / len(valid) if valid else None,
            std=statistics.pstdev(valid) if valid else None,
            zero_variance=len(set(valid)) == 1 if valid else None,
        )
        groups.append(group)
    return groups or None
