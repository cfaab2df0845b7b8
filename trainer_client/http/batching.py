"""One list of items at the service, request by request, until each response has its outcome.

Always true: a place is settled once and stays as it is; whatever ends the asking of a chunk settles what is left of it;
every item lands in exactly one chunk, in order, with the id it has in the whole list; an item is never split, so a
group's prompt is sent once. A failure carries no score, and keeps nothing alive of the call that failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from pydantic_core import PydanticSerializationError

from trainer_client import wire
from trainer_client.errors import ConnectionBroken, InvalidRequest, JudgeMismatch, RubricdClientError
from trainer_client.http import validation
from trainer_client.http.retry import HOPELESS, Incomplete, may_be_judged_later
from trainer_client.http.transport import Body, Transport, deadline_ms


@dataclass(frozen=True, slots=True)
class Scored:
    """The service's word on one response; `result.score` may still be None, and `result.criteria` say why."""

    result: wire.Result
    judge: wire.Judge

    @property
    def id(self) -> str:
        return self.result.id


@dataclass(frozen=True, slots=True)
class Failed:
    """No word on this response, and why."""

    id: str
    error: RubricdClientError


Outcome = Scored | Failed


def reward(outcome: Outcome) -> float | None:
    """The score, or None where there is none: a response that was not judged has no reward, not a reward of zero."""
    return outcome.result.score if isinstance(outcome, Scored) else None


@dataclass(frozen=True, slots=True)
class Entry:
    """An item with its id filled in. `index`: its place in the whole list; `first`: the place of its first result
    among all results; `size`: its bytes as JSON, None where it holds text that no JSON can (a lone surrogate)."""

    item: wire.Item
    index: int
    first: int
    size: int | None

    @property
    def ids(self) -> list[str]:
        return self.item.result_ids(self.index)

    @property
    def places(self) -> range:
        """The places of its results among all results."""
        return range(self.first, self.first + len(self.ids))


Listener = Callable[[int, Outcome], None]
_Part = Sequence[Entry]


class BatchScorer:
    """`listener` is called with each place and outcome as soon as it is there. Chunks hold at most `batch_items`
    responses and `batch_bytes` bytes of items."""

    def __init__(
        self,
        transport: Transport,
        request: wire.ScoreRequest,
        deadline: float | None,
        listener: Listener,
        *,
        batch_items: int,
        batch_bytes: int,
        wait_for_judge: bool = False,
    ) -> None:
        self._transport = transport
        self._request = request
        self._deadline = deadline
        self._listener = listener
        self._wait_for_judge = wait_for_judge
        self._settled: dict[int, Outcome] = {}
        self._lacking: dict[int, Scored] = {}
        self._entries = entries(request.items)
        sendable = (entry for entry in self._entries if entry.size is not None)
        self._chunks = list(cut(sendable, batch_items, batch_bytes))

    @property
    def outcomes(self) -> list[Outcome]:
        """All of them, in order, once asking is over."""
        return [self._settled[place] for entry in self._entries for place in entry.places]

    async def whole(self) -> None:
        """Asks for one answer a chunk."""
        self._settle_unsendable()
        await _all(self._ask(chunk, self._answer) for chunk in self._chunks)

    async def streaming(self) -> None:
        """Asks for each chunk's results as they are finished, all from the judge that the service names now."""
        self._settle_unsendable()
        try:
            judge = await self._judge()
        except RubricdClientError as error:
            left = self._missing(self._entries)
            self._settle(failures(error, left, left, each=False))
            return
        await _all(self._ask(chunk, partial(self._stream, judge)) for chunk in self._chunks)

    async def _ask(self, chunk: _Part, once: Callable[[_Part], Awaitable[None]]) -> None:
        """Settles all of the chunk. Where it is refused for some of its items, the others are asked for again: without
        the blamed, or in halves where nobody is, which for n items is never more than 2 n - 1 requests in all."""
        left = [chunk]
        while left:
            part = left.pop()
            try:
                await once(part)
            except RubricdClientError as error:
                if self._wait_for_judge and isinstance(error, HOPELESS):
                    raise
                part = self._missing(part)
                blamed = validation.blamed(error, len(part))
                if blamed is not None:
                    left += reversed(without(part, blamed))
                failed = part if blamed is None else [part[place] for place in sorted(blamed)]
                self._settle(
                    # What the service answered without a score says more than why it could not be asked again.
                    (place, self._lacking.get(place, outcome))
                    for place, outcome in failures(error, part, failed, each=bool(blamed))
                )

    async def _answer(self, part: _Part) -> None:
        """One answer. Where the judge is waited for, so are verdicts: items that lack some are sent again, whole."""

        async def once() -> None:
            missing = self._missing(part)
            answer = await _score_once(self._transport, self._asked(missing), self._deadline)
            for place, result in zip(_places(missing), answer.results, strict=True):
                outcome = Scored(result, answer.judge)
                if self._wait_for_judge and may_be_judged_later(result) and place not in self._settled:
                    self._lacking[place] = outcome
                else:
                    self._settle([(place, outcome)])
            if self._missing(part):
                raise Incomplete("the answer lacks verdicts that may come later")

        await self._transport.retrying(once, self._deadline, wait_for_judge=self._wait_for_judge)

    async def _stream(self, judge: wire.Judge, part: _Part) -> None:
        """Retries ask for the items of which something is missing, whole: their verdicts are in the service's cache."""

        async def once() -> None:
            if missing := self._missing(part):
                await self._stream_once(judge, missing)

        await self._transport.retrying(once, self._deadline)

    async def _stream_once(self, judge: wire.Judge, part: _Part) -> None:
        request = self._asked(part).model_copy(update={"expect_judge": judge.fingerprint})
        places = _places(part)
        reader: validation.Lines | None = None

        def opened(response: httpx.Response) -> Callable[[bytes], None]:
            nonlocal reader
            reader = validation.Lines(request, response)
            return take

        def take(line: bytes) -> None:
            assert reader is not None
            if (result := reader.read(line)) is not None:
                self._settle([(places[result.index], Scored(result, judge))])

        headers = self._transport.together(request.items)
        await self._transport.send_streaming(
            "/v1/score", opened, body=_body(request), headers=headers, deadline=self._deadline
        )
        if reader is None or not reader.ended:
            raise ConnectionBroken("the answer ended before its last line")

    async def _judge(self) -> wire.Judge:
        """The one judge of a stream. The service refuses a request that another would answer, so what a line says can
        be believed before the last line has named the judge."""
        asked = self._request
        info = await self._transport.call(
            "GET", "/v1/judge", lambda response: validation.read(response, wire.JudgeInfo), deadline=self._deadline
        )
        judge = next((one for one in info.judges if (one.mode, one.layout) == (asked.mode, asked.layout)), None)
        if judge is None:
            raise InvalidRequest(f"this judge cannot be asked in mode {asked.mode}, layout {asked.layout}")
        if asked.expect_judge not in (None, judge.fingerprint):
            raise JudgeMismatch(f"expected judge {asked.expect_judge}, the service has {judge.fingerprint}")
        return judge

    def _asked(self, part: _Part) -> wire.ScoreRequest:
        return self._request.model_copy(update={"items": [entry.item for entry in part]})

    def _missing(self, part: _Part) -> list[Entry]:
        return [entry for entry in part if any(place not in self._settled for place in entry.places)]

    def _settle_unsendable(self) -> None:
        self._settle(pair for entry in self._entries if entry.size is None for pair in unsendable(entry))

    def _settle(self, pairs: Iterable[tuple[int, Outcome]]) -> None:
        for place, outcome in pairs:
            if place not in self._settled:
                self._settled[place] = outcome
                self._listener(place, outcome)


async def score(transport: Transport, request: wire.ScoreRequest, deadline: float | None) -> wire.ScoreResponse:
    """One request as it is. Raises RubricdClientError once retrying is over."""
    return await transport.retrying(partial(_score_once, transport, request, deadline), deadline)


async def _score_once(transport: Transport, request: wire.ScoreRequest, deadline: float | None) -> wire.ScoreResponse:
    """One attempt. Raises RubricdClientError."""
    headers = transport.together(request.items)
    response = await transport.send("POST", "/v1/score", body=_body(request), headers=headers, deadline=deadline)
    answer = validation.read(response, wire.ScoreResponse)
    validation.check(request, answer)
    return answer


def _body(request: wire.ScoreRequest) -> Body:
    def body(left_s: float | None) -> str:
        timed = request.model_copy(update={"deadline_ms": deadline_ms(left_s)})
        return timed.model_dump_json(exclude_none=True, by_alias=True)

    return body


def _places(part: _Part) -> list[int]:
    return [place for entry in part for place in entry.places]


def failures(
    error: RubricdClientError, part: Sequence[Entry], failed: Sequence[Entry], *, each: bool
) -> Iterator[tuple[int, Failed]]:
    """The places and outcomes of those that failed of a part; `each` with what was said of it alone."""
    reason = validation.relocated(error, [entry.index for entry in part])
    # An outcome is kept for long; what hangs on a raised error (frames, the body that was sent) must not be.
    reason.__traceback__ = reason.__cause__ = reason.__context__ = None
    for entry in failed:
        own = validation.only(reason, entry.index) if each else reason
        for place, id in zip(entry.places, entry.ids, strict=True):
            yield place, Failed(id, own)


def unsendable(entry: Entry) -> Iterator[tuple[int, Failed]]:
    error = InvalidRequest(
        "a text of this item is not valid Unicode (a lone surrogate); decode it with errors='replace'",
        errors=((("items", entry.index), "not valid Unicode"),),
    )
    return failures(error, [entry], [entry], each=False)


def entries(items: Sequence[wire.Item]) -> list[Entry]:
    """The items with their places; ids are the whole list's, so that cutting it changes none."""
    found: list[Entry] = []
    first = 0
    for index, item in enumerate(items):
        named = item if item.id is not None else item.model_copy(update={"id": str(index)})
        found.append(Entry(named, index, first, _size(named)))
        first += len(named.result_ids(index))
    return found


def cut(entries: Iterable[Entry], max_items: int, max_bytes: int) -> Iterator[list[Entry]]:
    """Chunks of at most `max_items` responses and `max_bytes` bytes of items; a larger item goes alone."""
    chunk: list[Entry] = []
    items = size = 0
    for entry in entries:
        more, bytes_more = len(entry.ids), (entry.size or 0) + 1
        if chunk and (items + more > max_items or size + bytes_more > max_bytes):
            yield chunk
            chunk, items, size = [], 0, 0
        chunk.append(entry)
        items, size = items + more, size + bytes_more
    if chunk:
        yield chunk


def without(chunk: Sequence[Entry], blamed: frozenset[int]) -> list[Sequence[Entry]]:
    """What to ask for next in place of a chunk that was refused: all but the blamed, or the halves where nobody is."""
    if blamed:
        rest = [entry for place, entry in enumerate(chunk) if place not in blamed]
        return [rest] if rest else []
    middle = len(chunk) // 2
    return [chunk[:middle], chunk[middle:]]


def _size(item: wire.Item) -> int | None:
    try:
        return len(item.model_dump_json(exclude_none=True, by_alias=True).encode())
    except PydanticSerializationError:
        return None


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Everything side by side; on a defect or a cancellation nothing is left running."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except BaseExceptionGroup as defects:
        raise defects.exceptions[0] from None
