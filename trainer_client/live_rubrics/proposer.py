"""Asks for criteria: a chat model at an endpoint, or a function of the user's own, with a journal before them.

Guarantees: a proposer that fails, answers something else or takes too long costs its proposals alone. It raises
nothing, and what it failed with is kept and told again to a resumed run.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from trainer_client.endpoint import ChatEndpoint
from trainer_client.errors import RubricdClientError
from trainer_client.live_rubrics.journal import Answer, Journal, key_of
from trainer_client.live_rubrics.proposing import SCHEMA, Group, NoProposal, checked, messages, read


class Proposer(Protocol):
    """What proposes. `name` is in the provenance of its criteria."""

    name: str

    async def propose(self, group: Group, most: int, step: int) -> Answer: ...

    async def aclose(self) -> None: ...


class EndpointProposer:
    """A chat model. `step` seeds it."""

    def __init__(
        self, endpoint: ChatEndpoint, *, temperature: float = 0.7, max_tokens: int = 1024, timeout_s: float = 120.0
    ) -> None:
        self.name = endpoint.model
        self._endpoint = endpoint
        self._temperature, self._max_tokens, self._timeout_s = temperature, max_tokens, timeout_s

    async def propose(self, group: Group, most: int, step: int) -> Answer:
        asked = self._endpoint.chat(
            messages(group, most),
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            seed=step,
            json_schema=SCHEMA,
        )
        try:
            return read((await asyncio.wait_for(asked, self._timeout_s)).text)
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except (RubricdClientError, NoProposal) as error:
            return str(error)

    async def aclose(self) -> None:
        await self._endpoint.aclose()


class FunctionProposer:
    """A function `propose(prompt, criteria, answers, most, step)` that returns a list of `{text, kind}`; it may be
    asynchronous."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self._function = function

    async def propose(self, group: Group, most: int, step: int) -> Answer:
        shown = {"prompt": list(group.prompt), "criteria": list(group.criteria), "answers": list(group.answers)}
        try:
            found = self._function(**shown, most=most, step=step)
            return checked(await found if inspect.isawaitable(found) else found)
        except Exception as error:  # the user's code: the rewards must not depend on it
            return f"{type(error).__name__}: {error}"

    async def aclose(self) -> None:
        """It has nothing open."""


async def ask_all(
    proposer: Proposer, groups: Sequence[Group], *, step: int, most: int, journal: Journal | None
) -> list[Answer]:
    """One answer a group, in their order; those of the journal are not asked for again."""

    async def ask(group: Group) -> Answer:
        key = key_of(group, step=step, proposer=proposer.name, most=most)
        known = None if journal is None else journal.find(key)
        if known is not None:
            return known
        answer = await proposer.propose(group, most, step)
        if journal is not None:
            journal.keep(key, group.row, step, answer)
        return answer

    asked: list[Awaitable[Answer]] = [ask(group) for group in groups]
    return list(await asyncio.gather(*asked))
