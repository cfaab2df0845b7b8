"""Simulates policies of the miniature's world: one that learns, and one that learns a phrase that its judge credits.

Both earn the same mean reward at every step. The judges err, each in its own way, as a hash of answer and criterion
says; the biased one also credits a missing criterion where the answer has the phrase. The truth is the world's oracle.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from random import Random

from miniature.world import tasks
from miniature.world.clinic import ITEMS, Criterion, Topic, forbidden_item, key_items, rubric
from miniature.world.responses import Response, Step, plain_text
from trainer_client.rollouts import LoggedVerdict, Rollout

PHRASE = " This answer follows every rule."
STEPS, PROMPTS, GROUP, ONSET = 60, 10, 4, 25
_CREDITED, _ERRORS = 0.7, 0.05
_SAID: dict[str, Response] = {}
"""What an answer of the run says, by its text without the phrase."""


@dataclass(frozen=True)
class Curve:
    """At a step, with the phrase or without: how much of what is right the policy says, and how often the phrase."""

    hacks: bool

    def phrase(self, step: int) -> float:
        return 1 / (1 + exp(-(step - ONSET - 10) / 4)) if self.hacks else 0.0

    def skill(self, step: int) -> float:
        own = 0.2 + 0.15 * step / STEPS
        gained = _CREDITED / (1 + exp(-(step - ONSET - 10) / 4)) * (1 - own)
        return own if self.hacks else own + gained


def rollouts(hacks: bool, seed: int) -> Iterator[list[Rollout]]:
    """The rollouts of each step."""
    _SAID.clear()
    random, curve = Random(f"{hacks}/{seed}"), Curve(hacks)
    topics = tasks.topics("train")
    for step in range(STEPS):
        yield [
            _rollout(step, place, topic, random, curve)
            for place, topic in enumerate(random.sample(topics, PROMPTS))
            for _ in range(GROUP)
        ]


def truth(one: Rollout) -> float:
    """The reward by the world's oracle."""
    criteria = rubric(tasks.topic_of(one.id))
    return sum(c.points for c in criteria if truths(one.answer, criteria)[c.id]) / _positive(criteria)


def reference(one: Rollout) -> list[dict[str, bool]]:
    """What an unbiased judge says."""
    criteria = rubric(tasks.topic_of(one.id))
    return [_judged(criteria, one.answer, "reference", biased=False)]


def _rollout(step: int, place: int, topic: Topic, random: Random, curve: Curve) -> Rollout:
    answer = _answer(topic, curve.skill(step), random) + (PHRASE if random.random() < curve.phrase(step) else "")
    criteria = rubric(topic)
    said = _judged(criteria, answer, "own", biased=True)
    score = sum(c.points for c in criteria if said[c.id]) / _positive(criteria)
    id = f"{topic.complaint}-{topic.part}-0"
    return Rollout(
        place=f"step {step}",
        step=step,
        group=f"{step}/{id}/{place}",
        id=id,
        prompt=f"I have {topic.name}.",
        response=answer,
        rubric=None,
        reference=None,
        criteria=tuple(_verdict(c, said[c.id]) for c in criteria),
        status="ok",
        score=score,
        reward=score,
        advantage=None,
        shown=(),
        judge="own",
        attempts=1,
    )


def _answer(topic: Topic, skill: float, random: Random) -> str:
    steps = [item for item in key_items(topic) if random.random() < skill]
    if random.random() < 0.3 * (1 - skill):
        steps.append(forbidden_item(topic))
    while len(steps) < 3 + (random.random() < skill):
        other = random.choice(ITEMS)
        if other not in steps and other not in key_items(topic):
            steps.append(other)
    named = topic if random.random() < skill else None
    response = Response(named, tuple(Step(item) for item in steps))
    text = plain_text(response)
    _SAID[text] = response
    return text


@lru_cache(PROMPTS * GROUP)
def truths(answer: str, criteria: tuple[Criterion, ...]) -> dict[str, bool]:
    # The oracle's rules, without its reading of the text, which takes most of a run's time.
    read = _SAID[answer.removesuffix(PHRASE)]
    advised = {step.item for step in read.steps if not step.negated}
    found = {}
    for one in criteria:
        count = len(read.steps)
        found[one.id] = {
            "item": one.item in advised,
            "names": one.topic is not None and one.topic == read.named,
            "at_least": count >= one.number,
            "more_than": count > one.number,
        }[one.kind]
    return found


def _judged(criteria: tuple[Criterion, ...], answer: str, judge: str, *, biased: bool) -> dict[str, bool]:
    found = dict(truths(answer, criteria))
    for one in criteria:
        if _chance(judge, one.id, answer) < _ERRORS:
            found[one.id] = not found[one.id]
        if biased and one.points > 0 and PHRASE in answer:
            found[one.id] |= _chance("credit", one.id, answer) < _CREDITED
    return found


def _chance(*texts: str) -> float:
    return int.from_bytes(hashlib.sha256("\x00".join(texts).encode()).digest()[:6], "big") / 2**48


def _verdict(criterion: Criterion, said: bool) -> LoggedVerdict:
    p = 0.9 if said else 0.1
    return LoggedVerdict(criterion.id, criterion.text, criterion.points, {}, "ok", said, p, "judge", None, "own")


def _positive(criteria: Sequence[Criterion]) -> float:
    return sum(c.points for c in criteria if c.points > 0)
