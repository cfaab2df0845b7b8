"""Tells an explanation that a judge wrote from an echo of what it was shown, and from a phrase over and over. Pure.

Guarantees: a text with words of its own in it is an explanation, however much it quotes; one without any is none.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from service.rubrics.rubric import Candidate

_LABELS = ("yes", "no", "true", "false", "not", "met", "unmet")
# Scripts without spaces between words have a word a character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_UNBROKEN = re.compile(r"\w+")
_EXAMPLE = re.compile(r'"explanation"\s*:\s*"([^"]*)"')
_SENTENCE = re.compile(r'[.:!?"\n]+')
_RUN = 4
"""So many words in the order of a source are taken from it; fewer are anybody's."""
_LONG_COPY = 20
"""A copy of so many words is one, however long its source. A shorter one is evidence, unless it is half of it."""
_LOOPED = 24
_FRESH = 0.4
"""In a text of at least `_LOOPED` words, such a share of the runs of three words is not there twice."""

Words = tuple[str, ...]


@dataclass(frozen=True)
class TemplateWords:
    """What a judge may copy of its own template: the sentences of the text, and the examples of an explanation."""

    text: str

    @cached_property
    def sentences(self) -> tuple[Words, ...]:
        found = (words_of(sentence) for sentence in _SENTENCE.split(self.text))
        return tuple(dict.fromkeys(words for words in found if len(words) >= _RUN))

    @cached_property
    def examples(self) -> tuple[Words, ...]:
        return tuple(dict.fromkeys(words for each in _EXAMPLE.findall(self.text) if len(words := words_of(each)) > 1))


def why_no_explanation(
    explanation: str, labels: Sequence[str], candidate: Candidate, template: TemplateWords
) -> str | None:
    """What the text is instead of an explanation; None where it is one. `labels` are those of the judge."""
    words = words_of(explanation)
    label = _label_words(tuple(labels))
    if all(label.fullmatch(word) for word in _UNBROKEN.findall(explanation.casefold())):
        return "the judge repeated the labels where its explanation belongs, or explained nothing"
    if _loops(words):
        return "the judge repeated itself where its explanation belongs"
    if any(words[: len(example)] == example for example in template.examples):
        return "the judge repeated the example of an explanation in its instructions"
    if any(is_copy(words, sentence) for sentence in template.sentences):
        return "the judge repeated its instructions where its explanation belongs"
    if any(is_copy(words, words_of(text)) for criterion in candidate.criteria for text in criterion.shown):
        return "the judge repeated a criterion where its explanation belongs"
    # A copy begins with words that stand in its source side by side; a search for these costs little in a long text.
    opening = re.compile(r"\W*".join(map(re.escape, words[:_RUN])))
    if any(opening.search(text.casefold()) and is_copy(words, words_of(text)) for text in _shown(candidate)):
        return "the judge copied the conversation or the response where its explanation belongs"
    return None


def words_of(text: str) -> Words:
    return tuple(_WORD.findall(text.casefold()))


def is_copy(words: Words, source: Words) -> bool:
    """Whether these are the source's words: all of them, or all but single words here and there. A word of one's own at
    the beginning, or two in a row, make another text of it ("The response says ...")."""
    if words == source:
        return bool(words)
    if len(words) < _RUN or len(source) < _RUN:
        return False
    taken = _taken(words, source)
    own = len(words) - sum(taken)
    if not taken[0] or own > len(words) / 5 or any(not a and not b for a, b in itertools.pairwise(taken)):
        return False
    return len(words) >= _LONG_COPY or 2 * (len(words) - own) >= len(source)


def _taken(words: Words, source: Words) -> list[bool]:
    """For each word whether it stands in a run of `_RUN` words that the source has, too."""
    wanted: dict[Words, list[int]] = {}
    for start in range(len(words) - _RUN + 1):
        wanted.setdefault(words[start : start + _RUN], []).append(start)
    taken = [False] * len(words)
    for run in zip(*(source[shift:] for shift in range(_RUN)), strict=False):
        for start in wanted.get(run, ()):
            taken[start : start + _RUN] = [True] * _RUN
    return taken


def _loops(words: Words) -> bool:
    if len(words) < _LOOPED:
        return False
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(runs)) < _FRESH * len(runs)


def _shown(candidate: Candidate) -> Iterable[str]:
    yield candidate.response
    yield from (turn.content for turn in candidate.trajectory)
    yield from (turn.content for turn in candidate.turns)
    if candidate.reference is not None:
        yield candidate.reference


@lru_cache(maxsize=64)
def _label_words(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Labels one after the other, which a judge that has learned nothing else writes, also without blanks."""
    known = "|".join(re.escape(label.strip().casefold()) for label in (*_LABELS, *labels) if label.strip())
    return re.compile(f"(?:{known})+")
