"""Worsens a rubric in one of the ways of the noise study, or in one that keeps its meaning, from a seed. Pure.

The kinds `inverse`, `negated`, `ambiguous`, `contradictory` and `half` are those of RuscaRL's study of noisy rubrics
(appendix D.8). `docs/guide/perturb.md` says how each is read here.

Guarantees: the same rubric, kind, seed, name and share give the same result, whatever other rubrics there are. Texts
that a rule decides are left as they are, and so are the points of criteria that are only monitored.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any, Literal, get_args

from trainer_client import wire
from trainer_client.perturbation import wording

Kind = Literal[
    "inverse",
    "negated",
    "negated_text",
    "ambiguous",
    "contradictory",
    "half",
    "shuffled",
    "shuffled_points",
    "paraphrased",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Perturbed:
    """A rubric after its perturbation. `origins` has, for each of its criteria, the place that it had in the rubric
    before, or None for one that was added."""

    rubric: wire.Rubric
    origins: tuple[int | None, ...]


def perturbed(rubric: wire.Rubric, kind: Kind, *, seed: int, name: str, share: float = SHARE) -> Perturbed:
    """The rubric after a perturbation that needs no other rubric: all but `shuffled`. `name` is the prompt's, so that
    each prompt has random numbers of its own. `share` is how many criteria are added or removed, of those there are."""
    if kind not in _WAYS:
        raise ValueError(f"`{kind}` exchanges rubrics between prompts; give them all to `shuffled`")
    return _WAYS[kind](rubric, Random(f"{seed}/{kind}/{name}"), share)


def shuffled(rubrics: Sequence[wire.Rubric], *, seed: int) -> list[int]:
    """For each rubric the place of another, different one, whose it gets. The different rubrics form one circle, so
    each is used. Raises ValueError where all are the same."""
    keys = [rubric.model_dump_json() for rubric in rubrics]
    first: dict[str, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    if len(first) < 2:
        raise ValueError("there is one rubric alone, and no other to exchange it for; give rows with different rubrics")
    circle = Random(f"{seed}/shuffled").sample(list(first), len(first))
    following = {key: first[circle[(n + 1) % len(circle)]] for n, key in enumerate(circle)}
    return [following[key] for key in keys]


def with_texts(rubric: wire.Rubric, texts: Mapping[int, str]) -> Perturbed:
    """The rubric with other texts at these places. A category that the text's beginning names is kept there."""
    return _same_places(
        [_with_text(one, texts[place]) if place in texts else one for place, one in enumerate(rubric.criteria)]
    )


def told(before: wire.Rubric, after: Perturbed) -> dict[str, Any]:
    """What was done, by place: criteria `added`, `removed` (their places before), with other `points`, other `text`."""
    pairs = [(n, origin) for n, origin in enumerate(after.origins) if origin is not None]
    criteria = after.rubric.criteria
    kept = {origin for _, origin in pairs}
    return {
        "added": [n for n, origin in enumerate(after.origins) if origin is None],
        "removed": [place for place in range(len(before.criteria)) if place not in kept],
        "points": [n for n, origin in pairs if criteria[n].worth != before.criteria[origin].worth],
        "text": [n for n, origin in pairs if criteria[n].text != before.criteria[origin].text],
    }


def _inverse(rubric: wire.Rubric, _: Random, share: float) -> Perturbed:
    """The highest points go where the lowest were, the second highest where the second lowest were, and so on."""
    places = rubric.counted()
    rising = sorted(places, key=lambda place: rubric.criteria[place].worth)
    worths = [rubric.criteria[place].worth for place in rising]
    return _with_worths(rubric, dict(zip(rising, reversed(worths), strict=True)))


def _negated(rubric: wire.Rubric, _: Random, share: float) -> Perturbed:
    return _with_worths(rubric, {place: -rubric.criteria[place].worth for place in rubric.counted()})


def _negated_text(rubric: wire.Rubric, _: Random, share: float) -> Perturbed:
    return with_texts(rubric, {place: wording.negated(rubric.criteria[place].judged_text) for place in judged(rubric)})


def _paraphrased(rubric: wire.Rubric, random: Random, share: float) -> Perturbed:
    return with_texts(
        rubric, {place: wording.reworded(rubric.criteria[place].judged_text, random) for place in judged(rubric)}
    )


def _shuffled_points(rubric: wire.Rubric, random: Random, share: float) -> Perturbed:
    places = rubric.counted()
    worths = [rubric.criteria[place].worth for place in places]
    return _with_worths(rubric, dict(zip(places, random.sample(worths, len(worths)), strict=True)))


def _half(rubric: wire.Rubric, random: Random, share: float) -> Perturbed:
    """One criterion with positive points stays, if there was one: without any there is nothing to earn."""
    criteria, total = rubric.criteria, len(rubric.criteria)
    kept = set(random.sample(range(total), max(1, total - _number(total, share))))
    wanted = [place for place in range(total) if criteria[place].worth > 0]
    if wanted and not kept & set(wanted):
        kept.remove(random.choice(sorted(kept)))
        kept.add(random.choice(wanted))
    places = sorted(kept)
    return Perturbed(wire.Rubric(criteria=[criteria[place] for place in places]), tuple(places))


def _ambiguous(rubric: wire.Rubric, random: Random, share: float) -> Perturbed:
    """Points and category are drawn from the rubric's own criteria, and the points' sign says whether a vague virtue or
    a vague fault is added."""
    models = [rubric.criteria[place] for place in rubric.counted()] or [wire.Criterion(text="t", points=1.0)]
    drawn = [random.choice(models) for _ in range(_number(len(rubric.criteria), share))]
    virtues, faults = (_endless(pool, random) for pool in (wording.VAGUE_VIRTUES, wording.VAGUE_FAULTS))
    added = [_like(one, next(virtues if one.worth > 0 else faults)) for one in drawn]
    return _with_added(rubric, added, "vague", random)


def _like(model: wire.Criterion, text: str) -> wire.Criterion:
    """A criterion with another text and with the points and the category of `model`."""
    tags = {name: value for name, value in model.tags.items() if name == "category"}
    alike = model.model_copy(update={"tags": tags, "verifier": None, "id": None})
    return _with_worth(_with_text(alike, text), model.worth)


def _contradictory(rubric: wire.Rubric, random: Random, share: float) -> Perturbed:
    """What is added asks for the opposite of a criterion, for the same points: a response cannot have both."""
    places = [place for place in judged(rubric) if rubric.criteria[place].worth]
    chosen = random.sample(places, min(len(places), _number(len(places), share)))
    added = [
        _with_worth(_with_text(one, wording.negated(one.judged_text)), one.worth)
        for one in (rubric.criteria[place] for place in sorted(chosen))
    ]
    return _with_added(rubric, added, "contrary", random)


_WAYS: Mapping[str, Callable[[wire.Rubric, Random, float], Perturbed]] = MappingProxyType(
    {
        "inverse": _inverse,
        "negated": _negated,
        "negated_text": _negated_text,
        "ambiguous": _ambiguous,
        "contradictory": _contradictory,
        "half": _half,
        "shuffled_points": _shuffled_points,
        "paraphrased": _paraphrased,
    }
)


def judged(rubric: wire.Rubric) -> list[int]:
    """The places of the criteria whose text a judge reads."""
    return [place for place, one in enumerate(rubric.criteria) if one.verifier is None]


def _number(total: int, share: float) -> int:
    """How many of `total` are changed: at least one where there is one."""
    return min(total, max(1, int(total * share + 0.5)))


def _endless(pool: Sequence[str], random: Random) -> Iterator[str]:
    while True:
        yield from random.sample(pool, len(pool))


def _with_added(rubric: wire.Rubric, added: Sequence[wire.Criterion], id: str, random: Random) -> Perturbed:
    """The rubric with further criteria at random places. They have ids where the others have."""
    named = any(one.id is not None for one in rubric.criteria)
    found: list[tuple[int | None, wire.Criterion]] = list(enumerate(rubric.criteria))
    for n, one in enumerate(added):
        own = one.model_copy(update={"id": f"{id}-{n}" if named else None})
        found.insert(random.randint(0, len(found)), (None, own))
    return Perturbed(wire.Rubric(criteria=[one for _, one in found]), tuple(origin for origin, _ in found))


def _with_worths(rubric: wire.Rubric, worths: Mapping[int, float]) -> Perturbed:
    return _same_places(
        [_with_worth(one, worths[place]) if place in worths else one for place, one in enumerate(rubric.criteria)]
    )


def _same_places(criteria: Sequence[wire.Criterion]) -> Perturbed:
    return Perturbed(wire.Rubric(criteria=list(criteria)), tuple(range(len(criteria))))


def _with_worth(one: wire.Criterion, worth: float) -> wire.Criterion:
    """Points with their own sign. A pitfall with negative points says what they mean, as readers of rows ask."""
    polarity = "negative" if worth < 0 and one.category == "pitfall" else None
    return one.model_copy(update={"points": worth, "polarity": polarity})


def _with_text(one: wire.Criterion, text: str) -> wire.Criterion:
    """The criterion with another text behind its category."""
    begins = one.text.removesuffix(one.judged_text) if one.text.endswith(one.judged_text) else ""
    return one.model_copy(update={"text": f"{begins}{text}"})
