"""What all compositions of judges share: their members, the ways in which they are asked, and what they are called.

Guarantees: a composition is asked in the ways that all of its members serve, and in no rating mode. It is as toy as any
member, and as proven as its least proven one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from service.errors import ConfigurationError, InvalidRequest, Later, RequestError
from service.judges.judge import Judge
from service.modes.fingerprint import JudgeIdentity, name_composition
from service.modes.served_modes import PROMPTED, JudgingModes, Way
from service.rubrics.rubric import Candidate
from service.scoring.exam.grading import Grade, Trust
from service.scoring.request import Options

MODES = ("verdict", "reasoned")
"""Those of which every answer is a judgement of one criterion."""


class Member(NamedTuple):
    name: str
    judge: Judge


@dataclass(frozen=True, slots=True)
class ComposedMode:
    """A way in which a composition is asked."""

    judge: JudgeIdentity


class Composition:
    """`rule` says how the members are asked and what becomes of their verdicts, as texts for people and for the
    fingerprint."""

    grades: Mapping[str, Grade] = MappingProxyType({})
    """A composition sits no exam: its members do."""

    def __init__(self, name: str, kind: str, rule: Mapping[str, str], members: Sequence[Member]) -> None:
        """Raises ConfigurationError where no way is served by all members."""
        self.name = name
        self.kind = kind
        self.rule = rule
        self.members = tuple(members)
        self.judging_modes = self._ways()

    @property
    def max_model_len(self) -> int:
        """Longest prompt that all members read, in tokens."""
        return min(member.judge.max_model_len for member in self.members)

    @property
    def down(self) -> list[tuple[str, str]]:
        """The members that cannot judge now, each with the reason."""
        found = ((name, judge.unavailable_reason) for name, judge in self.members)
        return [(name, reason) for name, reason in found if reason is not None]

    def trust_of(self, judge: JudgeIdentity) -> Trust:
        trusts = {member.judge.trust_of(identity) for member, identity in zip(self.members, judge.members, strict=True)}
        return "failed" if "failed" in trusts else "unproven" if "unproven" in trusts else "proven"

    def check_askable(self, candidates: Sequence[Candidate], options: Options) -> None:
        """Raises InvalidRequest for what a member cannot be asked with these options."""
        self.judging_modes.choose(*options.way)
        for name, judge in self.members:
            try:
                judge.check_askable(candidates, options)
            except InvalidRequest as error:
                raise of_member(name, error) from None

    def _ways(self) -> JudgingModes[ComposedMode]:
        found: dict[Way, ComposedMode] = {}
        refused: dict[Way, str] = {}
        for way in self._wanted():
            try:
                members = [_identity(member, way) for member in self.members]
            except InvalidRequest as error:
                refused[way] = str(error)
                continue
            identity = name_composition(self.name, self.kind, self.rule, members, way=way)
            found[way] = ComposedMode(identity)
        if not found:
            reasons = "; ".join(refused.values())
            raise ConfigurationError(f"judge `{self.name}` can be asked in no way: {reasons}")
        return JudgingModes(found, {}, refused)

    def _wanted(self) -> Iterator[Way]:
        """What any member serves, in the first one's order; without a prompt each member is asked in its own."""
        for mode, layout in dict.fromkeys(key for _, judge in self.members for key in judge.judging_modes):
            if mode in MODES:
                yield Way(mode, layout)
                if (mode, layout) == PROMPTED:
                    yield from self._more(lambda way: way[:2] == PROMPTED and way.prompt is not None)
        yield from self._more(lambda way: way.batch is not None)

    def _more(self, wanted: Callable[[Way], bool]) -> Iterator[Way]:
        ways = (way for _, judge in self.members for way in judge.judging_modes.ways)
        yield from dict.fromkeys(filter(wanted, ways))


def _identity(member: Member, way: Way) -> JudgeIdentity:
    """Raises InvalidRequest where this member does not serve the way."""
    try:
        judge: JudgeIdentity = member.judge.judging_modes.choose(*way).judge
    except InvalidRequest as error:
        raise of_member(member.name, error) from None
    return judge


def of_member(name: str, error: RequestError) -> RequestError:
    """The same error, with the member that it is about."""
    message = f"judge `{name}`: {error}"
    if isinstance(error, InvalidRequest):
        return InvalidRequest(message, error.errors)
    if isinstance(error, Later):
        return type(error)(message, error.retry_after_s)
    return error
