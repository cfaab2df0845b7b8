"""Scores responses at a judge service: a client for asyncio, and the same for callers without an event loop.

Guarantees: every response that is passed in gets exactly one outcome, in order: `Scored` with the service's result, or
`Failed` with the reason. A score comes from the service or there is none.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from trainer_client import wire
from trainer_client.http import batches, batching, comparing, validation
from trainer_client.http.arriving import arriving
from trainer_client.http.background_loop import BackgroundLoop
from trainer_client.http.batching import BatchScorer, Listener
from trainer_client.http.one_judge import OneJudge, judge_path
from trainer_client.http.options import CompareOptions, ScoreOptions
from trainer_client.http.outcomes import Compared, Failed, Outcome, Scored, reward
from trainer_client.http.retry import Clock, RetryPolicy
from trainer_client.http.rubrics import RubricCalls, SyncRubricCalls
from trainer_client.http.transport import Transport
from trainer_client.http.usage import ClientUsage

__all__ = [
    "ClientUsage",
    "CompareOptions",
    "Compared",
    "Failed",
    "JudgeClient",
    "Outcome",
    "RetryPolicy",
    "ScoreOptions",
    "Scored",
    "SyncJudgeClient",
    "reward",
]

_T = TypeVar("_T")


class JudgeClient:
    """A judge service at `url`. It may be used in one `asyncio.run` after another; `sync` is for code without asyncio.

    `token` is the team's key; without it none is sent. `concurrency` bounds the requests under way over all calls of an
    event loop, `timeout_s` the seconds of one attempt, `retry` the attempts. A request holds at most `batch_items`
    responses and `batch_bytes` bytes of items. Connections are closed by `async with` or `aclose`, and otherwise when
    `asyncio.run` ends. `transport`, `clock` and `rng` are for tests.

    `url` may be a list: addresses that serve the same judge. Requests about one prompt go to one of them; where it
    fails the next attempt goes to another at once. All scores are of one judge: `expect_judge`, or the one that they
    serve at the first call. Where they serve different ones there is JudgeMismatch and no score.
    """

    def __init__(
        self,
        url: str | Sequence[str],
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
        urls = [url] if isinstance(url, str) else list(url)
        if not urls:
            raise ValueError("give at least one url of a judge service")
        self._transport = Transport(
            urls,
            token=token,
            concurrency=concurrency,
            timeout_s=timeout_s,
            retry=retry or RetryPolicy(),
            transport=transport,
            clock=clock or Clock(),
            rng=rng or random.Random(),
        )
        self._one_judge = OneJudge(self._transport)
        self.rubrics = RubricCalls(self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections of this event loop. A later call opens new ones."""
        await self._transport.aclose()

    @property
    def usage(self) -> ClientUsage:
        """What the answers to this client said that they cost, all together; a later value less an earlier one is what
        came between."""
        return self._transport.usage

    def fit(self, limits: wire.Limits) -> None:
        """Makes requests no larger than a judge with these limits takes."""
        self.batch_items = min(self.batch_items, limits.max_items)
        self.batch_bytes = max(1, min(self.batch_bytes, limits.max_body_bytes - batches.ENVELOPE_BYTES))

    @classmethod
    def sync(cls, url: str | Sequence[str], **settings: Any) -> "SyncJudgeClient":
        """Returns the client for code without an event loop. `settings` are those of `JudgeClient`."""
        return SyncJudgeClient(cls(url, **settings))

    async def score(
        self,
        items: Iterable[wire.Item | dict[str, Any]],
        *,
        deadline_s: float | None = None,
        wait_for_judge_s: float | None = None,
        on_outcome: Callable[[int, Outcome], None] | None = None,
        **options: Unpack[ScoreOptions],
    ) -> list[Outcome]:
        """Returns one outcome a response, in order: an item with `responses` has as many, named `id/0`, `id/1`, …

        The list is cut into requests that are sent side by side. A request that finally fails fails its own items
        only, and where it is refused because of some of them, those only. After `deadline_s` seconds a response without
        an outcome is Failed with DeadlineExceeded. `on_outcome` is called with the index and the outcome of each
        response as soon as it is known.

        By default the call gives up after a few retries. With `wait_for_judge_s` it waits up to so many seconds, for
        all its requests together, for a judge that is not available and for verdicts that are missing for the moment.
        Then Unauthorized, Forbidden, JudgeMismatch and ContractError are raised at once, because waiting cannot help.

        Raises ValueError (pydantic's) for a list that cannot be sent.
        """
        request = batches.checked(items, options)
        if request is None:
            return []
        limits = [limit for limit in (deadline_s, wait_for_judge_s) if limit is not None]
        deadline = self._transport.deadline(min(limits, default=None))
        work = self._scorer(request, deadline, on_outcome or _noop, wait_for_judge=wait_for_judge_s is not None)
        await work.score()
        return work.outcomes

    def stream(
        self,
        items: Iterable[wire.Item | dict[str, Any]],
        *,
        deadline_s: float | None = None,
        **options: Unpack[ScoreOptions],
    ) -> AsyncGenerator[tuple[int, Outcome], None]:
        """Yields index and outcome of each response once, as the service finishes them: by response, not by request.

        One judge gives all results: the one that the service names when the stream starts. After a broken stream the
        results that arrived are kept and the rest is requested again. Leaving the loop cancels the requests, and the
        service drops them; `contextlib.aclosing` makes that certain. Raises ValueError for a list that cannot be sent.
        """
        request, deadline = batches.checked(items, options), self._transport.deadline(deadline_s)
        return arriving(None if request is None else lambda listener: self._scorer(request, deadline, listener))

    async def compare(
        self,
        items: Iterable[wire.PairItem | dict[str, Any]],
        *,
        deadline_s: float | None = None,
        wait_for_judge_s: float | None = None,
        on_outcome: Callable[[int, Compared | Failed], None] | None = None,
        **options: Unpack[CompareOptions],
    ) -> list[Compared | Failed]:
        """Returns one outcome a pair, in order: which of its responses `a` and `b` the judge prefers, in both orders.

        Requests, deadlines and waiting are those of `score`. Raises ValueError (pydantic's) for pairs that cannot be
        sent.
        """
        if (request := comparing.checked(items, options)) is None:
            return []
        limits = [limit for limit in (deadline_s, wait_for_judge_s) if limit is not None]
        deadline, waits = self._transport.deadline(min(limits, default=None)), wait_for_judge_s is not None
        parts = (self._transport, self._one_judge, request, deadline, on_outcome or _noop, waits)
        return await comparing.BatchComparer(*parts).compare(self.batch_items, self.batch_bytes)

    async def score_request(self, request: wire.ScoreRequest) -> wire.ScoreResponse:
        """Sends one request as it is, `deadline_ms` counted from now. Raises RubricdClientError after the retries."""
        deadline = self._transport.deadline(None if request.deadline_ms is None else request.deadline_ms / 1000)
        pinned = await self._one_judge.pinned(request, deadline, wait_for_judge=False)
        return await batching.score(self._transport, pinned, deadline)

    async def judge(self, name: str | None = None) -> wire.JudgeInfo:
        """Returns the judge's identity, modes and limits, of the one with this name where the service names several.
        Raises RubricdClientError."""
        return await self._transport.call(
            "GET", judge_path(name), lambda response: validation.read(response, wire.JudgeInfo).whole()
        )

    async def lint(
        self,
        rubric: wire.Rubric | list[Any],
        *,
        aggregation: wire.Aggregation | dict[str, Any] = "healthbench",
        reference: str | None = None,
    ) -> wire.LintResponse:
        """Returns findings about a rubric that a person should look at; nothing is judged. Raises RubricdClientError,
        and ValueError (pydantic's) for what is no rubric."""
        request = wire.LintRequest.model_validate(
            {"rubric": rubric, "aggregation": aggregation, "reference": reference}
        )
        content = request.model_dump_json(exclude_none=True, by_alias=True)
        return await self._transport.call(
            "POST",
            "/v1/rubrics/lint",
            lambda response: validation.read(response, wire.LintResponse),
            body=lambda _: content,
        )

    async def ready(self) -> bool:
        """Returns whether the service would judge now, at any of its addresses. Each is asked once."""
        return any(await asyncio.gather(*map(self._transport.is_ready, self._transport.addresses.all)))

    def _scorer(
        self, request: wire.ScoreRequest, deadline: float | None, listener: Listener, *, wait_for_judge: bool = False
    ) -> BatchScorer:
        return BatchScorer(
            self._transport,
            self._one_judge,
            request,
            deadline,
            listener,
            batch_items=self.batch_items,
            batch_bytes=self.batch_bytes,
            wait_for_judge=wait_for_judge,
        )


class SyncJudgeClient:
    """`JudgeClient` for code without an event loop: the same methods, which wait. It is made by `JudgeClient.sync`.

    One event loop in a thread of its own serves all calls, which may come from any threads. `close`, or the end of a
    `with`, closes its connections; without it they are closed when nobody needs the client any more, or when the
    process ends. A forked child gets connections of its own.
    """

    def __init__(self, client: JudgeClient) -> None:
        self._client = client
        self._loop = BackgroundLoop("rubricd-client", client)
        self.rubrics = SyncRubricCalls(client.rubrics, self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def usage(self) -> ClientUsage:
        """As `JudgeClient.usage`."""
        return self._client.usage

    def close(self) -> None:
        """Cancels the calls under way and closes the connections. A later call opens new ones."""
        self._loop.close()

    def score(
        self,
        items: Iterable[wire.Item | dict[str, Any]],
        *,
        deadline_s: float | None = None,
        wait_for_judge_s: float | None = None,
        on_outcome: Callable[[int, Outcome], None] | None = None,
        **options: Unpack[ScoreOptions],
    ) -> list[Outcome]:
        """As `JudgeClient.score`. `on_outcome` is called in the client's thread, and must not call the client."""
        listed = list(items)
        limits: Any = {"deadline_s": deadline_s, "wait_for_judge_s": wait_for_judge_s, "on_outcome": on_outcome}
        return self._loop.run(lambda: self._client.score(listed, **limits, **options))

    def stream(
        self,
        items: Iterable[wire.Item | dict[str, Any]],
        *,
        deadline_s: float | None = None,
        **options: Unpack[ScoreOptions],
    ) -> Generator[tuple[int, Outcome], None, None]:
        """As `JudgeClient.stream`. Closing the generator cancels the requests. Raises RuntimeError where the client is
        closed before the end."""
        return self._streamed(self._client.stream(items, deadline_s=deadline_s, **options))

    def compare(
        self, items: Iterable[wire.PairItem | dict[str, Any]], **limits_and_options: Any
    ) -> list[Compared | Failed]:
        """As `JudgeClient.compare`."""
        return self._loop.run(lambda: self._client.compare(list(items), **limits_and_options))

    def score_request(self, request: wire.ScoreRequest) -> wire.ScoreResponse:
        """As `JudgeClient.score_request`."""
        return self._loop.run(lambda: self._client.score_request(request))

    def judge(self, name: str | None = None) -> wire.JudgeInfo:
        """As `JudgeClient.judge`."""
        return self._loop.run(partial(self._client.judge, name))

    def lint(
        self,
        rubric: wire.Rubric | list[Any],
        *,
        aggregation: wire.Aggregation | dict[str, Any] = "healthbench",
        reference: str | None = None,
    ) -> wire.LintResponse:
        """As `JudgeClient.lint`."""
        return self._loop.run(lambda: self._client.lint(rubric, aggregation=aggregation, reference=reference))

    def ready(self) -> bool:
        """As `JudgeClient.ready`."""
        return self._loop.run(self._client.ready)

    def _streamed(
        self, arriving: AsyncGenerator[tuple[int, Outcome], None]
    ) -> Generator[tuple[int, Outcome], None, None]:
        begun: object = None
        try:
            while (one := self._loop.run(lambda: anext(arriving, None))) is not None:
                begun = self._loop.running
                yield one
                if self._loop.running is not begun:
                    raise RuntimeError("the client was closed before its stream had ended")
        finally:
            if begun is not None and self._loop.running is begun:
                self._loop.start(arriving.aclose)


def _noop(place: int, outcome: Outcome | Compared) -> None:
    """For a caller that waits for the whole list."""
