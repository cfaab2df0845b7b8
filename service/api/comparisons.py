"""Translates the contract of `POST /v1/compare` to the domain's pairs and back, and counts what was compared.

Guarantees: P is in an answer only where the pair was judged; an abstention shows what the judge gave as `p_raw`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from service.api import result_warnings, translate
from service.api.judges import described
from service.api.request_metrics import RequestSummary, count_lookups
from service.modes.comparison import Pair
from service.modes.fingerprint import JudgeIdentity
from service.observability import Telemetry
from service.rubrics.rubric import Candidate
from service.scheduling import Tenant
from service.scoring.comparing import Compared, Order
from service.scoring.exam.grading import Trust
from service.scoring.request import RequestContext, Usage
from service.tenancy.team import Team
from trainer_client import wire

_DISAGREE = wire.ResultWarning(
    code="orders_disagree",
    detail="each order has another better response: the judge goes by what it reads first, or sees no difference",
)


def pairs(request: wire.CompareRequest, stored: translate.StoredCriteria = translate.NOTHING_STORED) -> list[Pair]:
    """One for each item, in order. Raises InvalidRequest for a reference that is not among the `stored`."""
    return [_pair(index, item, request, stored) for index, item in enumerate(request.items)]


def _pair(index: int, item: wire.PairItem, request: wire.CompareRequest, stored: translate.StoredCriteria) -> Pair:
    criteria = () if item.rubric is None else translate.criteria(item.rubric, request.pitfalls, stored)
    turns = translate.conversation(item.prompt, item.documents)

    def candidate(response: wire.Response) -> Candidate:
        answer, reasoning, trajectory = translate.judged_part(response, request.reasoning)
        about = (criteria, item.reference, None, reasoning, item.metadata)
        return Candidate(item.result_id(index), turns, answer, *about, trajectory)

    return Pair(candidate(item.a), candidate(item.b))


def context(request: wire.CompareRequest, team: Team, arrived_s: float) -> RequestContext:
    """`arrived_s` is when the request arrived, on the service's clock."""
    return RequestContext(
        scope=team.scope,
        tenant=Tenant(team.name, team.weight, request.priority),
        deadline_s=None if request.deadline_ms is None else arrived_s + request.deadline_ms / 1000,
        priority=translate.ENGINE_PRIORITY[request.priority],
        cache=request.cache,
    )


def response(
    id: str, judged_by: JudgeIdentity, trust: Trust, compared: Sequence[Compared], usage: Usage
) -> wire.CompareResponse:
    return wire.CompareResponse(
        id=id,
        judge=described(judged_by, trust),
        results=[_result(one, judged_by) for one in compared],
        usage=translate.used(usage),
    )


def record(telemetry: Telemetry, team: str, compared: Sequence[Compared], usage: Usage) -> RequestSummary:
    """Counts a request's comparisons: an order of a pair is a judgement."""
    new = [order.verdict for one in compared for order in one.orders if order.source == "judge"]
    masses = [verdict.label_mass for verdict in new if verdict is not None and verdict.label_mass is not None]
    outcomes = [(order.source, _outcome(one, order)) for one in compared for order in one.orders]
    effects = [abs(one.preference.order_effect) for one in compared if one.preference is not None]
    telemetry.count_items(team, ["ok" if one.status == "ok" else "failed" for one in compared])
    telemetry.count_judgements("compare", outcomes)
    telemetry.observe_probabilities([], masses)
    telemetry.observe_order_effects(effects)
    return count_lookups(telemetry, team, len(compared), usage)


def _outcome(one: Compared, order: Order) -> str:
    return "compared" if one.status == "ok" or (order.verdict is not None and one.status != "abstained") else one.status


def _result(one: Compared, judged_by: JudgeIdentity) -> wire.Comparison:
    preference = one.preference
    p = None if preference is None else preference.p
    return wire.Comparison.model_validate(
        {
            "id": one.pair.a.id,
            "status": one.status,
            "p": p if one.status == "ok" else None,
            "p_raw": p,
            "label_mass": None if preference is None else preference.label_mass,
            "order_effect": None if preference is None else preference.order_effect,
            "orders": list(_orders(one)),
            "detail": one.detail,
            "warnings": list(_warnings(one, judged_by)),
            "metadata": one.pair.a.metadata,
        }
    )


def _orders(one: Compared) -> Iterator[dict[str, Any]]:
    for first, order in zip(("a", "b"), one.orders, strict=True):
        verdict = order.verdict
        p = None if verdict is None else verdict.p_met if first == "a" else 1.0 - verdict.p_met
        mass = None if verdict is None else verdict.label_mass
        yield {"first": first, "p": p, "label_mass": mass, "source": order.source}


def _warnings(one: Compared, judged_by: JudgeIdentity) -> Iterator[wire.ResultWarning]:
    if one.status == "ok" and one.preference is not None and one.preference.disagrees:
        yield _DISAGREE
    for reasoning in dict.fromkeys((one.pair.a.reasoning, one.pair.b.reasoning)):
        yield from result_warnings.WARNINGS.get(reasoning, [])
    if judged_by.identity.toy:
        yield result_warnings.TOY
