"""A judge whose errors are declared: it knows the truth, and errs on purpose so that it agrees with it as far as asked.

`agreement` is the correlation of its reward with the exact one, over answers to the same question. What errs depends on
how the judge is asked, as it does with judges that people use:

- verdicts: each is turned with the same chance, each by itself;
- one rating by the rubric: the exact reward, and noise;
- one rating without a rubric: the judge knows some of what is right for a topic and not the rest, and no noise;
- one rating against a reference answer: all that the reference says counts alike, nothing else counts, and noise.

Guarantees: The same answer is judged alike every time. The agreement is measured on answers that are made for that, and
the rate of errors is found by it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from random import Random
from statistics import mean
from typing import Any, Literal

from miniature.experiment.exact_service import JUDGE, item_result, texts_of, usage, verdict
from miniature.world.cases import QUESTIONS
from miniature.world.clinic import ITEMS, Topic, key_items, rubric
from miniature.world.oracle import named, reward, steps
from miniature.world.responses import Response, Step, plain_text
from miniature.world.tasks import topics
from trainer_client import wire

Form = Literal["verdicts", "rating", "alone", "reference"]
_STEP = 9.0
"""From the least to the best rating, 1 to 10."""
_ANSWERS = 40


def turned(text: str, response: str, rate: float) -> bool:
    """The verdict on the criterion with this text, wrong with the chance `rate`."""
    return _verdict(text, response) != (_chance("verdict", text, response) < rate)


def by_verdicts(topic: Topic, response: str, rate: float) -> float:
    """HealthBench's formula over the topic's rubric."""
    criteria = rubric(topic)
    positive = sum(one.points for one in criteria if one.points > 0)
    return sum(one.points for one in criteria if turned(one.text, response, rate)) / positive


def by_rating(topic: Topic, response: str, noise: float) -> float:
    """The exact reward in 0..1 with so much noise (its standard deviation)."""
    return _noisy("rating", topic, response, _exact(topic, response), noise)


def alone(topic: Topic, response: str, unknown: float) -> float:
    """The reward in 0..1 by what a judge knows that has not heard of the share `unknown` of the items."""
    known = [one for one in rubric(topic) if one.item is None or _chance("known", topic.name, one.item.id) >= unknown]
    positive = sum(one.points for one in known if one.points > 0)
    return _bounded(sum(one.points for one in known if _verdict(one.text, response)) / positive)


def by_reference(topic: Topic, response: str, noise: float) -> float:
    """The share, in 0..1, of the key items that the response says and of naming the problem, with noise."""
    said = {step.item for step in steps(response) if not step.negated}
    shares = [item in said for item in key_items(topic)] + [topic in named(response)]
    return _noisy("reference", topic, response, mean(shares), noise)


FORMS: Mapping[Form, Callable[[Topic, str, float], float]] = {
    "verdicts": by_verdicts,
    "rating": by_rating,
    "alone": alone,
    "reference": by_reference,
}
_MOST_ERRORS: Mapping[Form, float] = {"verdicts": 0.5, "rating": 8.0, "alone": 1.0, "reference": 8.0}


@dataclass(frozen=True, slots=True)
class Erring:
    """How much a judge errs in one form so that it agrees with the truth as asked, and how far it then does."""

    form: Form
    errors: float
    agreement: float


@cache
def erring(form: Form, wanted: float) -> Erring:
    """The least errors with which the agreement is at most `wanted`: found by halving, 14 times."""
    least, most = 0.0, _MOST_ERRORS[form]
    if agreement(form, least) <= wanted:
        return Erring(form, least, agreement(form, least))
    for _ in range(14):
        middle = (least + most) / 2
        least, most = (middle, most) if agreement(form, middle) > wanted else (least, middle)
    return Erring(form, most, agreement(form, most))


def agreement(form: Form, errors: float) -> float:
    """The correlation with the exact reward, over answers to the same question."""
    found: list[float] = []
    exact: list[float] = []
    for topic, responses in _answers():
        found += _centred([FORMS[form](topic, one, errors) for one in responses])
        exact += _centred([_exact(topic, one) for one in responses])
    return _cosine(found, exact)


@cache
def _answers() -> Sequence[tuple[Topic, Sequence[str]]]:
    """Plain answers to the topics that are trained on, with none to all of the key items and up to three others."""
    random = Random("answers for the agreement")
    return [(topic, [_answer(topic, random) for _ in range(_ANSWERS)]) for topic in topics("train")]


def _answer(topic: Topic, random: Random) -> str:
    items = list(key_items(topic))
    said = random.sample(items, random.randint(0, len(items)))
    said += random.sample([item for item in ITEMS if item not in items], random.randint(0, 3))
    random.shuffle(said)
    return plain_text(Response(topic if random.random() < 0.7 else None, tuple(map(Step, said))))


def answer(request: Mapping[str, Any], agreement: float) -> dict[str, Any]:
    """The response to a scoring request in mode `verdict`, `implicit` or `likert`."""
    asked = wire.ScoreRequest.model_validate(request)
    results: list[dict[str, Any]] = []
    for index, item in enumerate(asked.items):
        for id, text in zip(item.result_ids(index), texts_of(item), strict=True):
            results.append(_result(id, item, text, asked.mode, agreement))
    judge = {**JUDGE, "mode": asked.mode, "fingerprint": f"exact but for errors: it agrees to {agreement:g}"}
    return {"id": "erring", "judge": judge, "results": results, "usage": usage(results)}


def _result(id: str, item: wire.Item, text: str, mode: str, wanted: float) -> dict[str, Any]:
    if mode == "verdict":
        rate = erring("verdicts", wanted).errors
        return item_result(id, item, text, partial(turned, rate=rate))
    form: Form = "rating" if mode == "implicit" else "alone" if item.reference is None else "reference"
    value = FORMS[form](_topic(item), text, erring(form, wanted).errors)
    rating = 1 + _STEP * value
    own = {"id": "rating", "status": "ok", "met": None, "p": None, "p_raw": None, "label_mass": None}
    return {
        "id": id,
        "status": "ok",
        "score": value,
        "score_bounds": [value, value],
        "coverage": 1.0,
        "criteria": [{**own, "points": 1.0, "source": "judge"}],
        "rating": {"expected": rating, "most_likely": round(rating), "normalised": value},
    }


@cache
def _questions() -> Mapping[str, Topic]:
    asked = [(topic, wording) for topic in (*topics("train"), *topics("held-out")) for wording in QUESTIONS]
    return {
        wording.format(name=topic.name, part=topic.part, complaint=topic.complaint): topic for topic, wording in asked
    }


def _topic(item: wire.Item) -> Topic:
    """The topic that is asked about. Raises KeyError for a question of another world."""
    turns = item.prompt if isinstance(item.prompt, str) else str(item.prompt[-1].content)
    return _questions()[turns]


def _noisy(form: str, topic: Topic, response: str, value: float, noise: float) -> float:
    return _bounded(_bounded(value) + noise * _gauss(form, topic.name, response))


# Kept, since every trial of a rate asks for the same ones.
_verdict = cache(verdict)


@cache
def _exact(topic: Topic, response: str) -> float:
    return reward(rubric(topic), response)


@cache
def _gauss(*said: str) -> float:
    """From a normal distribution, and the same for the same words."""
    return Random("/".join(said)).gauss(0.0, 1.0)


@cache
def _chance(*said: str) -> float:
    """Equally likely in 0..1, and the same for the same words."""
    return Random("/".join(said)).random()


def _bounded(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _centred(values: Sequence[float]) -> list[float]:
    middle = mean(values)
    return [value - middle for value in values]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    sizes = sum(value**2 for value in one) * sum(value**2 for value in other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / sizes**0.5 if sizes else 0.0
