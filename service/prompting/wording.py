"""Loads the judge's prompts for mode `verdict` from small TOML files: instructions, questions and examples.

Guarantees: a prompt that loads has both labels in its question, once each, no place that is unknown, and texts within
bounds; the question, which every criterion pays for, is short. What is wrong with a file is one sentence that names the
file and the field.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from service.errors import ConfigurationError

DEFAULT_PROMPT = "question"
Reading = Literal["single", "opposite"]

_SHIPPED = Path(__file__).parent / "templates" / "prompts"
_SUFFIX = ".toml"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PLACE = re.compile(r"<<(.*?)>>", re.DOTALL)
_MET, _UNMET = "met", "unmet"
_MOST_EXAMPLES = 16

_Line = Annotated[str, msgspec.Meta(max_length=200)]
_Question = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
_Text = Annotated[str, msgspec.Meta(max_length=8_000)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worked example: the user's message, the response to it, a criterion, and whether the response meets it."""

    prompt: _Text
    response: _Text
    criterion: _Text
    met: bool


class Wording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One prompt. `instructions` stand before everything and `question` after the criterion; `opposite` asks whether
    the criterion is false. `opening` begins the answer, and may be empty. `labels` are the words for met and unmet,
    those of the setting `labels` where None. `examples` are chat turns before the material. With `reading` `opposite`
    both questions are asked, and both answers make the verdict."""

    instructions: _Text
    question: _Question
    description: _Line
    opposite: _Question | None = None
    opening: _Line = "Answer:"
    labels: tuple[_Word, _Word] | None = None
    reading: Reading = "single"
    examples: Annotated[tuple[Example, ...], msgspec.Meta(max_length=_MOST_EXAMPLES)] = ()
    name: str = ""

    def in_words(self, labels: tuple[str, str]) -> "Wording":
        """The prompt with its labels, by default these, put into its texts."""
        labels = self.labels or labels
        words = {_MET: labels[0], _UNMET: labels[1]}

        def filled(text: str) -> str:
            return _PLACE.sub(lambda place: words[place[1]], text.strip())

        return msgspec.structs.replace(
            self,
            labels=labels,
            instructions=filled(self.instructions),
            question=filled(self.question),
            opposite=None if self.opposite is None else filled(self.opposite),
        )


def prompts_for(choice: str) -> Mapping[str, Wording]:
    """The shipped prompts by name, and the one of a file where `choice` is a file's path; the chosen one is first.
    Raises ConfigurationError where it is neither, or the file is no prompt."""
    shipped = {wording.name: wording for wording in _shipped()}
    if choice in shipped:
        return {choice: shipped[choice]} | shipped
    file = Path(choice)
    if not file.is_file():
        known = ", ".join(shipped)
        raise ConfigurationError(f"`prompt`: {choice} is no file and no prompt of ours ({known}); name one of them")
    if file.stem in shipped:
        raise ConfigurationError(f"`prompt`: one of ours has the name of the file {choice}; rename the file")
    own = read_prompt(file)
    return {own.name: own} | shipped


def shipped_prompt(name: str = DEFAULT_PROMPT) -> Wording:
    """The prompt of ours with this name."""
    return next(wording for wording in _shipped() if wording.name == name)


@cache
def _shipped() -> tuple[Wording, ...]:
    """The default first."""
    names = sorted(
        (file.stem for file in _SHIPPED.glob(f"*{_SUFFIX}")), key=lambda name: (name != DEFAULT_PROMPT, name)
    )
    return tuple(read_prompt(_SHIPPED / f"{name}{_SUFFIX}") for name in names)


def read_prompt(file: Path) -> Wording:
    """The prompt in a file, under the name of the file. Raises ConfigurationError."""
    try:
        if file.suffix != _SUFFIX or not _NAME.fullmatch(file.stem):
            raise ValueError(f"name it like my_prompt{_SUFFIX}, in small letters, digits and _")
        read = msgspec.toml.decode(file.read_text(encoding="utf-8"), type=Wording)
        if read.name:
            raise ValueError("`name` is that of the file; leave it out")
        wording = msgspec.structs.replace(read, name=file.stem)
        _check(wording)
    except (OSError, ValueError) as error:  # msgspec's and the TOML reader's errors are ValueErrors
        raise ConfigurationError(f"`prompt`: {file} is no prompt: {error}") from error
    return wording


def _check(wording: Wording) -> None:
    """Raises ValueError."""
    for field, text in _texts(wording):
        places = _PLACE.findall(text)
        asks = field != "instructions"
        if unknown := [place for place in places if place not in (_MET, _UNMET)]:
            raise ValueError(f"`{field}` has an unknown place <<{unknown[0]}>>; known: <<{_MET}>>, <<{_UNMET}>>")
        if any(places.count(place) != 1 for place in (_MET, _UNMET)) and (asks or len(set(places)) != len(places)):
            raise ValueError(f"`{field}` needs <<{_MET}>> and <<{_UNMET}>>, each once")
        if not text.strip():
            raise ValueError(f"`{field}` is empty")
    if wording.reading == "opposite" and wording.opposite is None:
        raise ValueError("reading `opposite` needs the question `opposite`")
    if wording.labels is not None and wording.labels[0].strip() == wording.labels[1].strip():
        raise ValueError("`labels` are two different words")


def _texts(wording: Wording) -> Iterator[tuple[str, str]]:
    yield "instructions", wording.instructions
    yield "question", wording.question
    if wording.opposite is not None:
        yield "opposite", wording.opposite
