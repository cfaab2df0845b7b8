"""Worsens a good response by a rule, so that a judge can be asked which of the two is better. Pure.

Guarantees: the same response, kind, seed and name give the same result. A kind that would leave the response as it is
gives none.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

ResponseKind = Literal["half", "fault", "off-topic", "vague", "empty"]
RESPONSE_KINDS: tuple[ResponseKind, ...] = get_args(ResponseKind)
VAGUE = (
    "That is a good question, and I am glad that you asked it.",
    "There are many things that one could say about this.",
    "It depends on the circumstances, as these things often do.",
    "Different people see it in different ways.",
    "It is worth thinking about what matters to you.",
    "In the end there is no single answer that suits everybody.",
    "Taking some time before you decide is rarely a mistake.",
    "I hope that this helps you to move forward.",
)
"""Sentences that say nothing about any subject."""
_SENTENCE_END = re.compile(r"(?<=[.!?])[ \t]+(?=\S)|\n+")


@dataclass(frozen=True, slots=True)
class Material:
    """What a perturbation may need besides the response: the texts of faults, and the responses to other prompts."""

    faults: Sequence[str] = ()
    others: Sequence[str] = ()


def worsened(response: str, kind: ResponseKind, material: Material, *, seed: int, name: str) -> str | None:
    """The response after a perturbation; None where it cannot be done. `name` is the prompt's, so that each prompt has
    random numbers of its own."""
    made = _WAYS[kind](response, material, Random(f"{seed}/{kind}/{name}"))
    return None if made is None or made == response else made


def sentences(text: str) -> list[str]:
    """The sentences, or lines, of a text."""
    return [one.strip() for one in _SENTENCE_END.split(text) if one.strip()]


def _half(response: str, material: Material, random: Random) -> str | None:
    """Half of the sentences, rounded down, are kept, in their order. One sentence alone is cut to half of its words."""
    whole = sentences(response)
    if len(whole) < 2:
        words = response.split()
        return " ".join(words[: len(words) // 2]) if len(words) > 1 else None
    kept = sorted(random.sample(range(len(whole)), len(whole) // 2))
    return "\n".join(whole[place] for place in kept)


def _fault(response: str, material: Material, random: Random) -> str | None:
    """A sentence that says what the response must not say stands at a random place among the others."""
    if not material.faults:
        return None
    whole = sentences(response)
    whole.insert(random.randint(0, len(whole)), random.choice(material.faults))
    return "\n".join(whole)


def _off_topic(response: str, material: Material, random: Random) -> str | None:
    """The response to another prompt: of those the one that is closest in length."""
    others = [other for other in material.others if other != response]
    return min(others, key=lambda other: abs(len(other) - len(response)), default=None)


def _vague(response: str, material: Material, random: Random) -> str | None:
    """Sentences that say nothing, about as long together as the response."""
    said = ""
    for sentence in random.sample(VAGUE, len(VAGUE)):
        if said and len(said) + len(sentence) > len(response):
            break
        said = f"{said} {sentence}".strip()
    return said


def _empty(response: str, material: Material, random: Random) -> str | None:
    return ""


_WAYS: Mapping[ResponseKind, Callable[[str, Material, Random], str | None]] = {
    "half": _half,
    "fault": _fault,
    "off-topic": _off_topic,
    "vague": _vague,
    "empty": _empty,
}
