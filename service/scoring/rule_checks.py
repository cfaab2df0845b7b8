"""Starts the rule checks of a request, and makes a candidate's score of its judgements, whoever gave these.

Guarantees: a criterion with a rule is decided by the rule and shown to no judge. There is one place where judgements
become a score.
"""

import asyncio
from collections.abc import Sequence

from service.rubrics.aggregation import aggregate
from service.rubrics.debias import Rates
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate
from service.scoring.request import Options
from service.scoring.results import Scored
from service.verifiers.checks import Check, RuleChecks, unmetered
from service.verifiers.pool import RulePool

Place = tuple[int, int]
"""Candidate and criterion, by index."""

_SLICE = 5_000
"""So many places are looked at in one turn of the event loop."""


async def start_checks(
    candidates: Sequence[Candidate], options: Options, rules: RulePool
) -> tuple[list[Place], dict[Place, asyncio.Future[bool]], RuleChecks | None]:
    """The places that are left for the judge, and the rules' checks, which run now. Raises RequestError where the rules
    cannot take them."""
    left: list[Place] = []
    ruled: list[Place] = []
    checks: list[Check] = []
    looked_at = 0
    for i, candidate in enumerate(candidates):
        looked_at += len(candidate.criteria)
        if looked_at > _SLICE:  # a request may have a hundred thousand places
            looked_at = 0
            await asyncio.sleep(0)
        for j, criterion in enumerate(candidate.criteria):
            if criterion.rule is None:
                left.append((i, j))
            else:
                ruled.append((i, j))
                checks.append((criterion.rule, candidate.text_for(criterion.rule)))
    if not checks:
        return left, {}, None
    if options.rule_meter is not None:
        await options.rule_meter.admit()
    charge = unmetered if options.rule_meter is None else options.rule_meter.charge
    running = await rules.submit(checks, options.tenant, charge)
    by_place = dict(zip(ruled, running.futures, strict=True))
    options.trace.until("rules", by_place.values(), checks=len(checks))
    return left, by_place, running


def score_of(
    candidate: Candidate, judgements: Sequence[Judgement], options: Options, rates: Rates | None = None
) -> Scored:
    """`rates` are how often the judge errs, where the score is corrected for that."""
    score = aggregate(
        options.aggregation,
        candidate.criteria,
        judgements,
        soft=options.soft,
        min_coverage=options.min_coverage,
        unjudged=options.unjudged,
        rates=rates,
        threshold=options.threshold,
    )
    return Scored(candidate, candidate.criteria, tuple(judgements), score)
