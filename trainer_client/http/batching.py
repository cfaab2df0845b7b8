"""Scores one list of items in batches, a request a batch, until each response has its outcome.

Guarantees: a response's outcome is set once; however a batch's requests end, each of its responses has one.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

import httpx

from trainer_client import wire
from trainer_client.errors import ConnectionBroken, Incomplete, InvalidRequest, JudgeMismatch, RubricdClientError
from trainer_client.http import validation
from trainer_client.http.batches import Entry, cut, entries, failures, unsendable, without
from trainer_client.http.one_judge import OneJudge
from trainer_client.http.outcomes import Outcome, Scored
from trainer_client.http.retry import HOPELESS, may_be_judged_later
from trainer_client.http.rubrics import Supply, as_sent
from trainer_client.http.transport import Body, Transport, deadline_ms
from trainer_client.http.usage import of_answer

Listener = Callable[[int, Outcome], None]
_Batch = Sequence[Entry]


class BatchScorer:
    """Scores the items of one request. `listener` is called with each place and outcome as soon as it is known. A batch
    holds at most `batch_items` responses and `batch_bytes` bytes of items; a larger item is a batch of its own."""

    def __init__(
        self,
        transport: Transport,
        one_judge: OneJudge,
        request: wire.ScoreRequest,
        deadline: float | None,
        listener: Listener,
        *,
        batch_items: int,
        batch_bytes: int,
        wait_for_judge: bool = False,
    ) -> None:
        self._transport = transport
        self._one_judge = one_judge
        self._request = request
        self._deadline = deadline
        self._listener = listener
        self._wait_for_judge = wait_for_judge
        self._settled: dict[int, Outcome] = {}
        self._lacking: dict[int, Scored] = {}
        self._attempts: Counter[int] = Counter()
        self._supply = Supply(transport)
        self._entries = entries(request.items)
        sendable = (entry for entry in self._entries if entry.size is not None)
        self._batches = list(cut(sendable, batch_items, batch_bytes))

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes, in order, once `score` or `stream` has ended."""
        return [self._settled[place] for entry in self._entries for place in entry.places]

    async def score(self) -> None:
        """Requests one answer a batch."""
        self._settle_unsendable()
        try:
            await self._pin()
        except RubricdClientError as error:
            if self._wait_for_judge and isinstance(error, HOPELESS):
                raise
            self._settle_left(error)
            return
        await _all(self._score_batch(batch, self._answer) for batch in self._batches)

    async def stream(self) -> None:
        """Requests each batch's results as they are finished, all from the judge that the service names now."""
        self._settle_unsendable()
        try:
            await self._pin()
            judge = await self._judge()
        except RubricdClientError as error:
            self._settle_left(error)
            return
        await _all(self._score_batch(batch, partial(self._stream, judge)) for batch in self._batches)

    async def _score_batch(self, batch: _Batch, once: Callable[[_Batch], Awaitable[None]]) -> None:
        """Settles all of the batch. Where it is refused because of some of its items, the others are sent again:
        without the items at fault, or in halves where the refusal names none. For n items that is at most 2 n - 1
        requests."""
        left = [batch]
        while left:
            batch = left.pop()
            try:
                await once(batch)
            except RubricdClientError as error:
                if self._wait_for_judge and isinstance(error, HOPELESS):
                    raise
                batch = self._missing(batch)
                if await self._supplied(error, batch):
                    left.append(batch)
                    continue
                at_fault = validation.items_at_fault(error, len(batch))
                if at_fault is not None:
                    left += reversed(without(batch, at_fault))
                failed = batch if at_fault is None else [batch[place] for place in sorted(at_fault)]
                self._settle(
                    # A result without a score tells more than the error of a later attempt.
                    (place, self._lacking.get(place, outcome))
                    for place, outcome in failures(error, batch, failed, each=bool(at_fault))
                )

    async def _supplied(self, error: RubricdClientError, batch: _Batch) -> bool:
        """Whether stored rubrics that the service lacked are there now. If they cannot be stored, the first error
        stands."""
        try:
            return await self._supply.after(error, (entry.item for entry in batch))
        except RubricdClientError:
            return False

    async def _answer(self, batch: _Batch) -> None:
        """Requests one answer. A call that waits for the judge also waits for verdicts: items that lack some are sent
        again, whole."""

        async def once() -> None:
            missing = self._missing(batch)
            answer = await _score_once(self._transport, self._request_for(missing), self._deadline)
            for place, result in zip(_places(missing), answer.results, strict=True):
                outcome = Scored(result, answer.judge, self._attempts[place])
                if self._wait_for_judge and may_be_judged_later(result) and place not in self._settled:
                    self._lacking[place] = outcome
                else:
                    self._settle([(place, outcome)])
            if self._missing(batch):
                raise Incomplete("the answer lacks verdicts that may come later")

        await self._transport.retrying(once, self._deadline, wait_for_judge=self._wait_for_judge)

    async def _stream(self, judge: wire.Judge, batch: _Batch) -> None:
        """Streams a batch's results. A retry sends the items that lack a result, whole: their verdicts are in the
        service's cache."""

        async def once() -> None:
            if missing := self._missing(batch):
                await self._stream_once(judge, missing)

        await self._transport.retrying(once, self._deadline)

    async def _stream_once(self, judge: wire.Judge, batch: _Batch) -> None:
        request = self._request_for(batch).model_copy(update={"expect_judge": judge.fingerprint})
        places = _places(batch)
        reader: validation.StreamReader | None = None

        def opened(response: httpx.Response) -> Callable[[bytes], None]:
            nonlocal reader
            reader = validation.StreamReader(request, response)
            return take

        def take(line: bytes) -> None:
            assert reader is not None
            if (result := reader.read(line)) is not None:
                place = places[result.index]
                self._settle([(place, Scored(result, judge, self._attempts[place]))])

        headers = self._transport.together(request.items)
        try:
            await self._transport.send_streaming(
                "/v1/score", opened, body=_body(request), headers=headers, deadline=self._deadline
            )
            if reader is None or not reader.ended:
                raise ConnectionBroken("the answer ended before its last line")
            if reader.usage is not None:
                self._transport.usage += of_answer(reader.usage)
        except ConnectionBroken as error:
            error.began = reader is not None
            raise

    async def _pin(self) -> None:
        self._request = await self._one_judge.pinned(self._request, self._deadline, wait_for_judge=self._wait_for_judge)

    def _settle_left(self, error: RubricdClientError) -> None:
        left = self._missing(self._entries)
        self._settle(failures(error, left, left, each=False))

    async def _judge(self) -> wire.Judge:
        """Returns the one judge of a stream. The service refuses a request that another judge would answer, so a line
        can be used before the last line has named the judge."""
        request = self._request
        info = await self._transport.call(
            "GET",
            "/v1/judge",
            lambda response: validation.read(response, wire.JudgeInfo).whole(),
            deadline=self._deadline,
        )
        judge = next((one for one in info.judges if validation.is_asked(request, one)), None)
        if judge is None:
            raise InvalidRequest(f"this judge does not offer {validation.asked_in(request)}")
        if request.expect_judge not in (None, judge.fingerprint):
            raise JudgeMismatch(f"expected judge {request.expect_judge}, the service has {judge.fingerprint}")
        return judge

    def _request_for(self, batch: _Batch) -> wire.ScoreRequest:
        """The request of one attempt."""
        self._attempts.update(_places(batch))
        return self._request.model_copy(update={"items": [entry.item for entry in batch]})

    def _missing(self, batch: _Batch) -> list[Entry]:
        return [entry for entry in batch if any(place not in self._settled for place in entry.places)]

    def _settle_unsendable(self) -> None:
        self._settle(pair for entry in self._entries if entry.size is None for pair in unsendable(entry))

    def _settle(self, pairs: Iterable[tuple[int, Outcome]]) -> None:
        for place, outcome in pairs:
            if place not in self._settled:
                self._settled[place] = outcome
                self._listener(place, outcome)


async def score(transport: Transport, request: wire.ScoreRequest, deadline: float | None) -> wire.ScoreResponse:
    """Sends one request as it is. Raises RubricdClientError after the retries."""
    once = partial(_score_once, transport, request, deadline)
    try:
        return await transport.retrying(once, deadline)
    except RubricdClientError as error:
        if not await Supply(transport).after(error, request.items):
            raise
    return await transport.retrying(once, deadline)


async def _score_once(transport: Transport, request: wire.ScoreRequest, deadline: float | None) -> wire.ScoreResponse:
    """Makes one attempt. Raises RubricdClientError."""
    headers = transport.together(request.items)
    response = await transport.send("POST", "/v1/score", body=_body(request), headers=headers, deadline=deadline)
    answer = validation.read(response, wire.ScoreResponse)
    validation.check(request, answer)
    transport.usage += of_answer(answer.usage)
    return answer


def _body(request: wire.ScoreRequest) -> Body:
    def body(left_s: float | None) -> str:
        items = [as_sent(item) for item in request.items]
        timed = request.model_copy(update={"deadline_ms": deadline_ms(left_s), "items": items})
        return timed.model_dump_json(exclude_none=True, by_alias=True)

    return body


def _places(batch: _Batch) -> list[int]:
    return [place for entry in batch for place in entry.places]


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all side by side; after an error or a cancellation none is left running."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except BaseExceptionGroup as defects:
        raise defects.exceptions[0] from None
