"""Makes one call of another rubricd, and reads its answer line by line.

Guarantees: each candidate has its judgements once, or a status that says why not, at the latest at the deadline. To
close a call ends the work there. Verdicts that another judge gave than the one that was asked end the request.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, Self

import httpx

from service.clock import Clock
from service.engine.upstream.calls import parse_json, retry_after_s
from service.engine.upstream.state import Upstream
from service.errors import EngineFailed, JudgeBusy, JudgementError, Overloaded, RequestError, TimedOut, Unavailable
from service.judges.hops import next_hop
from service.judges.rubricd.bodies import judgements_of, refusal, tokens_of, used
from service.rubrics.judgement import Judgement, failed
from service.rubrics.rubric import Candidate
from service.scoring.request import Options, Reservation, Usage

_ADMISSION_SHARE = 0.5
Pay = Callable[[str, float, int], None]
"""A team's judgements cost so many dollars, and so many of them have no price."""


class Call:
    """One call: a task reads its lines, so that whoever closes this ends the call."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        upstream: Upstream,
        clock: Clock,
        candidates: Sequence[Candidate],
        options: Options,
        reservation: Reservation | None,
        pay: Pay,
    ) -> None:
        self.usage = Usage(unpriced=sum(len(one.criteria) for one in candidates))
        self.again_s: float | None = None
        """When the other service says to come back."""
        self._client = client
        self._upstream = upstream
        self._clock = clock
        self._candidates = candidates
        self._deadline_s = options.deadline_s
        self._reservation = reservation
        self._pay = partial(pay, options.tenant.team)
        self._found: asyncio.Queue[tuple[int, list[Judgement]] | JudgementError | None] = asyncio.Queue()
        self._came: set[int] = set()
        self._reading: asyncio.Task[None] | None = None

    async def start(self, body: dict[str, Any], fingerprint: str, ended: Callable[[], None] = lambda: None) -> Self:
        """Raises RequestError as the other service refuses it, Unavailable where that does not answer. One that says
        nothing for half of the time until the deadline is not waited for: other judges of the request have the rest.
        `ended` is called once, when the other service has nothing of this call any more."""
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(body, fingerprint, admitted), name="call of another rubricd")
        self._reading.add_done_callback(lambda _: ended())
        late = self._after(_ADMISSION_SHARE)
        try:
            await asyncio.wait([admitted] if late is None else [admitted, late], return_when=asyncio.FIRST_COMPLETED)
            if admitted.done():
                admitted.result()
            admitted.cancel()  # what is refused from now on is a failure of these candidates
        except BaseException:
            self.close()
            raise
        finally:
            if late is not None:
                late.cancel()
        return self

    def _after(self, share: float) -> "asyncio.Future[None] | None":
        """Is done after this share of the time until the deadline; None where there is no deadline."""
        if self._deadline_s is None:
            return None
        return asyncio.ensure_future(self._clock.sleep(share * (self._deadline_s - self._clock.now())))

    async def judged(self) -> AsyncGenerator[tuple[int, Sequence[Judgement]], None]:
        waiting = set(range(len(self._candidates)))
        late = self._after(1.0)
        why: JudgementError = EngineFailed("the other service ended its answer without this result")
        try:
            while waiting:
                one = await _next(self._found, late)
                if isinstance(one, tuple):
                    waiting.discard(one[0])
                    yield one
                    continue
                why = one or why
                break
            if not waiting:  # the last line: what it cost, and who it was
                last = await _next(self._found, late)
                why = last if isinstance(last, JudgementError) else why
            if isinstance(why, _AnotherJudge):
                raise Unavailable(str(why))
        finally:
            if late is not None:
                late.cancel()
            self.close()
        for i in sorted(waiting):
            yield i, [failed(type(why)(str(why)), "judge") for _ in self._candidates[i].criteria]

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, body: dict[str, Any], fingerprint: str, admitted: "asyncio.Future[None]") -> None:
        """Whatever goes wrong is raised to who waits: for the admission, or for results."""
        try:
            async with self._client.stream(
                "POST", "/v1/score", json=body, headers={"Accept": "application/x-ndjson", **next_hop()}
            ) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    self.again_s = retry_after_s(answer)
                    if answer.status_code >= 500 and answer.status_code != 503:
                        self._upstream.call_failed()
                    raise refusal(answer.status_code, problem_of(answer), self.again_s or 1.0)
                if not admitted.done():
                    admitted.set_result(None)
                await self._lines(answer, fingerprint)
        except RequestError as error:
            if not _tell(admitted, error):
                self._break_off(JudgeBusy(str(error)) if isinstance(error, Overloaded) else EngineFailed(str(error)))
        except Exception as error:
            self._upstream.call_failed()
            why = str(error) if isinstance(error, JudgementError) else f"({type(error).__name__})"
            if not _tell(admitted, Unavailable(f"the other service could not be called {why}")):
                broke = EngineFailed(f"the other service broke off {why}")
                self._break_off(error if isinstance(error, JudgementError) else broke)

    def _break_off(self, error: JudgementError) -> None:
        self._settle(None)
        self._found.put_nowait(error)

    def _settle(self, usage: Usage | None) -> None:
        """Without what was used, a team pays for the results that came. Who leaves, or whose time is over, pays for all
        that was reserved: nobody says what was judged by then."""
        if self._reservation is None:
            return
        if usage is None:
            reserved = tokens_of(self._candidates)
            self._reservation.settle(reserved * len(self._came) // max(1, len(self._candidates)))
        else:
            self._reservation.settle(usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens)

    async def _lines(self, answer: httpx.Response, fingerprint: str) -> None:
        """Raises EngineFailed for a line that is none of the contract's."""
        async for text in answer.aiter_lines():
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                raise EngineFailed("the other service sent a line that is no JSON") from None
            if isinstance(line, dict) and line.get("done") is True:
                self._end(line, fingerprint)
                return
            index = line.get("index") if isinstance(line, dict) else None
            if type(index) is not int or not 0 <= index < len(self._candidates):
                raise EngineFailed("the other service sent a result that nobody asked for")
            if index in self._came:
                raise EngineFailed("the other service sent a result twice")
            self._came.add(index)
            self._found.put_nowait((index, judgements_of(line, self._candidates[index].criteria)))
        raise EngineFailed("the other service ended its answer early")

    def _end(self, line: dict[str, Any], fingerprint: str) -> None:
        used(line, self.usage)
        self._pay(self.usage.dollars, self.usage.unpriced)
        self._settle(self.usage)
        judge = line.get("judge")
        found = judge.get("fingerprint") if isinstance(judge, dict) else None
        if found != fingerprint:
            self._upstream.changed(f"the judge is {found!s:.64}, and was {fingerprint}")
            self._found.put_nowait(_AnotherJudge("another judge has answered, and its verdicts are given to nobody"))
            return
        self._upstream.call_answered()
        self._found.put_nowait(None)


class _AnotherJudge(EngineFailed):
    """The last line says that what came before it is not of the judge that was asked."""


def _tell(admitted: "asyncio.Future[None]", error: RequestError) -> bool:
    """Whether somebody still waits for the admission."""
    if admitted.done():
        return False
    admitted.set_exception(error)
    return True


async def _next(
    found: "asyncio.Queue[tuple[int, list[Judgement]] | JudgementError | None]", late: "asyncio.Future[None] | None"
) -> "tuple[int, list[Judgement]] | JudgementError | None":
    """What comes next; TimedOut where the deadline comes before."""
    if late is None or not found.empty():
        return await found.get()
    getting = asyncio.ensure_future(found.get())
    waits: tuple[asyncio.Future[Any], ...] = (getting, late)
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return getting.result() if getting.done() else TimedOut("the deadline passed before the other service answered")
    finally:
        getting.cancel()


def problem_of(answer: httpx.Response) -> Any:
    with contextlib.suppress(EngineFailed):
        return parse_json(answer)
    return None
