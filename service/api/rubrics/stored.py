"""Finds the stored rubrics that a request refers to, and keeps those that were read: a version never changes.

Guarantees: a reference is answered with the rubric that its version is the digest of, or the request is refused. A team
sees the rubrics that it stored, and no other's.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from service.api import translate
from service.api.bodies.parsing import too_many_criteria
from service.api.bodies.worker_threads import WorkerThreads
from service.errors import InvalidRequest, UnknownRubric
from service.rubric_store.store import RubricStore
from service.rubrics.rubric import Criterion
from service.settings import ApiSettings
from trainer_client import wire

Rubrics = Iterable[wire.Rubric | None]
Place = tuple[str | int, ...]

_KEPT_BYTES = 16 * 1024 * 1024
"""Of the contents that one process keeps as they were read."""
_SMALL_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class _Known:
    """`translated` holds its criteria for each meaning of pitfalls that was asked for."""

    rubric: wire.Rubric
    bytes: int
    translated: dict[wire.Pitfalls | None, tuple[Criterion, ...]] = field(default_factory=dict)

    def criteria(self, pitfalls: wire.Pitfalls | None) -> tuple[Criterion, ...]:
        found = self.translated.get(pitfalls)
        if found is None:
            found = self.translated[pitfalls] = translate.criteria(self.rubric, pitfalls)
        return found


class StoredRubrics:
    def __init__(self, store: RubricStore, limits: ApiSettings, threads: WorkerThreads) -> None:
        self._store = store
        self._limits = limits
        self._threads = threads
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._bytes = 0

    async def criteria_of(
        self, team: str, rubrics: Rubrics, pitfalls: wire.Pitfalls | None, place: Callable[[int], Place]
    ) -> translate.StoredCriteria:
        """The criteria of each reference among a request's rubrics; `place` says where the item of an index stands.
        Raises UnknownRubric with the places of those that are not stored, InvalidRequest for a rubric that the request
        cannot use, Unavailable where the store is."""
        places: dict[str, int] = {}
        for index, ref in refs_in(rubrics):
            places.setdefault(ref, index)
        found: dict[str, tuple[Criterion, ...]] = {}
        missing = []
        for ref, index in places.items():
            known, at = await self._find(team, ref), (*place(index), "rubric")
            if known is None:
                missing.append(((*at, "ref"), _MISSING))
                continue
            try:
                self._check(known.rubric, pitfalls, index)
            except ValueError as error:
                raise InvalidRequest(str(error), ((at, str(error)),)) from None
            found[ref] = known.criteria(pitfalls)
        if missing:
            raise UnknownRubric(f"{len(missing)} reference(s) name no rubric that this team has stored", tuple(missing))
        return found

    async def rubric(self, team: str, ref: str) -> wire.Rubric | None:
        """The stored rubric with its reference. Raises Unavailable."""
        known = await self._find(team, ref)
        return None if known is None else known.rubric

    async def known(self, team: str, rubric: wire.Rubric) -> wire.Rubric:
        """The rubric with its criteria, wherever they are. Raises UnknownRubric, Unavailable."""
        if rubric.criteria or rubric.ref is None:
            return rubric
        found = await self.rubric(team, rubric.ref)
        if found is None:
            raise UnknownRubric("this team has stored no such rubric", ((("rubric", "ref"), _MISSING),))
        return found

    def forget(self, team: str, ref: str) -> None:
        if (known := self._known.pop((team, ref), None)) is not None:
            self._bytes -= known.bytes

    def _check(self, rubric: wire.Rubric, pitfalls: wire.Pitfalls | None, item: int) -> None:
        """What the contract says of a rubric in a request. Raises ValueError."""
        if len(rubric.criteria) > self._limits.max_criteria:
            raise ValueError(too_many_criteria(self._limits))
        if pitfalls is None:
            wire.check_pitfalls(rubric, f" of item {item}")

    async def _find(self, team: str, ref: str) -> _Known | None:
        key = team, ref
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        content = await self._store.get(team, *wire.split_ref(ref))
        if content is None:
            return None
        read = partial(_read, content, ref)
        known = _Known(await self._threads.run(team, read, small=len(content) <= _SMALL_BYTES), len(content))
        self.forget(team, ref)
        self._known[key] = known
        self._bytes += known.bytes
        while self._bytes > _KEPT_BYTES and len(self._known) > 1:
            self.forget(*next(iter(self._known)))
        return known


_MISSING = (
    "no such rubric of this team; store it with `rubricd rubrics put` (PUT /v1/rubrics/NAME), or send its criteria"
)


def refs_in(rubrics: Rubrics) -> Iterator[tuple[int, str]]:
    """The rubrics whose criteria are not in the request, by their index, with their references."""
    for index, rubric in enumerate(rubrics):
        if rubric is not None and not rubric.criteria and rubric.ref is not None:
            yield index, rubric.ref


def _read(content: bytes, ref: str) -> wire.Rubric:
    """With its reference, which is checked against the criteria."""
    return wire.Rubric.model_validate({**wire.read_json(content), "ref": ref})
