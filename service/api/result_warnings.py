"""Says of a result what a person should know about it besides its numbers: its warnings. Pure."""

from collections.abc import Mapping, Sequence

from service.rubrics.judgement import Judgement
from service.rubrics.levels import bimodal
from service.rubrics.rubric import ReasoningFound
from service.scoring.results import Scored
from trainer_client import wire


def warnings_of(scored: Scored, *, toy: bool) -> list[wire.ResultWarning]:
    warnings = WARNINGS.get(scored.candidate.reasoning, [])
    if toy:
        warnings = [*warnings, TOY]
    torn = [
        criterion.id
        for criterion, judgement in zip(scored.criteria, scored.judgements, strict=True)
        if judgement.p_levels is not None and criterion.ordered and bimodal(judgement.p_levels) is not None
    ]
    if missing := _missing_members(scored.judgements):
        warnings = [*warnings, missing]
    if torn:
        warnings = [*warnings, _bimodal_levels(torn)]
    return warnings


def _missing_members(judgements: Sequence[Judgement]) -> wire.ResultWarning | None:
    """Verdicts that were made without a member are marked: they are another judge's, as the quorum or the cascade
    allows."""
    without = [name for one in judgements if one.ok for name in one.missing]
    if not without:
        return None
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(without))
    return wire.ResultWarning(
        code="members_missing",
        detail=f"verdicts were made without {names}, which gave none; `members` say what the others said",
    )


def _bimodal_levels(ids: Sequence[str]) -> wire.ResultWarning:
    return wire.ResultWarning(
        code="bimodal_levels",
        detail=f"criteria {', '.join(ids)}: two levels that are not neighbours are both likely, so the expected value "
        "lies where the judge sees little; look at the texts of the levels, or use mode `reasoned`",
    )


TOY = wire.ResultWarning(code="toy_judge", detail="the judge is a toy: believe none of its verdicts")
WARNINGS: Mapping[ReasoningFound, list[wire.ResultWarning]] = {
    "kept": [
        wire.ResultWarning(
            code="reasoning_kept",
            detail="the response begins with reasoning, which was judged as a part of the answer; `reasoning: remove` "
            "takes it off",
        )
    ],
    "unfinished": [
        wire.ResultWarning(
            code="reasoning_unfinished",
            detail="the reasoning did not come to its end, so the answer that was judged is empty or cut short",
        )
    ],
    "no_answer": [
        wire.ResultWarning(code="answer_empty", detail="no answer stands behind the reasoning; an empty one was judged")
    ],
}
