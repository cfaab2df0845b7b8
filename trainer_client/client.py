"""The judge, from a training job: one async client, one connection pool, one deadline, and the only retries anywhere.

Always true: every response handed in comes back as exactly one outcome, in order: `Scored` with what the service said,
or `Failed` with the reason. No score is ever made up here.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import httpx

from trainer_client import answers, chunks, wire
from trainer_client.calls import Caller, deadline_ms
from trainer_client.errors import InvalidRequest, RubricdClientError
from trainer_client.retry import Clock, RetryPolicy

_READY_S = 5.0


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
_Settle = Callable[[Sequence[chunks.Entry], Sequence[Outcome]], None]


def reward(outcome: Outcome) -> float | None:
    """The score, or None where there is none: a response that was not judged has no reward, not a reward of zero."""
    return outcome.result.score if isinstance(outcome, Scored) else None


class ScoreOptions(TypedDict, total=False):
    """What `score` hands on to `wire.ScoreRequest`, whose defaults hold."""

    mode: wire.Mode
    aggregation: wire.Aggregation
    layout: wire.Layout
    votes: int
    soft: bool
    threshold: float
    min_coverage: float
    priority: wire.Priority
    expect_judge: str | None


class JudgeClient:
    """A judge service at `url`. Use it as an async context manager, within one event loop.

    `concurrency` bounds the requests under way over all calls, `timeout_s` one attempt. A request holds at most
    `batch_items` responses and `batch_bytes` bytes of items.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        concurrency: int = 8,
        timeout_s: float = 300.0,
        batch_items: int = 32,
        batch_bytes: int = 4_000_000,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if min(concurrency, batch_items, batch_bytes) < 1 or not timeout_s > 0:
            raise ValueError("concurrency, timeout_s, batch_items and batch_bytes must be above zero")
        self.batch_items = batch_items
        self.batch_bytes = batch_bytes
        self._caller = Caller(
            url,
            token=token,
            concurrency=concurrency,
            timeout_s=timeout_s,
            retry=retry or RetryPolicy(),
            transport=transport,
            clock=clock or Clock(),
            rng=rng or random.Random(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._caller.aclose()

    async def score(
        self,
        items: Iterable[wire.Item | dict[str, Any]],
        *,
        deadline_s: float | None = None,
        on_outcome: Callable[[int, Outcome], None] | None = None,
        **options: Unpack[ScoreOptions],
    ) -> list[Outcome]:
        """One outcome a response, in order: an item with `responses` has as many, named `id/0`, `id/1`, …

        The list is cut into requests sent side by side; one that fails for good fails its own items only, and where it
        is refused for some of them, those only. After `deadline_s` seconds what has no outcome yet is Failed with
        DeadlineExceeded. `on_outcome` is called with each outcome and its place as soon as it is there. Raises
        ValueError (pydantic's) for a list that cannot be sent.
        """
        if unknown := options.keys() - ScoreOptions.__annotations__.keys():
            raise TypeError(f"score() got unknown options: {', '.join(sorted(unknown))}")
        deadline = self._caller.deadline(deadline_s)
        listed = list(items)
        if not listed:
            return []
        request = wire.ScoreRequest.model_validate({"items": listed, **options})
        entries = chunks.entries(request.items)
        settled: dict[int, Outcome] = {}

        def settle(chunk: Sequence[chunks.Entry], outcomes: Sequence[Outcome]) -> None:
            places = [entry.first + n for entry in chunk for n in range(len(entry.ids))]
            for place, outcome in zip(places, outcomes, strict=True):
                settled[place] = outcome
                if on_outcome is not None:
                    on_outcome(place, outcome)

        unsendable = [entry for entry in entries if entry.size is None]
        settle(unsendable, [outcome for entry in unsendable for outcome in _unsendable(entry)])
        sendable = (entry for entry in entries if entry.size is not None)
        cut = chunks.cut(sendable, self.batch_items, self.batch_bytes)
        await _all(self._ask(request, chunk, deadline, settle) for chunk in cut)
        return [settled[place] for place in range(sum(len(entry.ids) for entry in entries))]

    async def score_request(self, request: wire.ScoreRequest) -> wire.ScoreResponse:
        """One request as it is, `deadline_ms` counted from now. Raises RubricdClientError once retrying is over."""
        deadline_s = None if request.deadline_ms is None else request.deadline_ms / 1000
        return await self._score(request, self._caller.deadline(deadline_s))

    async def judge(self) -> wire.JudgeInfo:
        return await self._caller.call("GET", "/v1/judge", lambda response: answers.read(response, wire.JudgeInfo))

    async def lint(
        self, rubric: wire.Rubric | list[Any], *, aggregation: wire.Aggregation = "healthbench"
    ) -> wire.LintResponse:
        """What a person should look at in a rubric, without judging anything."""
        request = wire.LintRequest.model_validate({"rubric": rubric, "aggregation": aggregation})
        content = request.model_dump_json(exclude_none=True, by_alias=True)
        return await self._caller.call(
            "POST",
            "/v1/rubrics/lint",
            lambda response: answers.read(response, wire.LintResponse),
            body=lambda _: content,
        )

    async def ready(self) -> bool:
        """Whether the service would judge now. Asked once, never retried."""
        try:
            response = await self._caller.send("GET", "/readyz", deadline=self._caller.deadline(_READY_S))
        except RubricdClientError:
            return False
        return response.status_code == 200

    async def _ask(
        self, request: wire.ScoreRequest, chunk: Sequence[chunks.Entry], deadline: float | None, settle: _Settle
    ) -> None:
        """Settles all of the chunk. Where it is refused for some of its items, the others are asked for again: without
        the blamed, or in halves where nobody is, which for n items is never more than 2 n - 1 requests in all."""
        left = [chunk]
        while left:
            part = left.pop()
            smaller = request.model_copy(update={"items": [entry.item for entry in part]})
            try:
                answer = await self._score(smaller, deadline)
            except RubricdClientError as error:
                blamed = answers.blamed(error, len(part))
                if blamed is not None:
                    left += reversed(chunks.without(part, blamed))
                failed = part if blamed is None else [part[place] for place in sorted(blamed)]
                settle(failed, _failed(error, part, failed, each=bool(blamed)))
            else:
                settle(part, [Scored(result, answer.judge) for result in answer.results])

    async def _score(self, request: wire.ScoreRequest, deadline: float | None) -> wire.ScoreResponse:
        def body(left_s: float | None) -> str:
            timed = request.model_copy(update={"deadline_ms": deadline_ms(left_s)})
            return timed.model_dump_json(exclude_none=True, by_alias=True)

        def read(response: httpx.Response) -> wire.ScoreResponse:
            answer = answers.read(response, wire.ScoreResponse)
            answers.check(request, answer)
            return answer

        return await self._caller.call("POST", "/v1/score", read, body=body, deadline=deadline)


def _failed(
    error: RubricdClientError, part: Sequence[chunks.Entry], failed: Sequence[chunks.Entry], *, each: bool
) -> list[Outcome]:
    """The outcomes of those that failed of a part; `each` with what was said of it alone."""
    reason = answers.relocated(error, [entry.index for entry in part])
    # An outcome is kept for long; what hangs on a raised error (frames, the body that was sent) must not be.
    reason.__traceback__ = reason.__cause__ = reason.__context__ = None
    reasons = [answers.only(reason, entry.index) if each else reason for entry in failed]
    return [Failed(id, reason) for entry, reason in zip(failed, reasons, strict=True) for id in entry.ids]


def _unsendable(entry: chunks.Entry) -> list[Outcome]:
    error = InvalidRequest(
        "a text of this item is not valid Unicode (a lone surrogate); decode it with errors='replace'",
        errors=((("items", entry.index), "not valid Unicode"),),
    )
    return [Failed(id, error) for id in entry.ids]


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Everything side by side; on a defect or a cancellation nothing is left running."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except BaseExceptionGroup as defects:
        raise defects.exceptions[0] from None
