"""A reward function for TRL that asks a judge service: a number for each completion, or None where none was judged.

Always true: a reward is the service's score, or that score charged by the one declared rule for answers that were cut
off; None reaches TRL as None, which keeps it out of the baseline and gives it no advantage; a step of which too much is
missing ends the run instead of being taken.
"""

import asyncio
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from itertools import count, groupby
from typing import Any, TypeVar

from trainer_client import wire
from trainer_client.client import Outcome, Scored, reward
from trainer_client.reward_client import JudgeConfig, RewardClient, may_change, why_missing
from trainer_client.trl.metrics import Judged, RewardMetrics, keep
from trainer_client.trl.prompt_row import Prompt, bare, row_of, row_text

_T = TypeVar("_T")


class TooFewJudged(RuntimeError):
    """So many rollouts have no reward that no step is taken from the rest."""


class JudgeReward:
    """Hand it to TRL's GRPOTrainer as a reward function; prompts carry their rows (see
    `trainer_client.trl.trainer.dataset`).

    It is the only reward function of a run: TRL adds up several and counts a None as 0 where another has a number.
    """

    __name__ = "judge"

    def __init__(self, judging: JudgeConfig, *, ends: Sequence[int] = ()) -> None:
        """`ends` are the token ids that finish an answer; needed where `judging.truncation_penalty` is set."""
        if judging.truncation_penalty is not None and not ends:
            raise ValueError(
                "`truncation_penalty` charges answers that were cut off: say in `ends` which tokens finish one"
            )
        self._judging = judging
        self._ends = frozenset(ends)
        self._loop = _Loop()
        self._tickets = count()
        self._begun: dict[int, tuple[Future[list[Judged]], int]] = {}
        self._metrics = RewardMetrics()
        self._clients: list[RewardClient] = []
        weakref.finalize(self, self._loop.end, self._clients).atexit = False

    def begin(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[int]:
        """Starts judging and returns a ticket for each answer; `__call__` is given them as `ticket`."""
        future = self._loop.start(self._judge(prompts, answers))
        tickets = [next(self._tickets) for _ in answers]
        self._begun.update({ticket: (future, place) for place, ticket in enumerate(tickets)})
        return tickets

    async def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Prompt],
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
        revealed: Sequence[float] = columns.get("revealed_share") or [0.0] * len(rewards)
        if log_metric is not None:
            self._metrics.log(log_metric, judged, rewards, revealed, waited_s, prompts)
        if log_extra is not None:
            keep(log_extra, judged, rewards, columns, prompts)
        self._check([one.outcome for one in judged])
        return rewards

    async def _judge(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[Judged]:
        started = time.monotonic()
        if not self._clients:
            # In here, for a client belongs to the event loop that it is first used in.
            self._clients.append(RewardClient(self._judging))
        outcomes = await self._clients[0].score(_items(prompts, answers))
        took_s = time.monotonic() - started
        return [Judged(outcome, took_s) for outcome in outcomes]

    def _reward(self, outcome: Outcome, ids: Sequence[int]) -> float | None:
        score, charge = reward(outcome), self._judging.truncation_penalty
        if score is None or charge is None or (ids and ids[-1] in self._ends):
            return score
        return min(score, 0.0) - charge

    def _check(self, outcomes: Sequence[Outcome]) -> None:
        missing = [outcome for outcome in outcomes if reward(outcome) is None]
        if len(missing) <= self._judging.max_missing_fraction * len(outcomes):
            return
        reasons = Counter(map(why_missing, missing))
        said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        first = next((str(one.error) for one in missing if not isinstance(one, Scored)), "")
        waited = f" after {self._judging.judge_timeout_s:g} s" if any(map(may_change, missing)) else ""
        remedy = "Bring the judge back" if waited else "Asking again would not help: see what these statuses mean"
        raise TooFewJudged(
            f"{len(missing)} of {len(outcomes)} rollouts have no reward{waited} ({said}"
            + (f"; the first: {first}" if first else "")
            + f"); no step is taken from the rest. {remedy}, and resume from the last checkpoint"
        )


def _items(prompts: Sequence[Prompt], answers: Sequence[str]) -> list[wire.Item]:
    """Neighbours of one row are one item with several responses: a GRPO group, or this process's part of it."""
    items = []
    pairs = zip(prompts, answers, strict=True)
    for place, (_, group) in enumerate(groupby(pairs, key=lambda pair: row_text(pair[0]))):
        members = list(group)
        prompt = members[0][0]
        row = row_of(prompt)
        asked = {
            "id": f"{place}",
            "prompt": bare(prompt),
            "responses": [answer for _, answer in members],
            "rubric": row["rubric"],
            "reference": row["reference"],
        }
        items.append(wire.Item.model_validate(asked))
    return items


class _Loop:
    """An event loop in a thread of its own, so that judging goes on while the trainer generates."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="judge", daemon=True).start()

    def start(self, work: Awaitable[_T]) -> Future[_T]:
        async def run() -> _T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    def end(self, clients: Sequence[RewardClient]) -> None:
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
