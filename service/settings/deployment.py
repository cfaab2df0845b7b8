"""The judges of one deployment, as `judges.yaml` names them: engines with their settings, and compositions of them.

Guarantees: a name stands for one judge, every member is a judge of the same file, and no judge is made of itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from service.settings.floor import Floor
from service.settings.judge import EngineSettings, ModeSettings

JudgeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
PanelRule = Literal["mean", "majority", "unanimous"]
Language = Literal["en", "de", "fr", "es", "it", "pt", "nl", "ja", "ko", "zh", "ru", "el", "he", "ar", "hi", "th"]
MOST_MEMBERS = 16


KEYS = ("remote_key", "decisions_key", "chat_key")
"""Settings that are secret: a file names the variables that hold them."""


class EngineJudge(ModeSettings, EngineSettings):
    """A judge that an engine of this service runs. Its fields are the service's settings of these names; one that is
    left out has the service's own value."""

    remote_key_env: str | None = Field(
        default=None, min_length=1, description="The environment variable that holds this judge's `remote_key`."
    )
    chat_key_env: str | None = Field(
        default=None, min_length=1, description="The environment variable that holds this judge's `chat_key`."
    )
    decisions_key_env: str | None = Field(
        default=None, min_length=1, description="The environment variable that holds this judge's `decisions_key`."
    )

    @model_validator(mode="before")
    @classmethod
    def _no_key(cls, data: Any) -> Any:
        given = [key for key in KEYS if isinstance(data, Mapping) and key in data]
        if given:
            raise ValueError(f"a key does not belong in this file: name its environment variable as `{given[0]}_env`")
        return data

    @property
    def members(self) -> tuple[str, ...]:
        return ()


class RubricdJudge(Floor):
    """A judge of another rubricd, which has caches, queues and quotas of its own."""

    engine: Literal["rubricd"] = Field(description="Says that the judge is another service's.")
    url: str = Field(description="The other rubricd's address, such as `http://judge.example:8000`.")
    judge: JudgeName | None = Field(default=None, description="Its judge there; that service's first one if not set.")
    key_env: str | None = Field(
        default=None, min_length=1, description="The environment variable that holds the key of a team there."
    )
    expect_judge: str | None = Field(
        default=None, min_length=1, description="The fingerprint that the judge must have at the start."
    )
    timeout_s: float = Field(
        default=120.0, gt=0, description="So many seconds may pass without anything of an answer, in seconds."
    )

    @property
    def members(self) -> tuple[str, ...]:
        return ()


class Panel(Floor):
    """Several judges are asked each criterion, and a rule makes one verdict of theirs."""

    panel: list[JudgeName] = Field(
        min_length=2, max_length=MOST_MEMBERS, description="The members, by name. Each is asked every criterion."
    )
    rule: PanelRule = Field(
        default="mean",
        description="P(met) of the panel: the members' `mean`; their median (`majority`, since as many are above it as "
        "below); or with `unanimous` their least for positive points and their greatest for negative ones, so that "
        "credit needs all of them and a penalty one.",
    )
    quorum: int | None = Field(
        default=None,
        gt=0,
        description="A criterion has a verdict where at least so many members gave one. All of them if not set.",
    )

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.panel)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(set(self.panel)) < len(self.panel):
            raise ValueError("a member stands twice in this panel, which would count its verdict twice; name it once")
        if self.quorum is not None and self.quorum > len(self.panel):
            raise ValueError(f"`quorum` is {self.quorum}, and the panel has {len(self.panel)} members; lower it")
        return self


class Route(Floor):
    """Criteria that fulfil all conditions go to this judge."""

    judge: JudgeName = Field(description="The judge of these criteria.")
    tag: str | None = Field(
        default=None,
        min_length=1,
        description="The criterion has this tag: `key:value`, or `key` with any value.",
    )
    language: Language | None = Field(default=None, description="The user's turns are in this language.")
    longer_than: int | None = Field(default=None, ge=0, description="The conversation has more characters than this.")

    @model_validator(mode="after")
    def _conditional(self) -> Self:
        if self.tag is None and self.language is None and self.longer_than is None:
            raise ValueError("a route needs a condition: `tag`, `language` or `longer_than`; `default` has none")
        return self

    def covers(self, other: "Route") -> bool:
        """Whether it is fulfilled wherever the other one is."""
        key, has_value, _ = (self.tag or "").partition(":")
        tag = self.tag in (None, other.tag) or (not has_value and (other.tag or "").partition(":")[0] == key)
        longer = self.longer_than is None or (other.longer_than is not None and other.longer_than >= self.longer_than)
        return tag and longer and self.language in (None, other.language)


class Routed(Floor):
    """Each criterion goes to one judge: that of the first route which it fulfils, else the default."""

    routed: list[Route] = Field(min_length=1, max_length=64, description="The first one that is fulfilled decides.")
    default: JudgeName = Field(description="The judge of what fulfils no route.")

    @model_validator(mode="after")
    def _each_decides(self) -> Self:
        for n, route in enumerate(self.routed):
            before = next((m for m, other in enumerate(self.routed[:n]) if other.covers(route)), None)
            if before is not None:
                raise ValueError(
                    f"route {n + 1} decides nothing: route {before + 1} is fulfilled wherever it is; put it before "
                    "that one, or leave it out"
                )
        return self

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*(route.judge for route in self.routed), self.default]))


class Cascade(Floor):
    """Judges are asked one after the other: the next one is asked where the one before it is unsure."""

    cascade: list[JudgeName] = Field(
        min_length=2, max_length=4, description="The members, by name, in the order of the plan: the cheapest first."
    )
    plan: Path = Field(description="The plan file that `rubricd cascade plan` wrote for these judges.")
    failures: Literal["next", "stand"] = Field(
        default="next",
        description="Where a judge fails, the `next` one is asked, or its failure `stand`s, so that the load on a dear "
        "judge does not grow when a cheap one dies. Abstentions go on in either case.",
    )

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.cascade)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.cascade)) < len(self.cascade):
            raise ValueError("a member stands twice in this cascade; name each judge once")
        return self


class Shadow(Floor):
    """A judge judges, and a share of its judgements is afterwards also asked of a second one, its shadow."""

    shadow: JudgeName = Field(description="The second judge: its verdicts are in no score.")
    of: JudgeName = Field(description="The judge that judges: answers and fingerprint are its own.")
    share: float = Field(gt=0, le=1, description="The share of the responses that the shadow is asked about, too.")

    @property
    def members(self) -> tuple[str, ...]:
        return (self.of, self.shadow)

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.of == self.shadow:
            raise ValueError("a judge is no shadow of itself; name another one as `shadow`")
        return self


Composition = Panel | Routed | Cascade
COMPOSITIONS = ("panel", "routed", "cascade", "shadow")
"""The field that makes an entry a composition has the composition's name."""


def _kind(entry: Any) -> str:
    if isinstance(entry, Mapping):
        kind = next((kind for kind in COMPOSITIONS if kind in entry), "engine")
        return "rubricd" if kind == "engine" and entry.get("engine") == "rubricd" else kind
    if isinstance(entry, RubricdJudge):
        return "rubricd"
    return next((kind for kind in COMPOSITIONS if hasattr(entry, kind)), "engine")


JudgeEntry = Annotated[
    Annotated[EngineJudge, Tag("engine")]
    | Annotated[RubricdJudge, Tag("rubricd")]
    | Annotated[Panel, Tag("panel")]
    | Annotated[Routed, Tag("routed")]
    | Annotated[Cascade, Tag("cascade")]
    | Annotated[Shadow, Tag("shadow")],
    Discriminator(_kind),
]


class JudgesFile(Floor):
    """The content of `judges.yaml`. Requests that name no judge get the first one."""

    judges: dict[JudgeName, JudgeEntry] = Field(
        min_length=1, max_length=64, description="The judges by name. The first one judges where a request names none."
    )
    required: list[JudgeName] | None = Field(
        default=None,
        min_length=1,
        description="The service is ready while these can judge. Those that are a member of no other if not set.",
    )

    @property
    def must_judge(self) -> Sequence[str]:
        if self.required is not None:
            return self.required
        inside = {name for entry in self.judges.values() for name in entry.members}
        return [name for name in self.judges if name not in inside]

    def in_order(self) -> list[str]:
        """The names, members before what is made of them."""
        found: dict[str, None] = {}

        def visit(name: str) -> None:
            for member in self.judges[name].members:
                if member not in found:
                    visit(member)
            found[name] = None

        for name in self.judges:
            if name not in found:
                visit(name)
        return list(found)
