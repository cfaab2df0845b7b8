"""Breaks a response as a policy does that a reward pushes: words lost, doubled, mixed up, cut, glued, or piled up.

A judge that has read whole sentences alone takes "Eat peas." for "Use frozen peas.", and a policy that is trained on
its verdicts finds that within a hundred steps.

Guarantees: A pure function of the text and of `random`. What the broken text still says is the oracle's to read.
"""

from collections.abc import Callable
from functools import cache
from random import Random

from miniature.world.clinic import ITEMS, Item
from miniature.world.oracle import steps

Words = list[str]
_MOST_WORDS = 60


def broken(text: str, random: Random) -> str:
    """The text with one to four faults; one time in twenty words without an order instead."""
    if random.random() < 1 / 20:
        return _salad(random)
    words = text.split(" ")
    # A policy makes the same fault again and again, or any.
    kinds = random.choices(_FAULTS, _WEIGHTS, k=random.choice((1, 1, 2, 3)))
    for _ in range(random.choice((1, 1, 2, 2, 3, 4))):
        random.choice(kinds)(words, random)
    return " ".join(word for word in words[:_MOST_WORDS] if word)


def half_said(text: str) -> tuple[Item, ...]:
    """The items that the text has a word of, one that no other item has, and does not advise."""
    said = {step.item for step in steps(text) if not step.negated}
    words = dict.fromkeys(_bare(word) for word in text.split())
    items = dict.fromkeys(_items_by_word()[word] for word in words if word in _items_by_word())
    return tuple(item for item in items if item not in said)


@cache
def _items_by_word() -> dict[str, Item]:
    """The words that only one item has, with that item."""
    owners: dict[str, set[Item]] = {}
    for item in ITEMS:
        for word in {word.lower() for phrase in item.phrases for word in phrase.split(" ")}:
            owners.setdefault(word, set()).add(item)
    return {word: next(iter(own)) for word, own in owners.items() if len(own) == 1}


@cache
def _vocabulary() -> tuple[str, ...]:
    return tuple(sorted({word for item in ITEMS for phrase in item.phrases for word in phrase.split(" ")}))


def _bare(word: str) -> str:
    return word.strip("-*.!?:;,0123456789)").lower()


def _place(words: Words, random: Random) -> int:
    return random.randrange(len(words)) if words else 0


def _starts(words: Words) -> list[int]:
    """Where a step's words can begin: behind its number, a full stop or a colon, but not before a number."""
    numbers = {at - 1 for at, word in enumerate(words) if word.rstrip(".").isdigit()}
    ends = (at for at, word in enumerate(words) if word.endswith((".", ":")) and at not in numbers)
    return [0, *(at + 1 for at in ends)]


def _drop(words: Words, random: Random) -> None:
    """Loses a word, and the end of the sentence where the word has it half of the time."""
    at = _place(words, random)
    gone = words[at : at + 1]
    words[at : at + 1] = []
    if gone and at and gone[0].endswith(".") and random.random() < 0.7:
        words[at - 1] = f"{words[at - 1].rstrip('.')}."


def _double(words: Words, random: Random) -> None:
    at = _place(words, random)
    words[at:at] = words[at : at + random.randint(1, 5)]


def _stutter(words: Words, random: Random) -> None:
    """Doubles the first word of a step."""
    at = random.choice(_starts(words))
    words[at:at] = words[at : at + 1]


def _begin_twice(words: Words, random: Random) -> None:
    """Begins a step with another item's first word or two."""
    at = random.choice(_starts(words))
    first = random.choice(random.choice(ITEMS).phrases).split(" ")[: random.randint(1, 2)]
    words[at:at] = [first[0].capitalize(), *first[1:]]


def _empty(words: Words, random: Random) -> None:
    """Leaves a step's number with full stops, or its last word."""
    at = random.choice(_starts(words))
    end = next((n for n in range(at, len(words)) if words[n].endswith(".")), len(words))
    kept = words[end : end + 1] if random.random() < 0.5 else []
    words[at : end + 1] = kept
    if at and words[at - 1].rstrip(".").isdigit():
        words[at - 1] += random.choice(("", ".", "..", "..."))


def _exchange(words: Words, random: Random) -> None:
    """Two words change places; what ends a sentence stays where it was."""
    if len(words) < 2:
        return
    one, other = random.sample(range(len(words)), 2)
    first, second = words[one], words[other]
    words[one], words[other] = _ended_as(second, first), _ended_as(first, second)


def _replace(words: Words, random: Random) -> None:
    if words:
        at = _place(words, random)
        words[at] = _ended_as(random.choice(_vocabulary()), words[at])


def _insert(words: Words, random: Random) -> None:
    at = _place(words, random)
    word = random.choice(_vocabulary())
    words[at:at] = [word.capitalize() if random.random() < 0.4 else word]


def _cut(words: Words, random: Random) -> None:
    """Leaves the beginning or the end of a word."""
    at = _place(words, random)
    word = words[at] if words else ""
    bare = word.rstrip(".")
    if len(bare) > 2:
        k = random.randint(1, len(bare) - 1)
        words[at] = (bare[:k] if random.random() < 0.6 else bare[k:]) + word[len(bare) :]


def _glue(words: Words, random: Random) -> None:
    at = _place(words, random)
    words[at : at + 2] = ["".join(words[at : at + 2])]


def _unend(words: Words, random: Random) -> None:
    """Loses the end of a sentence, so that two steps are one piece."""
    ends = [at for at, word in enumerate(words) if word.endswith(".") and not word.rstrip(".").isdigit()]
    if ends:
        at = random.choice(ends)
        words[at] = words[at].rstrip(".")


def _unnumber(words: Words, random: Random) -> None:
    """Loses a step's number, or makes it another."""
    numbers = [at for at, word in enumerate(words) if word.rstrip(".").isdigit()]
    if numbers:
        at = random.choice(numbers)
        bare = words[at].rstrip(".")
        words[at] = random.choice(("", f"{random.randint(1, 9)}.", bare, bare, f"{bare}.."))


def _cross(words: Words, random: Random) -> None:
    """Puts in a step that begins as one item and ends as another."""
    first, second = (random.choice(item.phrases).split(" ") for item in random.sample(ITEMS, 2))
    head, tail = first[: random.randint(1, len(first))], second[-random.randint(1, len(second)) :]
    made = [*head, *tail]
    made[0] = made[0].capitalize()
    if random.random() < 0.3:
        made[len(head)] = made[len(head)].capitalize()
    at = random.choice(_starts(words))
    words[at:at] = [*made[:-1], f"{made[-1]}."]


def _cross_over(words: Words, random: Random) -> None:
    """Gives one of the text's own steps the end of an item."""
    ends = [at for at, word in enumerate(words) if word.endswith(".") and not word.rstrip(".").isdigit()]
    if ends:
        at = random.choice(ends)
        tail = random.choice(random.choice(ITEMS).phrases).split(" ")[-random.randint(1, 2) :]
        words[at : at + 1] = [*tail[:-1], f"{tail[-1]}."]


def _end_early(words: Words, random: Random) -> None:
    if len(words) > 4:
        del words[random.randint(4, len(words)) :]


def _pile_up(words: Words, random: Random) -> None:
    """Repeats a piece of the text again and again."""
    at = _place(words, random)
    piece = words[at : at + random.randint(1, 7)]
    words[at:at] = piece * random.randint(1, 5)


def _salad(random: Random) -> str:
    words = [random.choice(_vocabulary()) for _ in range(random.randint(3, 30))]
    return " ".join(
        f"{n}. {word.capitalize()}" if random.random() < 0.2 else f"{word}." if random.random() < 0.2 else word
        for n, word in enumerate(words)
    )


def _ended_as(word: str, like: str) -> str:
    """The word, with the other's full stop and capital letter."""
    bare = word.rstrip(".:")
    if like[:1].isupper():
        bare = bare[:1].upper() + bare[1:]
    return bare + like[len(like.rstrip(".:")) :]


_CHANCES: dict[Callable[[Words, Random], None], float] = {
    _drop: 4,
    _double: 1.5,
    _stutter: 6,
    _begin_twice: 4,
    _empty: 3,
    _exchange: 2,
    _replace: 3,
    _insert: 2,
    _cut: 2,
    _glue: 0.7,
    _unend: 1.5,
    _unnumber: 4,
    _cross: 3,
    _cross_over: 3,
    _end_early: 0.7,
    _pile_up: 1,
}
_FAULTS, _WEIGHTS = tuple(_CHANCES), tuple(_CHANCES.values())
