"""Joins to a mode how one judge reads levels and extracts values, as far as its tokenizer can carry that.

Guarantees: the mode's own prompts and fingerprint stay as they are. What this judge cannot read is left out, and the
reason is kept for whoever asks for it.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cached_property

from service.engine.base import EngineIdentity
from service.errors import ConfigurationError
from service.modes.explanation import TemplateWords
from service.modes.extraction import MAX_TOKENS, ExtractReading
from service.modes.fingerprint import JudgeIdentity, name_judge
from service.modes.level_labels import DIGITS, FEWEST, LETTERS, LevelLabels, level_labels
from service.modes.level_reading import OPTION_KEY, LevelReading, Readings
from service.modes.modes import JudgingMode, ReasonedMode, VerdictMode
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import ChatTokenizer, Segmenter
from service.settings import ModeSettings

RUBRICD = "rubricd"
"""The layout that has prompts for this: the published graders' have none."""
_ALL = [f"{letter}{digit}" for letter in LETTERS for digit in DIGITS]
_LEARNED = "this judge has learned its two labels alone"

Mode = VerdictMode | ReasonedMode
Read = tuple[LevelReading, Renderer]


def levels_if_readable(mode: JudgingMode, check_labels: Callable[[tuple[int, ...]], None]) -> JudgingMode:
    """The mode without levels where the engine cannot read their labels."""
    if not isinstance(mode, VerdictMode | ReasonedMode) or mode.readings.levels is None:
        return mode
    labels = mode.readings.levels.labels
    try:
        check_labels((*labels.letter_ids, *labels.digit_ids))
    except ConfigurationError as error:
        readings = replace(mode.readings, levels=None, why_not=(*mode.readings.why_not, ("levels", str(error))))
        left = {name: one for name, one in mode.judge.readings.items() if name != "levels"}
        return replace(mode, readings=readings, judge=replace(mode.judge, readings=left, most_options=0))
    return mode


class GradedModes:
    """Of one judge. Each prompt is made when a mode needs it, once."""

    def __init__(
        self,
        identity: EngineIdentity,
        segmenter: Segmenter,
        tokenizer: ChatTokenizer,
        settings: ModeSettings,
        unserved: Collection[str],
    ) -> None:
        self._identity = identity
        self._segmenter = segmenter
        self._tokenizer = tokenizer
        self._settings = settings
        self._unserved = unserved

    def joined_to(self, mode: Mode, *, writes: bool) -> Mode:
        """`writes` says whether the judge serves what it must write for: a value is written as a document."""
        levels = self._reasoned_levels if isinstance(mode, ReasonedMode) else self._levels
        extraction = self._extraction if writes else "it does not serve mode `reasoned`, in which a judge writes"
        found = {"levels": levels, "extract": extraction}
        readings = Readings(
            levels=None if isinstance(levels, str) else levels[0],
            extraction=None if isinstance(extraction, str) else extraction[0],
            why_not=tuple((name, one) for name, one in found.items() if isinstance(one, str)),
        )
        renderer = mode.renderer.asking_more(
            None if isinstance(levels, str) else levels[1], None if isinstance(extraction, str) else extraction[1]
        )
        fingerprints = {name: one[0].judge.fingerprint for name, one in found.items() if not isinstance(one, str)}
        judge = replace(mode.judge, readings=fingerprints, most_options=readings.most_options)
        return replace(mode, renderer=renderer, readings=readings, judge=judge)

    @cached_property
    def _levels(self) -> Read | str:
        def find(renderer: Renderer) -> LevelLabels:
            return level_labels(renderer.behind_tail(LETTERS), renderer.behind_tail(_ALL))

        # Where the label stands is chosen so that all of these letters are tokens there.
        return (
            self._read("levels", find, LETTERS) if self._all_letters else self._read("levels", find, LETTERS[:FEWEST])
        )

    @cached_property
    def _all_letters(self) -> bool:
        try:
            self._renderer("levels", LETTERS).label_ids(LETTERS, settable=False)
        except ConfigurationError:
            return False
        return True

    @cached_property
    def _reasoned_levels(self) -> Read | str:
        return self._read(
            "reasoned_levels",
            lambda renderer: level_labels(
                renderer.ids_behind(OPTION_KEY, LETTERS), renderer.ids_behind(OPTION_KEY, _ALL)
            ),
        )

    def _read(self, mode: str, find: Callable[[Renderer], LevelLabels], placed: tuple[str, ...] = ()) -> Read | str:
        """The reading and its renderer, or why there is none."""
        if "levels" in self._unserved:
            return _LEARNED
        try:
            renderer = self._renderer(mode, placed)
            labels = find(renderer)
        except ConfigurationError as error:
            return str(error)
        settings = self._settings
        written = {"reasoned_tokens": str(settings.reasoned_tokens), "explanation": str(settings.explanation_chars)}
        judge = self._named(renderer, mode, labels, written if mode == "reasoned_levels" else {})
        renderer.name_options, renderer.marker = labels.names, judge.fingerprint
        template = TemplateWords("\n".join(renderer.skeleton.fixed_text))
        return LevelReading(judge, labels, template if mode == "reasoned_levels" else None), renderer

    @cached_property
    def _extraction(self) -> tuple[ExtractReading, Renderer] | str:
        if "extract" in self._unserved:
            return _LEARNED
        try:
            renderer = self._renderer("extract")
        except ConfigurationError as error:
            return str(error)
        # The reference answer most often says which value is right, and a judge that has read it writes that.
        judge = self._named(renderer, "extract", None, {"tokens": str(MAX_TOKENS), "reference": "left out"})
        renderer.marker, renderer.reads_references = judge.fingerprint, False
        return ExtractReading(judge), renderer

    def _renderer(self, mode: str, placed: tuple[str, ...] = ()) -> Renderer:
        """`placed` are the labels that the prompt's end is chosen for. Raises ConfigurationError where the judge's chat
        template cannot carry the prompt."""
        skeleton = build_skeleton(self._tokenizer, RUBRICD, mode, arguments=self._settings.chat_template_kwargs)
        return Renderer(self._segmenter, replace(skeleton, labels=placed) if placed else skeleton)

    def _named(
        self, renderer: Renderer, mode: str, labels: LevelLabels | None, decoding: dict[str, str]
    ) -> JudgeIdentity:
        ids = () if labels is None else (*labels.letter_ids, *labels.digit_ids)
        names = () if labels is None else (*LETTERS[: len(labels.letter_ids)], *DIGITS[: len(labels.digit_ids)])
        return name_judge(
            self._identity,
            renderer.skeleton,
            mode=mode,
            labels=names,
            label_ids=ids,
            mass_floor=self._settings.label_mass_floor,
            decoding=decoding,
        )
