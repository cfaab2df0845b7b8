"""The modes, layouts and prompts that one judge serves, and why it does not serve the others. Pure.

Guarantees: a request is judged in the mode, layout and prompt that it names, or refused with what is served instead;
nothing else takes their place.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Generic, Literal, NamedTuple, Protocol, Self

from typing_extensions import TypeVar

from service.errors import InvalidRequest
from service.modes.fingerprint import JudgeIdentity
from service.modes.modes import JudgingMode
from service.prompting.wording import Wording

PROMPTED = ("verdict", "rubricd")
"""The mode and layout whose prompt may be chosen. The others have one each."""
COMPARED = ("compare", "rubricd")
"""The mode and layout of two responses at once, which scores nothing."""


Batch = Literal["all"]


class Way(NamedTuple):
    """`prompt` is the name of the prompt, None where mode and layout have one only. `batch` is "all" where the criteria
    of a response are answered in one document, None where each is asked by itself."""

    mode: str
    layout: str
    prompt: str | None = None
    batch: Batch | None = None

    @property
    def described(self) -> str:
        prompt = "" if self.prompt is None else f", prompt `{self.prompt}`"
        batch = "" if self.batch is None else f", `batch: {self.batch}`"
        return f"mode `{self.mode}`, layout `{self.layout}`{prompt}{batch}"


BATCHED = Way("reasoned", "rubricd", batch="all")
"""All criteria of a response are answered in one document."""


class Served(Protocol):
    """A way in which a judge is asked, a composition's as an engine's."""

    @property
    def judge(self) -> JudgeIdentity: ...


M = TypeVar("M", bound=Served, default=JudgingMode)


class JudgingModes(Mapping[tuple[str, str], M], Generic[M]):
    """By mode and layout, in the default prompt. `ways` has those in every prompt, the default way first; `refused` has
    reasons by way, `wordings` the prompts by name, the default one first; a composition has none, since each of its
    members has a default of its own. `label_mass` is what the labels held on a
    canary at the start, where that was tried."""

    def __init__(
        self,
        ways: Mapping[Way, M],
        wordings: Mapping[str, Wording],
        refused: Mapping[Way, str],
        label_mass: Mapping[Way, float] = MappingProxyType({}),
    ) -> None:
        self.default_prompt = next(iter(wordings), None)
        self.ways = ways
        self.wordings = wordings
        self.refused = refused
        self.label_mass = label_mass

    def __getitem__(self, key: tuple[str, str]) -> M:
        return self.ways[self._way(*key, None)]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        found = ((way.mode, way.layout) for way in self.ways)
        return (key for key in dict.fromkeys(found) if self._way(*key, None) in self.ways)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def first(self) -> M:
        """The default way, or the first one that is served where the default is not."""
        return next(iter(self.ways.values()))

    def replaced(self, ways: Mapping[Way, M]) -> Self:
        """With other modes in the same ways."""
        return type(self)(ways, self.wordings, self.refused, self.label_mass)

    def without(self, refused: Mapping[Way, str], label_mass: Mapping[Way, float] = MappingProxyType({})) -> Self:
        """The others, and the reasons of these."""
        left = {way: mode for way, mode in self.ways.items() if way not in refused}
        return type(self)(left, self.wordings, {**self.refused, **refused}, {**self.label_mass, **label_mass})

    def choose(self, mode: str, layout: str, prompt: str | None, batch: Batch | None = None) -> M:
        """`prompt` is the default one where None. Raises InvalidRequest where this judge does not serve that."""
        way = self._way(mode, layout, prompt, batch)
        if (found := self.ways.get(way)) is not None:
            return found
        if (mode, layout) not in self:  # which is why, whatever the batch
            way = self._way(mode, layout, prompt)
        layouts = list(dict.fromkeys(one.layout for one in self.ways if one.mode == mode))
        prompts = [one.prompt for one in self.ways if one[:2] == way[:2] and one.prompt is not None]
        if way.batch is not None:
            place, named = "batch", f"`batch: {batch}` in mode `{mode}`, layout `{layout}`"
            instead = "leave `batch` out, and each criterion is asked by itself"
        elif prompts:
            place, named = "judge_prompt", f"prompt `{way.prompt}`"
            instead = f"name another one as `judge_prompt`: {', '.join(prompts)}"
        elif layouts:
            place, named = "layout", f"layout `{layout}` in mode `{mode}`"
            instead = f"it serves {', '.join(layouts)}"
        else:
            place, named = "mode", f"mode `{mode}`"
            instead = f"it serves {', '.join(dict.fromkeys(one.mode for one in self.ways if one[:2] != COMPARED))}"
        reason = f" ({self.refused[way]})" if way in self.refused else ""
        message = f"this judge does not serve {named}{reason}; {instead}"
        raise InvalidRequest(message, (((place,), message),))

    def _way(self, mode: str, layout: str, prompt: str | None, batch: Batch | None = None) -> Way:
        return Way(mode, layout, (prompt or self.default_prompt) if (mode, layout) == PROMPTED else None, batch)
