"""The remote engine's HTTP calls: bounded in number, bounded in time, and given up when nobody waits for them.

Always true: whatever becomes of a call, each of its prompts has one outcome, and no other call is touched. Nothing is
retried, and no text of a server's error is passed on, because it may quote the prompt.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import httpx

from service.engine.base import Prompt
from service.errors import Cancelled, EngineFailed, JudgementError, TooLong

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_CONNECT_S = 10.0
# How servers say it: OpenAI and most others; vLLM of a prompt that leaves no room for an answer.
_TOO_LONG = ("context length", "maximum model length", "max_tokens must be at least 1")
STOPPED = "the judge was stopped"


class Calls:
    """`POST /v1/completions`, at most `max_concurrency` at a time."""

    def __init__(self, client: httpx.AsyncClient, max_concurrency: int) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(max_concurrency)
        self._by_prompt: dict[int, set[_Call]] = {}
        self._stopped = False

    async def ask(
        self, prompts: Sequence[Prompt], body: dict[str, Any], read: Callable[[Any], Sequence[_T]], timeout_s: float
    ) -> Sequence[_T | JudgementError]:
        """What `read` makes of the answer to one call, one outcome a prompt. `timeout_s` runs from the sending on."""
        call = _Call(prompts)
        self._note(call)
        try:
            async with call.wanted, self._slots, asyncio.timeout(timeout_s):
                response = await self._client.post("/v1/completions", json=body, timeout=patience(timeout_s))
            if response.status_code != httpx.codes.OK:
                raise _refusal(response, len(prompts))
            return read(parsed(response))
        except JudgementError as failure:
            error = failure
        except (TimeoutError, httpx.TimeoutException):
            if call.wanted.expired() and not self._stopped:
                return [Cancelled("nobody waits for this prompt any more") for _ in prompts]
            late = f"the judge's server did not answer within {timeout_s:g} s"
            error = EngineFailed(STOPPED if self._stopped else late)
        except Exception as failure:
            # Whatever it is (httpx raises RuntimeError once stop() closed the client), every prompt gets its outcome.
            error = EngineFailed(f"the judge's server could not be asked: {type(failure).__name__}")
        finally:
            self._forget(call)
        _log.warning("a call to the judge's server failed for %d prompts: %s", len(prompts), error)
        return [type(error)(str(error)) for _ in prompts]

    def cancel(self, prompt: Prompt) -> None:
        """Give up the calls whose last waited-for prompt this is."""
        for call in self._by_prompt.get(id(prompt), ()):
            call.cancel(prompt)

    def stop(self) -> None:
        """Give up all calls under way; a closed client would let them wait for their answers."""
        self._stopped = True
        for call in {call for calls in self._by_prompt.values() for call in calls}:
            call.give_up()

    def _note(self, call: "_Call") -> None:
        for prompt in call.prompts:
            self._by_prompt.setdefault(id(prompt), set()).add(call)

    def _forget(self, call: "_Call") -> None:
        for key in {id(prompt) for prompt in call.prompts}:
            self._by_prompt[key].discard(call)
            if not self._by_prompt[key]:
                del self._by_prompt[key]


class _Call:
    """One call under way. It holds its prompts, so that no other object can have their ids meanwhile."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self.prompts = prompts
        self.wanted = asyncio.timeout(None)
        self._waited_for = {id(prompt) for prompt in prompts}

    def cancel(self, prompt: Prompt) -> None:
        self._waited_for.discard(id(prompt))
        if not self._waited_for:
            self.give_up()

    def give_up(self) -> None:
        if not self.wanted.expired():
            self.wanted.reschedule(asyncio.get_running_loop().time())


def alike(prompts: Sequence[Prompt], indexes: Iterable[int], size: int) -> list[list[int]]:
    """The indexes in calls of at most `size`; only prompts of one salt and one priority go together."""
    kinds: dict[tuple[str, int], list[int]] = {}
    for index in indexes:
        kinds.setdefault((prompts[index].salt, prompts[index].priority), []).append(index)
    return [members[i : i + size] for members in kinds.values() for i in range(0, len(members), size)]


def complete(outcomes: Sequence[_T | JudgementError | None]) -> list[_T | JudgementError]:
    """All outcomes; raises where there are some and the engine failed on every one, as the whole batch failed then."""
    found = [outcome for outcome in outcomes if outcome is not None]
    if len(found) != len(outcomes):
        raise EngineFailed("a prompt was left without an outcome")
    if found and all(isinstance(outcome, EngineFailed) for outcome in found):
        raise EngineFailed(str(found[0]))
    return found


def patience(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))


def parsed(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise EngineFailed("the judge's server answered something that is not JSON") from error


def _refusal(response: httpx.Response, prompts: int) -> JudgementError:
    """A status other than 200 as a failure. Its text may quote the prompt, so it is looked into but never passed on."""
    code = response.status_code
    if code in (400, 413, 422) and any(said in response.text.lower() for said in _TOO_LONG):
        if prompts == 1:
            return TooLong("the judge's server says that the prompt exceeds its context length")
        return EngineFailed("the server says that a prompt of this call exceeds its context: lower max_model_len")
    return EngineFailed(f"the judge's server answered {code}")
