"""Puts the results of a study together: one value that the page, the JSON file and the lines on the terminal show.

Guarantees: the value holds names and numbers, and no text of a pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainer_client.agreement.spent import money_of
from trainer_client.alignment.answers import Cost, Store
from trainer_client.alignment.arms import Arm, asks_of
from trainer_client.alignment.asking import Judge
from trainer_client.alignment.figures import ArmResult, Difference, JudgeResult, arm_result, differences
from trainer_client.labels.labelled import digest
from trainer_client.preferences.pairs import PreferencePair

Prices = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Study:
    """`facts` are about the pairs: how many, of how many prompts, of which kinds, and their digest. `prices` are by
    judge, for a million tokens that are read and written; None where nobody named them."""

    facts: Mapping[str, Any]
    judges: tuple[JudgeResult, ...]
    differences: tuple[Difference, ...]
    prices: Mapping[str, Prices]

    def money(self, judge: JudgeResult, cost: Cost) -> float | None:
        read, written = self.prices.get(judge.name, (None, None))
        return money_of((cost.prompt_tokens, read), (cost.completion_tokens, written))

    def as_json(self) -> dict[str, Any]:
        return {
            "pairs": dict(self.facts),
            "judges": [self._judge_json(one) for one in self.judges],
            "differences": [
                {"among": one.among, "one": one.one, "other": one.other, "more": one.more.as_json()}
                for one in self.differences
            ],
        }

    def _judge_json(self, one: JudgeResult) -> dict[str, Any]:
        return {
            "name": one.name,
            "judge": dict(one.judge),
            "arms": [_arm_json(arm) for arm in one.arms],
            "costs": {name: {**asdict(cost), "money": self.money(one, cost)} for name, cost in one.costs.items()},
        }


def study_of(
    judges: Sequence[Judge],
    arms: Sequence[Arm],
    pairs: Sequence[PreferencePair],
    store: Store,
    *,
    more: Mapping[str, Any],
    prices: Mapping[str, Prices],
) -> Study:
    """From the answers that are in the store. `more` are facts about how the pairs came to be, `prices` are by the
    judges' names."""
    results = tuple(_judge(judge, arms, pairs, store) for judge in judges)
    facts = {
        "pairs": len(pairs),
        "prompts": len({pair.group for pair in pairs}),
        "with_rubric": sum(pair.rubric is not None for pair in pairs),
        "with_reference": sum(pair.reference is not None for pair in pairs),
        "kinds": {kind: sum(pair.kind == kind for pair in pairs) for kind in dict.fromkeys(p.kind for p in pairs)},
        "digest": digest([[pair.id, pair.chosen, pair.rejected] for pair in pairs]),
        **more,
    }
    return Study(facts, results, tuple(differences(results, pairs)), prices)


def _judge(judge: Judge, arms: Sequence[Arm], pairs: Sequence[PreferencePair], store: Store) -> JudgeResult:
    info = judge.info
    about = {"model": info.model, "engine": info.engine, "fingerprint": info.fingerprint, "toy": info.toy}
    costs = {}
    for ask in asks_of(arms):
        by = judge.fingerprint(ask)
        if by is not None:
            costs[ask.name] = store.cost(by, ask.name)
    return JudgeResult(
        judge.name,
        {**about, "url": judge.url, "name": judge.asked, "label_mass_floor": info.label_mass_floor},
        tuple(arm_result(judge, arm, pairs, store) for arm in arms),
        costs,
    )


def _arm_json(one: ArmResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": one.arm.name,
        "accuracy": one.accuracy.as_json(),
        "right": one.right,
        "wrong": one.wrong,
        "ties": one.ties,
        "not_judged": dict(one.not_judged),
        "by_kind": {kind: figure.as_json() for kind, figure in one.by_kind.items()},
        "trust": one.trust,
    }
    if one.order_effect is not None and one.disagreeing is not None:
        found |= {"order_effect": one.order_effect.as_json(), "orders_disagree": one.disagreeing.as_json()}
    return found if one.why_not is None else {**found, "why_not": one.why_not}
