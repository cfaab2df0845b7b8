"""Asks one judge everything that a study needs, a few questions a request.

Guarantees: equal questions are asked once. A question that the judge did not decide has a status and no number. All
answers are of one judge in each mode: the one that the service names when the study begins.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trainer_client import wire
from trainer_client.alignment.answers import Answer, Cost, Store
from trainer_client.alignment.arms import Ask
from trainer_client.client import Compared, Failed, JudgeClient, Outcome
from trainer_client.errors import BodyTooLarge, InvalidRequest
from trainer_client.http.options import CompareOptions
from trainer_client.http.retry import TRANSIENT
from trainer_client.labels.labelled import digest
from trainer_client.preferences.pairs import PreferencePair

_IN_A_REQUEST = 4
_FEWEST, _MOST = 1, 64
_SHORT_S, _LONG_S = 5.0, 60.0
"""A call has so few questions that a slow judge has answered long before the wait for a request ends: each is half as
large as one that took long, and twice as large as one that took a short time."""
_WAIT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Judge:
    """One judge of a study. `name` tells it from the others; `asked` is its name in its deployment, where it is asked
    by one."""

    name: str
    url: str
    client: JudgeClient
    info: wire.JudgeInfo
    asked: str | None = None

    def fingerprint(self, ask: Ask) -> str | None:
        """That of its mode; None where it does not serve it."""
        served = self._served(ask)
        return None if served is None else served.fingerprint

    def trust(self, ask: Ask) -> str | None:
        """`a toy`, or what its exam says; None where it does not serve the mode."""
        served = self._served(ask)
        return None if served is None else "a toy" if served.toy else served.trust

    def why_not(self, ask: Ask) -> str:
        """Why it does not serve the mode."""
        if ask.mode == "compare":
            return (self.info.compare.reason if self.info.compare is not None else None) or "an older service"
        return next(
            (one.reason for one in self.info.unserved if (one.mode, one.batch) == (ask.mode, None)),
            "it has no such mode",
        )

    def _served(self, ask: Ask) -> wire.Judge | None:
        if ask.mode == "compare":
            return None if self.info.compare is None else self.info.compare.judge
        ways = (one for one in self.info.judges if (one.mode, one.layout, one.batch) == (ask.mode, "rubricd", None))
        return next(ways, None)


@dataclass(frozen=True, slots=True)
class Question:
    """One response to be scored, or one pair to be compared."""

    key: str
    sent: wire.Item | wire.PairItem


def questions(ask: Ask, pairs: Iterable[PreferencePair]) -> list[Question]:
    """What is asked about the pairs that it fits, each once."""
    found: dict[str, Question] = {}
    for pair in pairs:
        if ask.fits(pair):
            for sent in sent_for(ask, pair):
                question = Question(key_of(ask, sent), sent)
                found.setdefault(question.key, question)
    return list(found.values())


def sent_for(ask: Ask, pair: PreferencePair) -> Sequence[wire.Item | wire.PairItem]:
    """The chosen and the rejected response; both in one where they are compared."""
    shown = {"rubric": ask.rubric, "reference": ask.reference}
    if ask.mode == "compare":
        return [pair.both(**shown)]
    return [pair.item(pair.chosen, **shown), pair.item(pair.rejected, **shown)]


def key_of(ask: Ask, sent: wire.Item | wire.PairItem) -> str:
    return digest([ask.mode, sent.model_dump(mode="json", by_alias=True)])


async def ask_all(
    judge: Judge, ask: Ask, pairs: Sequence[PreferencePair], store: Store, told: Callable[[int], None]
) -> None:
    """Answers in the store. `told` gets how many more are done. Raises RubricdClientError where the judge does not
    answer for half an hour, or will not: then what it answered before is in the store."""
    expected = judge.fingerprint(ask)
    if expected is None:
        return
    listed = questions(ask, pairs)
    left = [one for one in listed if store.answer(expected, one.key) is None]
    told(len(listed) - len(left))
    client, limits = judge.client, judge.info.limits
    client.fit(limits)
    client.batch_items = min(client.batch_items, _IN_A_REQUEST)
    size, start = _FEWEST, 0
    while start < len(left):
        some = left[start : start + size]
        start += len(some)
        before, began_s = client.usage, time.monotonic()
        outcomes = await _outcomes(judge, ask, [one.sent for one in some], expected)
        used, seconds = client.usage - before, time.monotonic() - began_s
        size = next_size(size, seconds)
        store.spend(
            expected,
            ask.name,
            Cost(
                seconds=seconds,
                answers=len(some),
                judgements=used.judgements,
                cache_hits=used.cache_hits,
                prompt_tokens=used.prompt_tokens,
                cached_tokens=used.cached_tokens,
                completion_tokens=used.completion_tokens,
            ),
        )
        for question, outcome in zip(some, outcomes, strict=True):
            if isinstance(outcome, Failed) and not isinstance(outcome.error, InvalidRequest | BodyTooLarge):
                raise outcome.error
            answer = _answer(ask, outcome, question.sent)
            store.keep(expected, question.key, answer, final=answer.status not in TRANSIENT)
        told(len(some))


def next_size(size: int, seconds: float) -> int:
    """How many questions the next call has."""
    if seconds > _LONG_S:
        return max(size // 2, _FEWEST)
    return min(size * 2, _MOST) if seconds < _SHORT_S else size


async def _outcomes(
    judge: Judge, ask: Ask, sent: Sequence[wire.Item | wire.PairItem], expected: str
) -> Sequence[Outcome | Compared]:
    client = judge.client
    pinned: CompareOptions = {"expect_judge": expected}
    if judge.asked is not None:
        pinned["judge"] = judge.asked
    if ask.mode == "compare":
        pairs = [one for one in sent if isinstance(one, wire.PairItem)]
        return await client.compare(pairs, wait_for_judge_s=_WAIT_S, **pinned)
    items = [one for one in sent if isinstance(one, wire.Item)]
    return await client.score(items, mode=ask.mode, wait_for_judge_s=_WAIT_S, **pinned)


def _answer(ask: Ask, outcome: Outcome | Compared, sent: wire.Item | wire.PairItem) -> Answer:
    if isinstance(outcome, Failed):
        return Answer(outcome.error.code)
    if isinstance(outcome, Compared):
        one = outcome.comparison
        if one.p is None:
            return Answer(one.status)
        disagrees = any(warning.code == "orders_disagree" for warning in one.warnings)
        return Answer("ok", p=one.p, order_effect=one.order_effect, disagrees=disagrees)
    result = outcome.result
    if ask.mode != "verdict":
        rating = result.rating
        return Answer(result.criteria[0].status) if rating is None else Answer("ok", rating=rating.expected)
    counted = [one for one in result.criteria if one.points != 0]
    missing = next((one.status for one in counted if one.status != "ok" or one.met is None), None)
    if missing is not None:
        return Answer(missing)
    soft = [None if one.p is None else one.points * one.p for one in counted]
    return Answer(
        "ok",
        hard=sum(one.points for one in counted if one.met),
        soft=None if None in soft else sum(one for one in soft if one is not None),
    )
