"""The world of the miniature: a walk-in clinic whose right answers are known because they were made up.

A topic is a complaint and a part of the body ("a stiff neck"). Each complaint and each part owns two pieces of advice,
so a topic has four key items that nobody can guess from the words and that a topic never seen can still be answered by.
Nothing in here is medical advice.

Guarantees: Everything is a pure function of the tables below. No two items share a phrase. Every phrase of an item
holds one word that no other item has (the "tea" of "drink ginger tea"), so that an item can be told by a word. What the
clinic calls a problem is spelt otherwise than in a patient's own words. This makes the world easy on purpose: a judge
of less than a million parameters, trained for minutes, must be able to be right in it.
"""

import zlib
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["item", "names", "at_least", "more_than"]

COMPLAINTS = ("stiff", "sore", "swollen", "itchy", "numb", "burning", "bruised", "dry")
PARTS = ("neck", "knee", "back", "shoulder", "wrist", "ankle", "elbow", "foot")

# Every phrase of a class is an imperative that can stand after "do not".
_CLASSES: tuple[tuple[tuple[str, str, str], tuple[str, ...]], ...] = (
    (
        ("drink {}", "have a cup of {}", "sip some {}"),
        ("ginger tea", "warm milk", "lemon water", "apple juice", "bone broth", "tomato soup", "hot cocoa"),
    ),
    (
        ("eat {}", "have a bowl of {}", "add {} to your meals"),
        ("spinach", "oily fish", "plain yoghurt", "oats", "walnuts", "blueberries", "lentils"),
    ),
    (
        ("cut out {}", "give up {}", "stay away from {}"),
        ("dairy", "sugar", "wheat", "red meat", "salt", "fried food", "chocolate"),
    ),
    (
        ("take {}", "buy some {}", "start on {} in the morning"),
        ("zinc", "iron", "calcium", "magnesium", "garlic", "turmeric", "aspirin"),
    ),
    (
        ("apply {}", "rub in {}", "spread some {} on it"),
        ("aloe gel", "menthol cream", "coconut oil", "arnica", "oat paste", "honey", "calamine"),
    ),
    (
        ("use {}", "hold {} against it", "put {} on it"),
        ("an ice pack", "a heat pad", "a wet towel", "a warm compress", "frozen peas", "a hot bottle", "a clay mask"),
    ),
    (
        ("wear {}", "put on {}", "sleep in {}"),
        ("a brace", "soft shoes", "a loose sleeve", "wool socks", "thin gloves", "a sling", "a support belt"),
    ),
    (
        ("do {}", "practise {}", "spend ten minutes on {}"),
        ("yoga", "slow stretches", "deep breathing", "heel raises", "wall push-ups", "leg swings", "arm circles"),
    ),
    (
        ("go {}", "try {}", "take up {} again"),
        ("swimming", "cycling", "rowing", "dancing", "walking", "skating", "hiking"),
    ),
    (
        ("ask for {}", "book {}", "arrange {} soon"),
        ("an eye exam", "a blood test", "an X-ray", "a bone scan", "a massage", "a biopsy", "an ultrasound"),
    ),
    (
        ("see {}", "visit {}", "talk to {} today"),
        ("a physiotherapist", "a dentist", "a surgeon", "a nurse", "a chiropractor", "a dietitian", "a pharmacist"),
    ),
    (
        ("stop {}", "take a break from {}", "pause {} for now"),
        ("running", "lifting weights", "typing", "smoking", "driving", "gardening", "climbing"),
    ),
)

_GENERIC = (
    ("ignore the pain", "pay no attention to the pain"),
    ("lift heavy boxes", "carry boxes around"),
    ("borrow pills from a friend", "use the pills of a friend"),
    ("skip the next meal", "leave out a meal"),
    ("stay in bed for a week", "spend a week in bed"),
    ("double the dose", "take twice the dose"),
    ("wait for a month", "let a month go by"),
    ("search the web", "look it up on the web"),
    ("pop the blister", "open the blister"),
    ("hold your breath", "keep your breath in"),
    ("sleep on the floor", "spend the night on the floor"),
    ("cancel the appointment", "call the appointment off"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of advice. The first phrase is the one that criteria use; the others say the same."""

    id: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    complaint: str
    part: str

    @property
    def name(self) -> str:
        article = "an" if self.complaint[0] in "aeiou" else "a"
        return f"{article} {self.complaint} {self.part}"

    @property
    def title(self) -> str:
        """Returns what the clinic calls it. Patients say "a stiff neck", the clinic and its rubrics say "Stiff
        Neck"."""
        return f"{self.complaint} {self.part}".title()


@dataclass(frozen=True, slots=True)
class Criterion:
    """One statement about a response, with what it means: an item, a topic or a number, whichever `kind` needs."""

    kind: Kind
    points: float
    item: Item | None = None
    topic: Topic | None = None
    number: int = 0

    @property
    def id(self) -> str:
        match self.kind:
            case "item":
                return f"item-{self.item.id}" if self.item else ""
            case "names":
                return f"names-{self.topic.complaint}-{self.topic.part}" if self.topic else ""
            case _:
                return f"{self.kind.replace('_', '-')}-{self.number}"

    @property
    def text(self) -> str:
        match self.kind:
            case "item":
                return f"Tells the user to {self.item.phrases[0]}." if self.item else ""
            case "names":
                return f"Names the problem as {self.topic.title}." if self.topic else ""
            case "at_least":
                return f"Gives at least {NUMBERS[self.number]} steps."
            case "more_than":
                return f"Gives more than {NUMBERS[self.number]} steps."


NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


def _slug(phrase: str) -> str:
    return phrase.lower().replace(" ", "-")


KEY_ITEMS: tuple[Item, ...] = tuple(
    Item(id=_slug(phrases[0].format(object)), phrases=tuple(phrase.format(object) for phrase in phrases))
    for phrases, objects in _CLASSES
    for object in objects
)
GENERIC_ITEMS: tuple[Item, ...] = tuple(Item(id=_slug(phrases[0]), phrases=phrases) for phrases in _GENERIC)
ITEMS: tuple[Item, ...] = KEY_ITEMS + GENERIC_ITEMS
TOPICS: tuple[Topic, ...] = tuple(Topic(complaint, part) for complaint in COMPLAINTS for part in PARTS)


def _owned(factor: int) -> tuple[Item, Item]:
    # 37 has no factor in common with the number of key items, so no two factors own the same one, and neighbours in the
    # tables do not go together.
    first, second = (37 * (2 * factor + n) % len(KEY_ITEMS) for n in (0, 1))
    return KEY_ITEMS[first], KEY_ITEMS[second]


def _number(text: str) -> int:
    """A fixed pseudo-random number; `hash` differs from process to process."""
    return zlib.crc32(text.encode())


@cache
def key_items(topic: Topic) -> tuple[Item, ...]:
    """The four items that are right for the topic: two of its complaint, two of its part."""
    complaint, part = COMPLAINTS.index(topic.complaint), PARTS.index(topic.part)
    return (*_owned(complaint), *_owned(len(COMPLAINTS) + part))


@cache
def forbidden_item(topic: Topic) -> Item:
    return GENERIC_ITEMS[_number(f"forbidden {topic.name}") % len(GENERIC_ITEMS)]


@cache
def rubric(topic: Topic) -> tuple[Criterion, ...]:
    """The topic's eight criteria: four key items, a forbidden one, naming the problem, enough steps, too many steps."""

    def points(what: str, low: int, high: int) -> float:
        return float(low + _number(f"{what} {topic.name}") % (high - low + 1))

    keys = [Criterion("item", points(item.id, 4, 9), item=item) for item in key_items(topic)]
    return (
        *keys,
        Criterion("item", -points("forbidden", 3, 6), item=forbidden_item(topic)),
        Criterion("names", points("names", 1, 3), topic=topic),
        Criterion("at_least", points("enough", 1, 3), number=4),
        Criterion("more_than", -8.0, number=6),
    )


@cache
def held_out(topic: Topic, item: Item) -> bool:
    """Returns whether the judge's training never shows this item with this topic, neither in a response nor in a
    criterion."""
    return _number(f"held out {topic.name} {item.id}") % 4 == 0
