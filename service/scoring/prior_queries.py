"""Makes the content-free queries of one request, by which a calibration knows the judge's bias.

Guarantees: each is made once, whatever number of criteria or responses need it.
"""

from dataclasses import replace

from service.modes.calibration import Calibration, Prior
from service.modes.modes import Query
from service.rubrics.rubric import Candidate, Criterion


class PriorQueries:
    """`queries` is the request's list, to whose end new ones are added: where each stands is its index there."""

    def __init__(self, prior: Prior, queries: list[Query]) -> None:
        self._prior = prior
        self._criterion = Criterion(id="prior", text=prior.text, points=0.0)
        self._queries = queries
        # By identity: the request's texts live as long as this, and its candidates share them as objects.
        self._empty: dict[tuple[int, int], Candidate] = {}
        self._indexes: dict[tuple[int, str], int] = {}

    @classmethod
    def of(cls, calibration: Calibration | None, queries: list[Query]) -> "PriorQueries | None":
        """None where no second query is needed."""
        if calibration is None or calibration.prior is None:
            return None
        return cls(calibration.prior, queries)

    def index(self, candidate: Candidate, criterion: Criterion) -> int:
        """The index of the query for this criterion of this candidate."""
        if self._prior.of == "criterion":
            candidate, criterion = candidate, self._criterion
        else:
            place = id(candidate.turns), id(candidate.reference)
            if place not in self._empty:
                self._empty[place] = replace(candidate, response="", trajectory=())
            candidate = self._empty[place]
        key = id(candidate), criterion.text
        if key not in self._indexes:
            self._indexes[key] = len(self._queries)
            self._queries.append(Query(candidate, criterion))
        return self._indexes[key]
