"""Holds the rules: criteria in words, each with a pure function that decides it, and edits that make it true or false.

A rule belongs to a family, and a family to one half: what a judge learned on the rules of `train` is tested on other
families in `held_out`.

Guarantees: `holds` reads the response alone, and its word is the label. An edit is an attempt; whatever it did, `holds`
decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from labelled import checks, edits
from labelled import text as texts
from labelled.topics import Half, Topic

Place = Literal["anywhere", "start", "end", "structure", "case", "language", "wrap"]
"""What of a response an edit takes for itself: two rules of one rubric do not share one, unless it is `anywhere`."""
STAGES: tuple[Place, ...] = ("language", "anywhere", "end", "structure", "case", "start", "wrap")
"""The order in which edits are made, so that none undoes another without need."""
ONE_OF = frozenset({"structure", "wrap"})
"""A rubric has a rule of one of these: a list inside a JSON text is read by some as a list and by others not."""
BESIDE_LANGUAGES = frozenset({"language", "structure", "case", "wrap"})
"""Edits beside a translation: the others insert English, and then it would be open which language a text is in."""
Option = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """`says` is the criterion with places for the option, `denies` its contrary. `options` gives what may stand in the
    places for a topic and a question; `holds(response, *option)` decides whether `says` is true. `make`
    and `unmake` edit a response towards true and false."""

    name: str
    family: str
    half: Half
    place: Place
    says: str
    denies: str
    holds: Callable[..., bool]
    make: Callable[..., str]
    unmake: Callable[..., str]
    options: Callable[[Topic, str], Sequence[Option]]


def _always(topic: Topic, question: str) -> Sequence[Option]:
    return [()]


def _of(*values: Any) -> Callable[[Topic, str], Sequence[Option]]:
    return lambda topic, question: [(value,) for value in values]


def _words(topic: Topic, question: str) -> Sequence[Option]:
    return [(word,) for word in topic.words]


def _pairs(topic: Topic, question: str) -> Sequence[Option]:
    return [(one, other) for one in topic.words for other in topic.words if one != other]


def _sentence_options(topic: Topic, question: str) -> Sequence[Option]:
    return [(number,) for number in (2, 3, 4, 5)]


def _question(topic: Topic, question: str) -> Sequence[Option]:
    return [(question,)]


def _word_options(topic: Topic, question: str) -> Sequence[Option]:
    return [(number,) for number in (20, 30, 40, 50, 60)]


LANGUAGES = ("Spanish", "French", "German")


def _languages(topic: Topic, question: str) -> Sequence[Option]:
    return [(name, topic.languages[name]) for name in LANGUAGES]


# name, family, place, says, denies, holds, make, unmake, options
_TRAIN: tuple[tuple[Any, ...], ...] = (
    ("word", "mention", "anywhere", 'Mentions the word "{0}".', 'Does not mention the word "{0}".',
     checks.mentions, edits.with_word, texts.without_word, _words),
    ("first word", "beginning", "start", 'Begins with the word "{0}".', 'Begins with another word than "{0}".',
     checks.begins, edits.prefixes("{0}, "), edits.same, _of("Sure", "Well", "Honestly", "Indeed")),
    ("question first", "repetition of the question", "start", "Repeats the question word for word at its beginning.",
     "Does not begin with the words of the question.", checks.repeats, edits.prefixes("{0} "), edits.same, _question),
    ("heading", "heading", "start", 'Begins with a heading that is marked with "#".', 'Has no heading with "#".',
     partial(checks.has, r"^# "), edits.prefixes("# Answer\n\n"), edits.same, _always),
    ("bullet points", "bullet points", "structure", "Has bullet points.", "Has no bullet points.",
     partial(checks.has, r"(?m)^\s*[-*•] "), edits.bullets, edits.no_bullets, _always),
    ("exclamation mark", "punctuation", "anywhere", "Contains an exclamation mark.", "Has no exclamation mark.",
     partial(checks.has, "!"), edits.shout, edits.replaces("!", "."), _always),
    ("comma", "punctuation", "anywhere", "Contains a comma.", "Is written without any comma.",
     partial(checks.has, ","), edits.inserts(", of course"), edits.replaces(",", ""), _always),
    ("semicolon", "punctuation", "anywhere", "Contains a semicolon.", "Has no semicolon.",
     partial(checks.has, ";"), edits.inserts("; that is all"), edits.replaces(";", ","), _always),
    ("parentheses", "parentheses", "anywhere", "Has a remark in parentheses.", "Has no parentheses.",
     partial(checks.has, r"\([^()]+\)"), edits.inserts(" (as most people know)"),
     edits.replaces(r"\s*\([^()]*\)", ""), _always),
    ("closing question", "questions", "end", "Contains a question mark.", "Has no question mark.",
     partial(checks.has, r"\?"), edits.appends("Does that help?"), edits.replaces(r"\?", "."), _always),
    ("postscript", "postscript", "end", 'Has a postscript that begins with "P.S.".', "Has no postscript.",
     partial(checks.has, r"(?i)p\.s\."), edits.appends("P.S. Take your time."), edits.same, _always),
    ("sentences", "number of sentences", "anywhere", "Has at least {0} sentences.", "Has fewer than {0} sentences.",
     lambda text, number: texts.count_sentences(text) >= number, partial(edits.longer, texts.count_sentences),
     edits.first_sentences, _sentence_options),
    ("capitals", "capital letters", "case", "Is written in capital letters throughout.",
     "Is not written in capital letters throughout.", checks.capitals, lambda text: text.upper(), edits.same, _always),
    ("digits", "numbers", "anywhere", "Contains a number in digits.", "Contains no digits.",
     partial(checks.has, r"\d"), edits.appends("Plan 15 minutes for it."), edits.replaces(r"\d+", "some"), _always),
    ("you", "form of address", "anywhere", 'Uses the word "you".', 'Does not use the word "you".',
     lambda text: checks.mentions(text, "you"), edits.appends("This is up to you."), edits.no_you, _always),
    ("bold", "bold", "anywhere", "Marks a word as bold with two asterisks on each side.", "Marks no word as bold.",
     partial(checks.has, r"\*\*[^*]+\*\*"), edits.bold, edits.replaces(r"\*\*", ""), _always),
)  # fmt: skip
_HELD_OUT: tuple[tuple[Any, ...], ...] = (
    ("both words", "several words", "anywhere", 'Mentions both "{0}" and "{1}".', 'Lacks "{0}" or "{1}", or both.',
     checks.both, lambda text, one, other: edits.with_word(edits.with_word(text, one), other),
     lambda text, one, other: texts.without_word(text, other), _pairs),
    ("either word", "several words", "anywhere", 'Mentions "{0}" or "{1}".', 'Mentions neither "{0}" nor "{1}".',
     checks.either, lambda text, one, other: edits.with_word(text, one), texts.without_word, _pairs),
    ("order", "order", "anywhere", 'Mentions "{0}" and, later on, "{1}".',
     'Does not mention "{0}" before "{1}".', checks.in_order, edits.ordered,
     lambda text, one, other: edits.ordered(text, other, one), _pairs),
    ("last words", "ending", "end", 'Ends with the words "{0}".', 'Ends with other words than "{0}".',
     checks.ends, edits.appends("{0}."), edits.same, _of("Good luck", "That is all", "Have fun")),
    ("signature", "signature", "end", "Is signed by {0} at the end.", "Is not signed by {0}.",
     checks.ends, edits.appends("Yours, {0}"), edits.same, _of("Anna", "Tom", "Maria")),
    ("numbered steps", "numbered list", "structure", 'Has numbered steps, the first of which begins with "1.".',
     "Has no numbered steps.",
     partial(checks.has, r"(?m)^\s*1[.)] "), edits.numbered, edits.no_numbers, _always),
    ("paragraphs", "paragraphs", "structure", "Has two or more paragraphs with an empty line between them.",
     "Has no empty line between two parts.", partial(checks.has, r"\S\s*\n\s*\n\s*\S"),
     edits.paragraphs, edits.replaces(r"\s*\n\s*", " "), _always),
    ("words", "number of words", "anywhere", "Has more than {0} words.", "Has at most {0} words.",
     lambda text, number: len(texts.words(text)) > number,
     lambda text, number: edits.longer(lambda one: len(texts.words(one)), text, number + 1),
     edits.few_words, _word_options),
    ("small letters", "small letters", "case", "Has no capital letters.", "Has at least one capital letter.",
     checks.lower, lambda text: text.lower(), edits.same, _always),
    ("quotation marks", "quotation marks", "wrap", "Stands as a whole in double quotation marks.",
     "Does not stand as a whole in quotation marks.", checks.quoted, lambda text: f'"{text}"', edits.same, _always),
    ("JSON", "JSON", "wrap", 'Is a JSON object with the key "answer".', "Is not a JSON object.",
     checks.is_json, edits.as_json, edits.same, _always),
    ("language", "language", "language", "Is written in {0}.", "Is written in another language than {0}.",
     lambda text, name, translation: checks.language(text) == name, edits.in_language, edits.same, _languages),
    ("repeated word", "repeated word", "anywhere", 'Uses the word "{0}" three times or more.',
     'Uses the word "{0}" at most twice.', checks.often, edits.say_often, texts.without_word, _words),
    ("thanks", "thanks", "start", "Thanks the reader in its first sentence.", "Does not begin with thanks.",
     checks.thanks, edits.prefixes("Thank you for the question. "), edits.same, _always),
    ("placeholder", "placeholder", "anywhere", "Contains a placeholder in square brackets, such as [name].",
     "Contains no square brackets.",
     partial(checks.has, r"\[[^\[\]]+\]"), edits.inserts(" [see page]"), edits.same, _always),
)  # fmt: skip


def _rule(half: Half, row: tuple[Any, ...]) -> Rule:
    name, family, place, says, denies, holds, make, unmake, options = row
    return Rule(name, family, half, place, says, denies, holds, make, unmake, options)


RULES: tuple[Rule, ...] = (
    *(_rule("train", row) for row in _TRAIN),
    *(_rule("held_out", row) for row in _HELD_OUT),
)
