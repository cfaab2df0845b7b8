"""A reward function for TRL that asks a judge service: a number for each completion, or None where none was judged.

Always true: a reward is the service's score, or that score charged by the one declared rule for answers that were cut
off; None reaches TRL as None, which keeps it out of the baseline and gives it no advantage; a step of which too much is
missing ends the run instead of being taken.
"""

import asyncio
import json
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, TypeVar

from trainer_client import wire
from trainer_client.client import JudgeClient
from trainer_client.outcomes import Outcome, Scored, reward
from trainer_client.patience import Judging, Patience, why_missing
from trainer_client.scaffold import Message

_T = TypeVar("_T")

ROW = "row"
"""The key of a prompt's last message that carries its row: {"id", "rubric", "reference"} as JSON."""
_NAMES = 64


class TooFewJudged(RuntimeError):
    """So many rollouts have no reward that no step is taken from the rest."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One completion's outcome, and the seconds from asking to having it."""

    outcome: Outcome
    took_s: float


class JudgeReward:
    """Hand it to TRL's GRPOTrainer as a reward function; prompts carry their rows (see `trainer_client.trl.dataset`).

    It is the only reward function of a run: TRL adds up several and counts a None as 0 where another has a number.
    """

    __name__ = "judge"

    def __init__(self, judging: Judging, *, ends: Sequence[int] = ()) -> None:
        """`ends` are the token ids that finish an answer; needed where `judging.unfinished` is set."""
        if judging.unfinished is not None and not ends:
            raise ValueError("`unfinished` charges answers that were cut off: say in `ends` which tokens finish one")
        self._judging = judging
        self._ends = frozenset(ends)
        self._loop = _Loop()
        self._tickets = count()
        self._begun: dict[int, tuple[Future[list[Judged]], int]] = {}
        self._names: dict[str, None] = {}
        self._client: Patience | None = None
        self._clients: list[JudgeClient] = []
        weakref.finalize(self, self._loop.end, self._clients).atexit = False

    def begin(self, prompts: Sequence[Sequence[Mapping[str, Any]]], answers: Sequence[str]) -> list[int]:
        """Starts judging and returns a ticket for each answer; `__call__` is given them as `ticket`."""
        future = self._loop.start(self._judge(prompts, answers))
        tickets = [next(self._tickets) for _ in answers]
        self._begun.update({ticket: (future, place) for place, ticket in enumerate(tickets)})
        return tickets

    async def __call__(
        self,
        prompts: Sequence[Sequence[Mapping[str, Any]]],
        completions: Sequence[Sequence[Mapping[str, Any]]],
        completion_ids: Sequence[Sequence[int]],
        *,
        ticket: Sequence[int] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward a completion. Raises TooFewJudged, and RubricdClientError where no judge will ever answer."""
        started = time.monotonic()
        if ticket is None:
            ticket = self.begin(prompts, [completion[-1]["content"] for completion in completions])
        begun = [self._begun.pop(one) for one in ticket]
        judged = [(await asyncio.wrap_future(future))[place] for future, place in begun]
        waited_s = time.monotonic() - started
        rewards = [self._reward(one.outcome, ids) for one, ids in zip(judged, completion_ids, strict=True)]
        shown: Sequence[float] = columns.get("shown_share") or [0.0] * len(rewards)
        if log_metric is not None:
            self._measure(log_metric, judged, rewards, shown, waited_s, prompts)
        if log_extra is not None:
            _keep(log_extra, judged, rewards, columns, prompts)
        self._check([one.outcome for one in judged])
        return rewards

    async def _judge(self, prompts: Sequence[Sequence[Mapping[str, Any]]], answers: Sequence[str]) -> list[Judged]:
        started = time.monotonic()
        if self._client is None:
            judging = self._judging
            self._clients.append(judging.client())
            self._client = Patience(self._clients[0], judging.options, judging.patience_s)
        outcomes = await self._client.score(_items(prompts, answers))
        took_s = time.monotonic() - started
        return [Judged(outcome, took_s) for outcome in outcomes]

    def _reward(self, outcome: Outcome, ids: Sequence[int]) -> float | None:
        score, charge = reward(outcome), self._judging.unfinished
        if score is None or charge is None or (ids and ids[-1] in self._ends):
            return score
        return min(score, 0.0) - charge

    def _check(self, outcomes: Sequence[Outcome]) -> None:
        missing = [outcome for outcome in outcomes if reward(outcome) is None]
        if len(missing) <= self._judging.most_missing * len(outcomes):
            return
        reasons = Counter(map(why_missing, missing))
        said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        first = next((str(one.error) for one in missing if not isinstance(one, Scored)), "")
        raise TooFewJudged(
            f"{len(missing)} of {len(outcomes)} rollouts have no reward after {self._judging.patience_s:g} s ({said}"
            + (f"; the first: {first}" if first else "")
            + "); no step is taken from the rest. Bring the judge back and resume from the last checkpoint"
        )

    def _measure(
        self,
        log: Callable[[str, float], None],
        judged: Sequence[Judged],
        rewards: Sequence[float | None],
        shown: Sequence[float],
        waited_s: float,
        prompts: Sequence[Sequence[Mapping[str, Any]]],
    ) -> None:
        log("judge/latency_s", max(one.took_s for one in judged))
        log("judge/waited_s", waited_s)
        for one, value, share, prompt in zip(judged, rewards, shown, prompts, strict=True):
            log("judge/none_share", float(value is None))
            log("scaffold/shown_share", share)
            if value is not None:
                log("reward/scaffolded" if share > 0 else "reward/bare", value)
            if isinstance(one.outcome, Scored):
                self._measure_criteria(log, one.outcome.result, _row(prompt))

    def _measure_criteria(self, log: Callable[[str, float], None], result: wire.Result, row: dict[str, Any]) -> None:
        log("judge/coverage", result.coverage)
        told = {str(n): one for n, one in enumerate(row["rubric"] or [])}
        told |= {one["id"]: one for one in told.values() if one.get("id")}
        for criterion in result.criteria:
            log("judge/abstained", float(criterion.status == "abstained"))
            if criterion.p is not None:
                log("judge/p_met", criterion.p)
            if criterion.met is not None:
                log("judge/met_share", float(criterion.met))
                for name in self._named(told.get(criterion.id, {})):
                    log(f"criteria/{name}", float(criterion.met))

    def _named(self, criterion: Mapping[str, Any]) -> list[str]:
        """Names under which a criterion is followed through training: its own id, and its tags. At most 64 a run."""
        names = [criterion["id"]] if criterion.get("id") else []
        names += [f"{key}:{value}" for key, value in criterion.get("tags", {}).items()]
        for name in names:
            if len(self._names) < _NAMES:
                self._names.setdefault(name)
        return [name if name in self._names else "other" for name in names]


def _keep(
    log: Callable[[str, list[Any]], None],
    judged: Sequence[Judged],
    rewards: Sequence[float | None],
    columns: Mapping[str, Any],
    prompts: Sequence[Sequence[Mapping[str, Any]]],
) -> None:
    """Columns of the completions table, one value a completion."""
    log("row", [_row(prompt)["id"] for prompt in prompts])
    for name in ("member", "shown_share", "shown"):
        if name in columns:
            log(name, list(columns[name]))
    log("score", [reward(one.outcome) for one in judged])
    log("reward", list(rewards))
    log("status", [why_missing(one.outcome) for one in judged])
    log("criteria", [_verdicts(one.outcome) for one in judged])


def _verdicts(outcome: Outcome) -> str:
    """{"criterion id": true, false or null} as JSON."""
    criteria = outcome.result.criteria if isinstance(outcome, Scored) else ()
    return json.dumps({criterion.id: criterion.met for criterion in criteria}, ensure_ascii=False)


def _items(prompts: Sequence[Sequence[Mapping[str, Any]]], answers: Sequence[str]) -> list[wire.Item]:
    """Neighbours of one row are one item with several responses: a GRPO group, or this process's part of it."""
    items = []
    pairs = zip(prompts, answers, strict=True)
    for place, (_, group) in enumerate(groupby(pairs, key=lambda pair: _carried(pair[0]))):
        members = list(group)
        prompt = members[0][0]
        row = _row(prompt)
        asked = {
            "id": f"{place}",
            "prompt": bare(prompt),
            "responses": [answer for _, answer in members],
            "rubric": row["rubric"],
            "reference": row["reference"],
        }
        items.append(wire.Item.model_validate(asked))
    return items


def bare(prompt: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The prompt as the policy and the judge see it, without the row that it carries."""
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def _row(prompt: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(_carried(prompt))
    return row


def _carried(prompt: Sequence[Mapping[str, Any]]) -> str:
    """The row as JSON. Raises ValueError where there is none."""
    carried = prompt[-1].get(ROW) if prompt and isinstance(prompt[-1], Mapping) else None
    if not isinstance(carried, str):
        raise ValueError(
            f"a prompt's last message carries no `{ROW}`: make the data set with trainer_client.trl.dataset(rows)"
        )
    return carried


class _Loop:
    """An event loop in a thread of its own, so that judging goes on while the trainer generates."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="judge", daemon=True).start()

    def start(self, work: Awaitable[_T]) -> Future[_T]:
        async def run() -> _T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    def end(self, clients: Sequence[JudgeClient]) -> None:
        """Ends the thread once these are closed. Does not wait: the garbage collector calls it, from any thread."""

        async def close() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for client in clients:
                await client.aclose()
            self._loop.stop()

        asyncio.run_coroutine_threadsafe(close(), self._loop)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()
