"""Writes a request to another rubricd, and reads its description, its lines and its problems. Pure.

Guarantees: what the other service says is believed where it has the contract's form, and is a failure elsewhere;
nothing stands for a verdict that is not there.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.engine.base import EngineIdentity
from service.errors import (
    ConfigurationError,
    EngineFailed,
    InvalidRequest,
    JudgeMismatch,
    Overloaded,
    RequestError,
    Unavailable,
)
from service.judges.composition import MODES, ComposedMode
from service.modes.fingerprint import JudgeIdentity
from service.modes.served_modes import JudgingModes, Way
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import CALL, NAMED_TOOL, Candidate, Criterion, Turn, without_documents
from service.scoring.exam.grading import Trust
from service.scoring.request import Options, Usage

STATUSES = frozenset(
    {"ok", "abstained", "timeout", "overloaded", "too_long", "unparseable", "verifier_error", "engine_error"}
    | {"cancelled"}
)
_TRUSTS: Mapping[str, Trust] = {"proven": "proven", "unproven": "unproven", "failed": "failed"}
_MOST_DETAIL = 500
_MOST_EXPLANATION = 20_000
_ROUNDING = 1e-6


def body_of(
    candidates: Sequence[Candidate], options: Options, judge: str | None, expected: str, deadline_ms: int | None
) -> dict[str, Any]:
    """The body of `POST /v1/score`. Rules run and scores are made here: the other service's score is ignored."""
    rubrics: dict[int, list[dict[str, Any]]] = {}
    items = []
    for n, candidate in enumerate(candidates):
        rubric = rubrics.setdefault(id(candidate.criteria), [_criterion(one) for one in candidate.criteria])
        response: Any = candidate.response
        if candidate.trajectory:
            response = [_message(turn) for turn in candidate.trajectory]
        prompt = [_message(turn) for turn in without_documents(candidate.turns)]
        item = {"id": str(n), "prompt": prompt, "response": response, "rubric": rubric}
        if candidate.reference is not None:
            item["reference"] = candidate.reference
        if documents := candidate.documents:
            item["documents"] = list(documents)
        items.append(item)
    chosen = {
        "mode": options.mode,
        "layout": options.layout,
        "threshold": options.threshold,
        "votes": options.votes,
        "consistency": options.consistency,
        "cache": options.cache,
        "priority": options.tenant.priority_class,
        "min_coverage": 0.0,
        "expect_judge": expected,
    }
    left_open = {"judge_prompt": options.prompt, "batch": options.batch, "judge": judge, "deadline_ms": deadline_ms}
    return {**chosen, **{name: value for name, value in left_open.items() if value is not None}, "items": items}


def _criterion(criterion: Criterion) -> dict[str, Any]:
    """Its points, whose sign a calibration may know. The text is the judge's, without a category prefix."""
    found: dict[str, Any] = {"text": criterion.text, "points": criterion.points, "tags": dict(criterion.tags)}
    if criterion.extraction is not None:
        message = "another rubricd is not asked to extract values; name another judge for these criteria"
        raise InvalidRequest(message, ((("judge",), message),))
    if criterion.options:
        options = [{"text": one.text, "value": one.value} for one in criterion.options]
        found["levels" if criterion.ordered else "choices"] = options
    return found


def _message(turn: Turn) -> dict[str, Any]:
    """As the other service reads it back into the same turn."""
    if turn.role == CALL:
        name, rest = _name_of(turn.content, "(")
        call = {"name": name, "arguments": rest.removesuffix(")")}
        return {"role": "assistant", "content": "", "tool_calls": [call]}
    if turn.role == NAMED_TOOL:
        name, rest = _name_of(turn.content, ":")
        return {"role": "tool", "name": name, "content": rest.removeprefix(" ")}
    return {"role": turn.role, "content": turn.content}


def _name_of(content: str, end: str) -> tuple[str, str]:
    """A name in quotes is JSON, as it holds what would end it."""
    if content.startswith('"'):
        name, stop = json.JSONDecoder().raw_decode(content)
        return str(name), content[stop + 1 :]
    name, _, rest = content.partition(end)
    return name, rest


def tokens_of(candidates: Sequence[Candidate]) -> int:
    """About how many tokens these cost, before the other service says it: a token for three characters, and a hundred
    for the question around each criterion."""
    characters = criteria = 0
    for candidate in candidates:
        characters += sum(len(turn.content) for turn in candidate.turns) + sum(map(len, candidate.parts))
        characters += sum(len(criterion.text) for criterion in candidate.criteria)
        criteria += len(candidate.criteria)
    return characters // 3 + 100 * criteria


def judgements_of(line: Any, criteria: Sequence[Criterion]) -> list[Judgement]:
    """The judgements of a result. Raises EngineFailed where it is none of the contract's."""
    try:
        answered = list(line["criteria"])
        if len(answered) != len(criteria):
            raise EngineFailed("the other service sent a result of another rubric")
        return [_judgement(one, criterion) for one, criterion in zip(answered, criteria, strict=True)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineFailed(f"the other service sent no result of the contract ({type(error).__name__})") from None


def _judgement(one: Mapping[str, Any], criterion: Criterion) -> Judgement:
    """Raises KeyError, TypeError, ValueError or AttributeError."""
    status = one["status"]
    if status not in STATUSES:
        raise ValueError("an unknown status")
    if status == "ok" and not (isinstance(one["met"], bool) and _number(one["p"]) is not None):
        raise ValueError("a verdict that decides nothing")
    if status != "ok":
        return Judgement(status, "judge", p_raw=_number(one.get("p_raw")), detail=_shortened(one.get("detail")))
    return Judgement(
        status="ok",
        source="cache" if one["source"] == "cache" else "judge",
        met=one["met"],
        p=_number(one["p"]),
        p_raw=_number(one["p_raw"]),
        label_mass=_number(one["label_mass"], most=None),
        explanation=_text(one.get("explanation")),
        disagreement=_number(one.get("disagreement")),
        **_graded(one, criterion),
    )


def _graded(one: Mapping[str, Any], criterion: Criterion) -> dict[str, Any]:
    """The level, a probability of each option, and the expected value, where the criterion has options."""
    if not criterion.graded:
        return {}
    level, shares, value = one["level"], [_number(share) for share in one["p_levels"]], _number(one["value"])
    known = [share for share in shares if share is not None]
    if type(level) is not int or not 0 <= level < len(criterion.options) or value is None:
        raise ValueError("no level of this criterion")
    if len(known) != len(criterion.options) or abs(sum(known) - 1) > _ROUNDING:
        raise ValueError("no probabilities of the levels of this criterion")
    return {"level": level, "p_levels": tuple(known), "value": value}


def _number(value: Any, most: float | None = 1.0) -> float | None:
    """Raises ValueError where it is no number in its range: NaN is in none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= (most or 1.001):
        raise ValueError("no probability")
    return float(value)


def _text(value: Any) -> str | None:
    """Raises TypeError where it is no text."""
    if value is not None and not isinstance(value, str):
        raise TypeError("no text")
    return None if value is None else value[:_MOST_EXPLANATION]


def _shortened(detail: Any) -> str | None:
    return detail[:_MOST_DETAIL] if isinstance(detail, str) else None


def used(end: Any, usage: Usage) -> None:
    """Takes over what the other service says it used. What is not a number there is not counted, and without a price
    what was judged there has none."""
    said = end.get("usage") if isinstance(end, dict) else None
    for name in ("judgements", "cache_hits", "deduplicated", "prompt_tokens", "cached_tokens", "completion_tokens"):
        value = said.get(name) if isinstance(said, dict) else None
        if type(value) is int and value >= 0:
            setattr(usage, name, value)
            if name == "judgements":
                usage.unpriced = value
    cost = said.get("cost") if isinstance(said, dict) else None
    if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < math.inf:
        usage.dollars, usage.priced, usage.unpriced = float(cost), max(1, usage.judgements), 0


def refusal(status: int, problem: Any, after_s: float) -> RequestError:
    """The same refusal, as this service would give it. What is wrong with its own key is nobody's request."""
    said = problem.get("detail") if isinstance(problem, dict) else None
    detail = said[:_MOST_DETAIL] if isinstance(said, str) else f"the other service answered with status {status}"
    if status == 409:
        return JudgeMismatch(detail)
    if status in (413, 422):
        return InvalidRequest(detail)
    code = str(problem.get("type", "")).rpartition(":")[2] if isinstance(problem, dict) else ""
    if status == 429 or code == "overloaded":
        return Overloaded(detail, after_s)
    if status in (401, 403):
        return Unavailable("the other service refuses this service's key", after_s)
    return Unavailable(detail, after_s)


def described(name: str, info: Any, url: str) -> tuple[JudgingModes[ComposedMode], Mapping[str, Trust], int]:
    """The ways in which the other service's judge is asked, how far each is to be trusted, and its longest prompt, as
    `GET /v1/judge` says. Raises ConfigurationError where it says no such thing."""
    try:
        offered = [*info["judges"], *((info.get("more") or {}).get("judges") or ())]
        limit = int(info["limits"]["max_model_len"])
        default = info["fingerprint"]
        found: dict[Way, ComposedMode] = {}
        trusts: dict[str, Trust] = {}
        for one in offered:
            if one["mode"] not in MODES:
                continue
            identity = _identity(name, one)
            trusts[identity.fingerprint] = _TRUSTS.get(one.get("trust") or "", "unproven")
            mode = ComposedMode(identity)
            way = Way(one["mode"], one["layout"], one.get("prompt"), one.get("batch"))
            found[way] = mode
            if way[:2] == ("verdict", "rubricd") and identity.fingerprint == default:
                # Where a request names no prompt, this service names none either.
                found = {Way(*way[:2]): ComposedMode(replace(identity, prompt=None)), **found}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"{url}/v1/judge describes no judge ({type(error).__name__}): is it a rubricd of this version?"
        ) from None
    if not found:
        raise ConfigurationError(f"the judge at {url} serves none of the modes {', '.join(MODES)}")
    return JudgingModes(found, {}, {}), trusts, limit


def _identity(name: str, one: Mapping[str, Any]) -> JudgeIdentity:
    """The judge has its own fingerprint, whichever service asks it."""
    fingerprint = str(one["fingerprint"])
    facts = {"rubricd": fingerprint}
    return JudgeIdentity(
        identity=EngineIdentity(str(one["model"]), str(one["revision"]), "rubricd", facts, toy=bool(one.get("toy"))),
        mode=one["mode"],
        layout=one["layout"],
        prompt=one.get("prompt"),
        labels=(),
        label_ids=(),
        mass_floor=0.0,
        fingerprint=fingerprint,
        uncalibrated=str(one.get("uncalibrated") or fingerprint),
        name=name,
        batch=one.get("batch"),
    )
