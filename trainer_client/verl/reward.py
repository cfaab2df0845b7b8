"""Gives verl the reward of each finished rollout: the judge's score over HTTP, and the values that are logged with it.

Guarantees: every sample has the same keys. A score is the judge's, or by a declared rule one of the bounds that its
verdicts allow, or their middle, marked `judged` 0. Where there is neither, an error is raised and verl counts the
rollout as failed.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

from trainer_client import wire
from trainer_client.client import Failed, Outcome, Scored, ScoreOptions
from trainer_client.client import reward as reward_of
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.live_rubrics.dropout import named
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.reward_client import JudgeConfig, RewardClient, why_missing
from trainer_client.reward_parts import By, names_of
from trainer_client.reward_parts import split as split_score
from trainer_client.verl.evolving import Place, VerlEvolving, hear
from trainer_client.verl.rows import TOOL_AGENT, prompt_row

WhenMissing = Literal["raise", "lower_bound"]
_ONE_ANSWER = 2
"""verl's number of turns of a prompt and its answer."""
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, RewardClient]] = WeakKeyDictionary()


class NotJudged(RuntimeError):
    """A rollout has no reward. The message gives the reason and holds no text of the rollout."""


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str | None,
    extra_info: Mapping[str, Any] | None = None,
    *,
    url: str,
    token_env: str = "RUBRICD_KEY",
    judge_timeout_s: float = 600.0,
    concurrency: int = 8,
    timeout_s: float = 300.0,
    when_missing: WhenMissing = "raise",
    reasoning: wire.Reasoning | Mapping[str, Any] = "remove",
    rewards_by: By = "total",
    parts: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    ledger: str | None = None,
    evolving: Mapping[str, Any] | None = None,
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
) -> dict[str, float | None]:
    """Scores one rollout: verl's `reward.custom_reward_function`. Keyword arguments come from its `reward_kwargs`.

    The rollout's answer is judged, without its reasoning: the answer that our agent loop read with the policy's
    tokenizer, else what `reasoning` says, of which `remove` knows the tags of the common families. Where the agent loop
    hands on `turns`, of `assistant` and `tool`, these are judged as a trajectory.
    With `rewards_by` `tag` or `criterion` there is a key `reward/<name>` for each of `parts` (`reward_parts.names`),
    for verl's `algorithm.gdpo_reward_keys`. A part that a row lacks is 0 for its whole group, which moves nothing.
    Where our agent loop left criteria out (`dropped`), `score` is by the others and `full_score` by all of them.
    With `evolving` (the fields of VerlEvolving) the evolved criteria that our agent loop handed on count as well, and
    the answer that completes its group waits for the proposer.
    `concurrency` bounds the requests under way of one of verl's `reward.num_workers` processes. `options` are those of
    `JudgeClient.score`. A line for each verdict is added to files in the folder `ledger`. verl passes the last two
    where it serves a reward model; they are not used here.
    Raises NotJudged, and RubricdClientError where waiting for the judge is of no use; DataError for several turns whose
    joined text is all that verl hands on, since a tool's words are not the policy's.
    """
    if when_missing not in ("raise", "lower_bound"):
        raise ValueError(f"when_missing is `raise` or `lower_bound`, not {when_missing!r}")
    if (rewards_by == "total") == bool(parts):
        raise ValueError("`parts` are the names of the rewards by `rewards_by`: give both, or neither")
    info = extra_info or {}
    row = prompt_row(info)
    split = _split(solution_str, info, reasoning)
    place = Place.of(info["evolving"]) if evolving and info.get("evolving") else None
    whole = _with_evolved(row.item(_trajectory(info, reasoning) or split.answer), place)
    item = _counted(whole, info.get("dropped"))
    score_options = cast(ScoreOptions, _plain(options or {}))
    judging = JudgeConfig(
        url,
        os.environ.get(token_env) or None,
        score_options,
        judge_timeout_s,
        concurrency,
        timeout_s,
        ledger=None if ledger is None else Path(ledger),
    )
    started = time.monotonic()
    # In one call, so that the judge reads a criterion that both hold once.
    both = [one.model_copy(update={"id": None}) for one in (item, whole)]
    outcomes = await _client(judging).score([item] if item is whole else both)
    outcome = outcomes[0]
    if evolving and place is not None:
        await hear(VerlEvolving.of(_plain(evolving)), row, place, split.answer, outcomes[-1])
    return {
        **_scored(outcome, when_missing),
        **_parts(outcome, item.rubric, rewards_by, parts, soft=bool(score_options.get("soft"))),
        "full_score": reward_of(outcomes[-1]),
        "dropped_share": _left_out(item, whole),
        "evolved": 0.0 if place is None else float(len(place.criteria)),
        "answer_empty": float(not split.answer.strip()),
        "reasoning_unfinished": float(split.ended == "unfinished"),
        "judge_latency_s": time.monotonic() - started,
        "revealed_share": float(info.get("revealed_share", 0.0)),
        "revealed": float(info.get("revealed", 0)),
    }


def _counted(item: wire.Item, dropped: str | None) -> wire.Item:
    """The item without the criteria that our agent loop left out for this group and step: their ids, as JSON."""
    without = set(json.loads(dropped or "[]"))
    if not without or item.rubric is None:
        return item
    kept = [one for one in named(item.rubric.criteria) if one.id not in without]
    return item.model_copy(update={"rubric": wire.Rubric(criteria=kept)})


def _with_evolved(item: wire.Item, place: Place | None) -> wire.Item:
    if place is None or not place.criteria or item.rubric is None:
        return item
    return item.model_copy(update={"rubric": wire.Rubric(criteria=[*named(item.rubric.criteria), *place.criteria])})


def _left_out(item: wire.Item, whole: wire.Item) -> float:
    if item.rubric is None or whole.rubric is None:
        return 0.0
    return 1 - len(item.rubric.criteria) / len(whole.rubric.criteria)


def _plain(value: Any) -> Any:
    """The mappings as dicts: those of verl's config are of types of its own."""
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def _split(text: str, info: Mapping[str, Any], how: wire.Reasoning | Mapping[str, Any]) -> wire.Split:
    answer, ended = info.get("answer"), info.get("reasoning_ended")
    if how == "remove" and isinstance(answer, str) and ended in ("none", "finished", "unfinished"):
        return wire.Split(answer, ended=ended)
    if turns := _turns(info):
        last = turns[-1]
        text = last.content if last.role == "assistant" else ""
    elif (info.get("num_turns") or 0) > _ONE_ANSWER:
        raise DataError(
            f"this rollout has {info['num_turns']} turns, and its agent loop hands on their joined text alone: write "
            f"the rows with to_parquet(..., agent={TOOL_AGENT!r}), or put the turns into `extra_fields['turns']`"
        )
    return PolicyAnswers(how).split(text)


def _turns(info: Mapping[str, Any]) -> list[wire.ResponseTurn]:
    """The turns with their reasoning, if there are any."""
    found = info.get("turns_with_reasoning") or info.get("turns") or []
    return [wire.ResponseTurn.model_validate(turn) for turn in found]


def _trajectory(info: Mapping[str, Any], how: wire.Reasoning | Mapping[str, Any]) -> list[wire.ResponseTurn]:
    if how == "remove" and "turns_with_reasoning" in info:
        return [wire.ResponseTurn.model_validate(turn) for turn in info["turns"]]
    answers = PolicyAnswers(how)
    return [
        turn.model_copy(update={"content": answers.split(turn.content).answer}) if turn.role == "assistant" else turn
        for turn in _turns(info)
    ]


def _client(judging: JudgeConfig) -> RewardClient:
    """One client for each judge in each event loop: its connections, its bound and its retry budget are shared."""
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    key = repr(judging)
    if key not in clients:
        clients[key] = RewardClient(judging)
    return clients[key]


def _scored(outcome: Outcome, when_missing: WhenMissing) -> dict[str, float | None]:
    if isinstance(outcome, Scored):
        result = outcome.result
        if result.score is not None:
            return _facts(result, result.score, judged=float(result.status == "ok"))
        # Where nothing was judged the bounds are those of the rubric, and say nothing of the response.
        if when_missing == "lower_bound" and result.status == "partial" and result.score_bounds is not None:
            return _facts(result, result.score_bounds[0], judged=0.0)
    raise NotJudged(_reason(outcome)) from (_error(outcome))


def _parts(
    outcome: Outcome, rubric: wire.Rubric | None, by: By, names: Sequence[str], *, soft: bool
) -> dict[str, float | None]:
    if not names or not isinstance(outcome, Scored) or rubric is None:
        return {f"reward/{name}": 0.0 for name in names}
    found = split_score(outcome.result, rubric.criteria, by, soft=soft)
    own = {name for criterion in rubric.counted() for name in names_of(rubric.criteria[criterion], by)}
    if unknown := own - set(names):
        raise ValueError(f"`parts` lack {', '.join(sorted(unknown))}: take them from reward_parts.names of all rows")
    if missing := sorted(own - found.keys()):
        raise NotJudged(f"no reward: a criterion of {', '.join(missing)} has no verdict ({why_missing(outcome)})")
    return {f"reward/{name}": found.get(name, 0.0) for name in names}


def _facts(result: wire.Result, score: float, *, judged: float) -> dict[str, float | None]:
    met = [criterion.met for criterion in result.criteria if criterion.met is not None]
    share = sum(met) / len(met) if met else None
    return {"score": score, "judged": judged, "coverage": result.coverage, "met_share": share}


def _reason(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return f"no reward: the judge gave no answer ({why_missing(outcome)}: {outcome.error})"
    return f"no reward: the judge decided {outcome.result.coverage:.0%} of the rubric ({why_missing(outcome)})"


def _error(outcome: Outcome) -> RubricdClientError | None:
    return outcome.error if isinstance(outcome, Failed) else None
