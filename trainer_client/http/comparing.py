"""Compares one list of pairs in batches, a request a batch, until each pair has its outcome.

Guarantees: each pair is in exactly one batch, in order, with the id that it has in the whole list. However a batch's
requests end, each of its pairs has one outcome; a failure carries no preference.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError

from trainer_client import wire
from trainer_client.errors import ContractError, Incomplete, InvalidRequest, RubricdClientError
from trainer_client.http import validation
from trainer_client.http.one_judge import OneJudge
from trainer_client.http.options import CompareOptions
from trainer_client.http.outcomes import Compared, Failed
from trainer_client.http.retry import HOPELESS, TRANSIENT
from trainer_client.http.transport import Transport, deadline_ms
from trainer_client.http.usage import of_answer

Listener = Callable[[int, Compared | Failed], None]
WAY = ("compare", "rubricd", None, None)
_Batch = Sequence[int]


@dataclass
class BatchComparer:
    """Compares the pairs of one request, whose items have their ids. `listener` is called with each place and outcome
    as soon as it is known."""

    transport: Transport
    one_judge: OneJudge
    request: wire.CompareRequest
    deadline: float | None
    listener: Listener
    wait_for_judge: bool

    def __post_init__(self) -> None:
        self._settled: dict[int, Compared | Failed] = {}
        self._lacking: dict[int, Compared] = {}
        self._attempts: Counter[int] = Counter()

    async def compare(self, batch_items: int, batch_bytes: int) -> list[Compared | Failed]:
        """All outcomes, in order. Raises what waiting for the judge cannot change, where it waits."""
        batches = list(self._cut(batch_items, batch_bytes))
        try:
            expected = await self.one_judge.judge_in(
                WAY,
                self.request.expect_judge,
                self.deadline,
                wait_for_judge=self.wait_for_judge,
                name=self.request.judge,
            )
            self.request = self.request.model_copy(update={"expect_judge": expected})
        except RubricdClientError as error:
            if self.wait_for_judge and isinstance(error, HOPELESS):
                raise
            self._fail(error, self._missing(range(len(self.request.items))))
            return self._outcomes()
        try:
            async with asyncio.TaskGroup() as group:
                for batch in batches:
                    group.create_task(self._compare_batch(batch))
        except BaseExceptionGroup as defects:
            raise defects.exceptions[0] from None
        return self._outcomes()

    def _outcomes(self) -> list[Compared | Failed]:
        return [self._settled[place] for place in range(len(self.request.items))]

    def _cut(self, batch_items: int, batch_bytes: int) -> Iterator[_Batch]:
        """Places in batches. A pair whose texts JSON cannot hold is settled here."""
        batch: list[int] = []
        size = 0
        for place, item in enumerate(self.request.items):
            try:
                bytes_more = len(item.model_dump_json(exclude_none=True, by_alias=True).encode())
            except PydanticSerializationError:
                self._fail(InvalidRequest("a text of this pair is not valid Unicode (a lone surrogate)"), [place])
                continue
            if batch and (len(batch) == batch_items or size + bytes_more > batch_bytes):
                yield batch
                batch, size = [], 0
            batch.append(place)
            size += bytes_more + 1
        if batch:
            yield batch

    async def _compare_batch(self, batch: _Batch) -> None:
        """Settles all of the batch. Where it is refused because of some of its pairs the others are sent again."""
        left = [batch]
        while left:
            batch = left.pop()
            try:
                await self._answer(batch)
            except RubricdClientError as error:
                if self.wait_for_judge and isinstance(error, HOPELESS):
                    raise
                batch = self._missing(batch)
                at_fault = validation.items_at_fault(error, len(batch))
                if at_fault:
                    left.append([place for n, place in enumerate(batch) if n not in at_fault])
                elif at_fault is not None:  # refused as a whole, which a smaller one may not be
                    half = len(batch) // 2
                    left += [batch[half:], batch[:half]]
                    continue
                self._fail(error, [batch[n] for n in sorted(at_fault)] if at_fault else batch, of=batch)
            left = [one for one in left if one]

    async def _answer(self, batch: _Batch) -> None:
        """Requests one answer. A call that waits for the judge also asks again for what is missing for the moment."""

        async def once() -> None:
            missing = self._missing(batch)
            self._attempts.update(missing)
            request = self.request.model_copy(update={"items": [self.request.items[place] for place in missing]})
            answer = await self._once(request)
            for place, result in zip(missing, answer.results, strict=True):
                outcome = Compared(result, answer.judge, self._attempts[place])
                if self.wait_for_judge and result.status in TRANSIENT:
                    self._lacking[place] = outcome
                else:
                    self._settle(place, outcome)
            if self._missing(batch):
                raise Incomplete("the answer lacks preferences that may come later")

        await self.transport.retrying(once, self.deadline, wait_for_judge=self.wait_for_judge)

    async def _once(self, request: wire.CompareRequest) -> wire.CompareResponse:
        def body(left_s: float | None) -> str:
            timed = request.model_copy(update={"deadline_ms": deadline_ms(left_s)})
            return timed.model_dump_json(exclude_none=True, by_alias=True)

        headers = self.transport.together(request.items)
        response = await self.transport.send("POST", "/v1/compare", body=body, headers=headers, deadline=self.deadline)
        answer = validation.read(response, wire.CompareResponse)
        check(request, answer)
        self.transport.usage += of_answer(answer.usage)
        return answer

    def _missing(self, batch: _Batch) -> list[int]:
        return [place for place in batch if place not in self._settled]

    def _fail(self, error: RubricdClientError, places: Sequence[int], of: Sequence[int] = ()) -> None:
        reason = validation.with_places(error, of or places)
        # An outcome is kept for long; a raised error's frames and the body that was sent must not be kept with it.
        reason.__traceback__ = reason.__cause__ = reason.__context__ = None
        for place in places:
            # A result without a preference tells more than the error of a later attempt.
            failed = Failed(self.request.items[place].result_id(place), reason)
            self._settle(place, self._lacking.get(place, failed))

    def _settle(self, place: int, outcome: Compared | Failed) -> None:
        if place not in self._settled:
            self._settled[place] = outcome
            self.listener(place, outcome)


def checked(items: Iterable[wire.PairItem | dict[str, Any]], options: CompareOptions) -> wire.CompareRequest | None:
    """The whole list as one request, with an id for each pair: that of its place. None for an empty list. Raises
    ValueError for what cannot be sent, TypeError for an unknown option."""
    if unknown := options.keys() - CompareOptions.__annotations__.keys():
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    listed = list(items)
    if not listed:
        return None
    request = wire.CompareRequest.model_validate({"items": listed, **options})
    named = [item.model_copy(update={"id": item.result_id(place)}) for place, item in enumerate(request.items)]
    return request.model_copy(update={"items": named})


def check(request: wire.CompareRequest, answer: wire.CompareResponse) -> None:
    """Raises ContractError unless `answer` answers `request`: all of it, in order, by the expected judge, and with a P
    where and only where the pair was judged."""
    if request.expect_judge not in (None, answer.judge.fingerprint):
        raise ContractError(f"expected judge {request.expect_judge}, and {answer.judge.fingerprint} answered")
    if len(request.items) != len(answer.results):
        raise ContractError(f"requested {len(request.items)} pairs, got {len(answer.results)}")
    for place, (item, result) in enumerate(zip(request.items, answer.results, strict=True)):
        if result.id != item.result_id(place):
            raise ContractError(f"result {place} is another pair's")
        if (result.p is not None) != (result.status == "ok"):
            raise ContractError(f"result {place} has a `p` and a `status` that disagree")
        if result.p is not None and not 0.0 <= result.p <= 1.0:
            raise ContractError(f"result {place} has a `p` that is no probability")
