"""Reads the option of a graded criterion, pass by pass: by label, or behind the reasons that a judge wrote. Pure.

Guarantees: what was read so far decides the next query, so that whoever runs the steps may stop between any two.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from service.engine.base import LabelLogprobs, LabelQuery, Prompt
from service.errors import InvalidRequest
from service.modes.explanation import TemplateWords
from service.modes.extraction import ExtractReading
from service.modes.fingerprint import JudgeIdentity
from service.modes.level_labels import LevelLabels, read_levels, read_levels_in_two
from service.rubrics.levels import LevelVerdict
from service.rubrics.rubric import Criterion

OPTION_KEY = ', "option": "'
"""What stands in a written document between its explanation and its option."""


@dataclass(frozen=True, slots=True)
class LevelReading:
    """How this judge is asked for options: its labels, and, in mode `reasoned`, the template's words that explain
    nothing. `judge` names the prompt."""

    judge: JudgeIdentity
    labels: LevelLabels
    template: TemplateWords | None = None

    def next_query(self, prompt: Prompt, options: int, read: Sequence[LabelLogprobs]) -> LabelQuery | LevelVerdict:
        """The next pass, or the verdict that all passes make. Raises Unparseable."""
        if not read:
            return LabelQuery(prompt, self.labels.first_ids(options))
        if not self.labels.in_two_steps(options):
            return read_levels(read[0], options)
        letters, done = self.labels.first_ids(options), len(read) - 1
        if done < len(letters):
            behind = replace(prompt, own=(*prompt.own, letters[done]))
            return LabelQuery(behind, self.labels.digits_behind(done, options))
        return read_levels_in_two(read[0], read[1:], options)


@dataclass(frozen=True, slots=True)
class Readings:
    """What a mode can be asked for besides a verdict. `why_not` has the reasons of what it cannot, by the criterion's
    field."""

    levels: LevelReading | None = None
    extraction: ExtractReading | None = None
    why_not: tuple[tuple[str, str], ...] = ()

    @property
    def most_options(self) -> int:
        """So many options can be told apart, 0 where none are read."""
        return 0 if self.levels is None else self.levels.labels.most

    def check(self, criterion: Criterion) -> None:
        """Raises InvalidRequest for a criterion that this judge cannot be asked about in this mode and layout."""
        if criterion.graded and self.levels is not None:
            most = self.levels.labels.most
            if len(criterion.options) > most:
                raise InvalidRequest(
                    f"criterion `{criterion.id}` has {len(criterion.options)} choices; this judge tells {most} apart"
                )
        elif criterion.graded or (criterion.extraction is not None and self.extraction is None):
            field = "extract" if criterion.extraction is not None else "levels" if criterion.ordered else "choices"
            reason = dict(self.why_not).get(
                "extract" if field == "extract" else "levels", "no prompt asks for them here"
            )
            raise InvalidRequest(
                f"criterion `{criterion.id}` has `{field}`, which this judge does not read in this mode and layout: "
                f"{reason}; give a criterion that is met or not, or name another judge"
            )


NO_READINGS = Readings()


@lru_cache(maxsize=256)
def option_schema(explanation_chars: int, names: tuple[str, ...]) -> str:
    """The JSON schema of a written option: an explanation of at most so many characters, then the option's name."""
    return json.dumps(
        {
            "type": "object",
            "properties": {
                "explanation": {"type": "string", "maxLength": explanation_chars},
                "option": {"enum": list(names)},
            },
            "required": ["explanation", "option"],
            "additionalProperties": False,
        },
        separators=(",", ":"),
    )
