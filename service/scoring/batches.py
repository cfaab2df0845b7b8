"""Makes the queries of a request whose criteria are answered together, one document a response and vote.

Guarantees: a query names all criteria that its document answers, in their order, and no other one; equal rubrics of
several responses are one tuple.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from service.modes.modes import Query
from service.rubrics.rubric import Candidate, Criterion
from service.scoring.request import Options
from service.scoring.rule_checks import Place


def votes_of(options: Options) -> Sequence[int]:
    """The numbers of the votes; 0 is the one answer without chance in it."""
    return (0,) if options.votes == 1 else range(1, options.votes + 1)


def batch_queries(
    candidates: Sequence[Candidate], places: Sequence[Place], votes: Sequence[int]
) -> tuple[list[Query], dict[Place, int], dict[Place, int]]:
    """The queries, the index of each place's first one, and the place's own among the criteria of that query. The
    places of one candidate stand together."""
    queries: list[Query] = []
    first: dict[Place, int] = {}
    within: dict[Place, int] = {}
    # By identity: responses of one item share their criteria, whose texts are then hashed and tokenised once.
    asked: dict[tuple[int, tuple[int, ...]], tuple[Criterion, ...]] = {}
    for i, of_one in groupby(places, itemgetter(0)):
        candidate, own = candidates[i], tuple([j for _, j in of_one])
        for k, j in enumerate(own):
            first[i, j], within[i, j] = len(queries), k
        if len(own) < len(candidate.criteria):
            key = id(candidate.criteria), own
            criteria = asked.setdefault(key, tuple([candidate.criteria[j] for j in own]))
            candidate = replace(candidate, criteria=criteria)
        queries += [Query(candidate, None, vote, len(own)) for vote in votes]
    return queries, first, within
