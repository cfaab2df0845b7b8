"""Names a judge by its fingerprint, a hash of every fact that can change a verdict. Pure.

Guarantees: a change of any part is a new fingerprint, and so a new judge.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from service.engine.base import EngineIdentity
from service.modes.calibration import Calibration
from service.modes.level_calibration import LevelCalibration
from service.prompting.template import Skeleton


@dataclass(frozen=True, slots=True)
class JudgeIdentity:
    """A judge in one mode, layout and prompt; the prompt's name is None where there is one only. A verdict's label mass
    below `mass_floor` is an abstention. `uncalibrated` is its fingerprint without any calibration: that of the verdicts
    which are kept. `readings` are the fingerprints of how it reads `levels`, and values to `extract`; `most_options` is
    how many levels or choices it tells apart, 0 where it reads none, and `level_calibration` that of these. `name` is
    its name in a deployment that names its judges; `members` are the judges of a composition, each with its name.
    `batch` is "all" where it answers all criteria of a response in one document."""

    identity: EngineIdentity
    mode: str
    layout: str
    prompt: str | None
    labels: tuple[str, ...]
    label_ids: tuple[int, ...]
    mass_floor: float
    fingerprint: str
    uncalibrated: str
    calibration: Calibration | None = None
    name: str | None = None
    members: tuple["JudgeIdentity", ...] = ()
    readings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    most_options: int = 0
    batch: Literal["all"] | None = None
    level_calibration: LevelCalibration | None = None

    @property
    def reading_options(self) -> "JudgeIdentity":
        """The same judge, with the fingerprint of how it reads levels and choices, which sits an exam of its own; empty
        where it reads none."""
        members = tuple(member.reading_options for member in self.members)
        return dataclasses.replace(self, fingerprint=self.readings.get("levels", ""), members=members)


def name_judge(
    identity: EngineIdentity,
    skeleton: Skeleton,
    *,
    mode: str,
    prompt: str | None = None,
    labels: tuple[str, ...],
    label_ids: tuple[int, ...],
    mass_floor: float,
    decoding: Mapping[str, str] = MappingProxyType({}),
) -> JudgeIdentity:
    """Returns the judge with its fingerprint: 16 hexadecimal digits of a SHA-256 over length-prefixed fields.

    `decoding` holds whatever else decides its verdicts: sampling settings, a schema, when it escalates.
    """
    fields = [
        *(part for name, fact in sorted(identity.facts.items()) for part in (name, fact)),
        identity.engine,
        mode,
        *skeleton.fixed_text,
        *(part for label, id in zip(labels, label_ids, strict=True) for part in (label, str(id))),
        repr(mass_floor),
        *(part for name, setting in sorted(decoding.items()) for part in (name, setting)),
    ]
    fingerprint = _digest(fields)
    return JudgeIdentity(
        identity=identity,
        mode=mode,
        layout=skeleton.name,
        prompt=prompt,
        labels=labels,
        label_ids=label_ids,
        mass_floor=mass_floor,
        fingerprint=fingerprint,
        uncalibrated=fingerprint,
    )


def name_composition(
    name: str,
    kind: str,
    rule: Mapping[str, str],
    members: Sequence[JudgeIdentity],
    *,
    way: tuple[str, str, str | None, Literal["all"] | None],
) -> JudgeIdentity:
    """The judge that a composition is, in one mode, layout and prompt; the prompt is None where each member is asked in
    its own. `rule` is how it asks its members and what it
    makes of their verdicts; their names decide nothing, so that they are no part of the fingerprint."""
    about = ["composition", kind, *(part for key, value in sorted(rule.items()) for part in (key, value))]
    facts = {"kind": kind, **rule, "members": " ".join(member.fingerprint for member in members)}
    return JudgeIdentity(
        identity=EngineIdentity(name, "", kind, facts, toy=any(member.identity.toy for member in members)),
        mode=way[0],
        layout=way[1],
        prompt=way[2],
        labels=(),
        label_ids=(),
        mass_floor=0.0,
        fingerprint=_digest([*about, *(member.fingerprint for member in members)]),
        uncalibrated=_digest([*about, *(member.uncalibrated for member in members)]),
        name=name,
        members=tuple(members),
        most_options=min((member.most_options for member in members), default=0),
        batch=way[3],
    )


def _digest(fields: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for field in fields:
        raw = field.encode("utf-8")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:16]
