"""Responses as structure, and the ways to write one down.

Guarantees: `oracle.read(render(response))` gives the structure back. What a response says is decided before how it is
said, so every style says the same things equally often.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from miniature.world.clinic import Item, Topic

Style = Literal["inline", "numbered", "bullets", "sentences", "ordered"]
STYLES: tuple[Style, ...] = ("inline", "numbered", "bullets", "sentences", "ordered")

NEGATIONS = ("do not {}", "never {}", "you should not {}", "there is no need to {}")
LEADS = ("{}", "you should {}", "try to {}", "please {}", "it helps to {}")
ORDER = ("first, {}", "then {}", "next, {}", "after that, {}", "also {}")

NAMING = ("For {}:", "This sounds like {}.", "You have {}.", "For {}, here is what to do.")
NAMELESS = ("", "Here is what to do:", "I am sorry to hear that.", "Thank you for asking.")
CLOSINGS = ("", "", "Get well soon.", "I hope this helps.", "Come back if it gets worse.")


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of advice, to do something or (negated) not to do it. Both count as a step."""

    item: Item
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    named: Topic | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """A style says how a response is written. `plain` is the canonical wording, which a policy of this world writes."""

    style: Style = "inline"
    plain: bool = True


def render(response: Response, wording: Wording, random: Random) -> str:
    """The response as text. `random` picks the words that `wording` leaves open."""
    plain = wording.plain
    intro = _intro(response.named, random, plain)
    closing = "" if plain else random.choice(CLOSINGS)
    steps = [_sentence(step, n, wording, random) for n, step in enumerate(response.steps)]
    match wording.style:
        case "numbered":
            lines = [intro, *(f"{n}. {step}" for n, step in enumerate(steps, 1)), closing]
        case "bullets":
            lines = [intro, *(f"- {step}" for step in steps), closing]
        case "inline":
            lines = [" ".join(filter(None, [intro, *(f"{n}. {step}" for n, step in enumerate(steps, 1)), closing]))]
        case _:
            lines = [" ".join(filter(None, [intro, *steps, closing]))]
    return "\n".join(filter(None, lines))


def plain_text(response: Response) -> str:
    """The canonical way to write it: "For Stiff Neck: 1. Drink ginger tea. 2. See a nurse."."""
    return render(response, Wording(), Random(0))


def _intro(named: Topic | None, random: Random, plain: bool) -> str:
    if named is None:
        return "" if plain else random.choice(NAMELESS)
    return (NAMING[0] if plain else random.choice(NAMING)).format(named.title)


def _sentence(step: Step, n: int, wording: Wording, random: Random) -> str:
    phrase = step.item.phrases[0] if wording.plain else random.choice(step.item.phrases)
    if step.negated:
        phrase = (NEGATIONS[0] if wording.plain else random.choice(NEGATIONS)).format(phrase)
    elif wording.style == "sentences" and not wording.plain:
        phrase = random.choice(LEADS).format(phrase)
    elif wording.style == "ordered":
        phrase = (ORDER[0] if n == 0 else random.choice(ORDER[1:])).format(phrase)
    return f"{phrase[0].upper()}{phrase[1:]}."


def without(response: Response, item: Item) -> Response:
    """The response with every step about the item left out."""
    return replace(response, steps=tuple(step for step in response.steps if step.item != item))
