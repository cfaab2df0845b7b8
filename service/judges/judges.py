"""Holds the judges of one deployment: one without a name, or those that a file names.

Guarantees: a request is judged by the judge that it names, the first one where it names none, or is refused; the
deployment is ready while every required judge can judge, and says which of their members cannot.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from service.errors import InvalidRequest, Unavailable
from service.judges.judge import ScoringJudge


class EngineJudge(Protocol):
    """What runs an engine has a queue, which drains."""

    @property
    def load_tokens(self) -> int: ...

    async def drain(self, grace_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Deployed:
    """A judge that a request may name. `kind` is an engine's name or a composition's; `below` are the members of a
    composition."""

    name: str
    kind: str
    judge: ScoringJudge
    rule: Mapping[str, str] | None = None
    required: bool = False
    below: tuple["Deployed", ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.below)

    @property
    def down(self) -> list[tuple[str, str]]:
        """The members that cannot judge now, each with the reason."""
        found = ((one.name, one.judge.unavailable_reason) for one in self.below)
        return [(name, reason) for name, reason in found if reason is not None]


class Judges:
    """`default` judges where a request names none; `deployed` are by name, and empty where the one judge has none."""

    def __init__(
        self, default: ScoringJudge, engines: Sequence[EngineJudge], deployed: Sequence[Deployed] = ()
    ) -> None:
        self._default = default
        self._engines = engines
        self.deployed = {one.name: one for one in deployed}
        self._required = [one for one in deployed if one.required]

    def named(self, name: str | None = None) -> ScoringJudge:
        """Raises InvalidRequest where there is no such judge, Unavailable where it cannot judge now."""
        found = self._default if name is None else self._found(name)
        if (reason := found.unavailable_reason) is not None:
            raise Unavailable(reason if name is None else f"judge `{name}`: {reason}")
        return found

    def _found(self, name: str) -> ScoringJudge:
        if (found := self.deployed.get(name)) is not None:
            return found.judge
        if not self.deployed:
            message = "this deployment has one judge, which has no name; leave `judge` out"
        else:
            near = get_close_matches(name, list(self.deployed), n=1)
            instead = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(self.deployed)}"
            message = f"this deployment has no judge of this name; {instead}"
        raise InvalidRequest(message, ((("judge",), message),))

    @property
    def unavailable_reason(self) -> str | None:
        """Why a required judge cannot judge now; None when all can."""
        if not self._required:
            return self._default.unavailable_reason
        for one in self._required:
            if (reason := one.judge.unavailable_reason) is not None:
                return f"judge `{one.name}`: {reason}"
        return None

    @property
    def refuses_all(self) -> str | None:
        """Why no request at all can be judged now; None when some can."""
        reason = self._default.unavailable_reason
        if reason is None or any(one.judge.unavailable_reason is None for one in self.deployed.values()):
            return None
        return reason

    @property
    def degraded(self) -> list[str]:
        """Which judges cannot judge now, while the deployment is ready."""
        found = ((one.name, one.judge.unavailable_reason) for one in self.deployed.values())
        return [f"judge `{name}`: {reason}" for name, reason in found if reason is not None]

    @property
    def dead(self) -> bool:
        """Nothing, or not what is required, will be judged any more in this process."""
        if not self._required:
            return self._default.dead
        return any(one.judge.dead for one in self._required)

    @property
    def load_tokens(self) -> int:
        """Tokens that wait in the queues, and tokens at the engines."""
        return sum(engine.load_tokens for engine in self._engines)

    async def drain(self, grace_s: float) -> None:
        """Refuses new work, finishes what was accepted; what is left after `grace_s` ends as cancelled."""
        await asyncio.gather(*(engine.drain(grace_s) for engine in self._engines))
