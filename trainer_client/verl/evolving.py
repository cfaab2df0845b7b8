"""Evolves rubrics in verl, where each answer is judged alone: the one that completes its group asks for criteria.

Guarantees: criteria that are proposed from a group count from the row's next step on, for all of its members. A group
of which an answer was not judged proposes nothing, and a proposer that fails changes nothing.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from trainer_client import wire
from trainer_client.client import Outcome, Scored
from trainer_client.endpoint import ChatEndpoint
from trainer_client.live_rubrics.evolution import (
    TAG,
    Change,
    Evolution,
    Evolved,
    RowRubric,
    admitted,
    rollout_hash,
    settled,
)
from trainer_client.live_rubrics.proposer import EndpointProposer
from trainer_client.live_rubrics.proposing import Group
from trainer_client.live_rubrics.shared_folder import Heard, SharedRubrics
from trainer_client.verl.rows import PromptRow


@dataclass(frozen=True, slots=True)
class VerlEvolving:
    """Evolving rubrics of a training. All nodes must see `folder`; `url` and `model` are the proposer's, whose key is
    in the variable `token_env`."""

    folder: str
    url: str
    model: str
    token_env: str = "RUBRICD_PROPOSER_KEY"
    temperature: float = 0.7
    max_tokens: int = 1024
    timeout_s: float = 120.0
    evolution: Evolution = field(default_factory=Evolution)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "VerlEvolving":
        """From the mapping that verl's configuration holds."""
        return cls(**{**told, "evolution": Evolution(**told["evolution"])})

    @property
    def shared(self) -> SharedRubrics:
        return SharedRubrics(self.folder)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer stands: its step, member and group, and the evolved criteria by which it is judged."""

    step: int
    member: int
    group: int
    criteria: tuple[wire.Criterion, ...] = ()

    def as_json(self) -> str:
        """As an agent loop hands it on, in `extra_fields["evolving"]`."""
        criteria = [one.model_dump(mode="json") for one in self.criteria]
        return json.dumps({"step": self.step, "member": self.member, "group": self.group, "criteria": criteria})

    @classmethod
    def of(cls, text: str) -> "Place":
        told = wire.read_json(text)
        return cls(**{**told, "criteria": tuple(map(wire.Criterion.model_validate, told["criteria"]))})


_proposers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[VerlEvolving, EndpointProposer]] = WeakKeyDictionary()


async def hear(evolving: VerlEvolving, row: PromptRow, place: Place, answer: str, outcome: Outcome) -> None:
    """Takes the verdicts on one answer, and settles its group where it is the last one."""
    if not isinstance(outcome, Scored) or row.row.rubric is None:
        return
    ids = {one.id for one in place.criteria}
    met = {one.id: one.met for one in outcome.result.criteria if one.id in ids and one.met is not None}
    shared, name = evolving.shared, row.row.id
    group = await asyncio.to_thread(shared.hear, name, place.step, place.member, place.group, Heard(answer, met))
    if group is None:
        return
    before = await asyncio.to_thread(shared.before, name, place.step)
    rubric, changes = settled(before, _verdicts(group), evolving.evolution)
    told = _told(changes)
    if place.step % evolving.evolution.every == 0:
        rubric, more = await _grown(evolving, row, place, rubric, group)
        told += more
    await asyncio.to_thread(shared.keep, name, place.step, rubric, told)


def _verdicts(group: Sequence[Heard]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in group:
        for id, met in one.met.items():
            found[id].append(float(met))
    return found


async def _grown(
    evolving: VerlEvolving, row: PromptRow, place: Place, rubric: RowRubric, heard: Sequence[Heard]
) -> tuple[RowRubric, list[dict[str, Any]]]:
    own = row.row.rubric.criteria if row.row.rubric else []
    answers = tuple(one.answer for one in heard)
    criteria = tuple(one.judged_text for one in (*own, *place.criteria))
    group = Group(row.row.id, tuple(row.row.messages), criteria, answers)
    answer = await _proposer(evolving).propose(group, evolving.evolution.propose, place.step)
    if isinstance(answer, str):
        return rubric, [{"what": "failed", "why": answer}]
    origin = Evolved("", "", "positive", place.step, evolving.model, tuple(map(rollout_hash, answers)))
    grown, changes = admitted(rubric, own, answer, origin, evolving.evolution.propose)
    return grown, _told(changes)


def _proposer(evolving: VerlEvolving) -> EndpointProposer:
    made = _proposers.setdefault(asyncio.get_running_loop(), {})
    if evolving not in made:
        key = os.environ.get(evolving.token_env) or None
        endpoint = ChatEndpoint(evolving.url, evolving.model, key=key, timeout_s=evolving.timeout_s)
        made[evolving] = EndpointProposer(
            endpoint,
            temperature=evolving.temperature,
            max_tokens=evolving.max_tokens,
            timeout_s=evolving.timeout_s,
        )
    return made[evolving]


def _told(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [{"what": one.what, TAG: asdict(one.criterion)} for one in changes]
