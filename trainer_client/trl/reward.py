"""Gives TRL its rewards from a judge service: a number for each completion, or None where it was not judged.

Guarantees: what is judged is the answer without the policy's reasoning, unless the run keeps it, and the completions
table shows the same text. A reward is the service's score, for truncated answers changed by the one declared rule. None
reaches TRL as None, which keeps the rollout out of the baseline and gives it no advantage. Where too many rewards of a
step are missing the run ends, and the step is not taken.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Unpack

from trainer_client import wire
from trainer_client.client import ClientUsage, Outcome, Scored, ScoreOptions, reward
from trainer_client.http.background_loop import BackgroundLoop
from trainer_client.http.options import check_options
from trainer_client.live_rubrics.step_rubric import StepRubric
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.reward_client import JudgeConfig, RewardClient, may_change, why_missing
from trainer_client.trl.completions import Response, read_all
from trainer_client.trl.metrics import DEFAULT, Judged, RewardMetrics, log_columns
from trainer_client.trl.prompt_row import Prompt, rowed, with_rubric
from trainer_client.trl.questions import Question, questions

Listener = Callable[[Sequence[Judged], Sequence[Prompt], Mapping[str, Any]], None]
EXAMINER = "examiner"
"""The name of a second judge of held-out rows, which its metrics and columns begin with."""


class TooFewJudged(RuntimeError):
    """Too many rollouts have no reward, so that no step is taken from the rest."""


class JudgeReward:
    """A reward function for TRL's GRPOTrainer. Prompts hold their rows (see `trainer_client.trl.trainer.dataset`), or
    the data set has columns `rubric`, `reference` and `id`, of which a judge may need the first two.

    Beside another reward function set `max_missing_fraction` to 0: TRL adds several up and counts a None as 0 where
    another has a number. It can be pickled, as TRL's asynchronous trainer does; the copy opens connections of its own.
    """

    def __init__(self, judging: JudgeConfig, *, ends: Sequence[int] = (), name: str = DEFAULT) -> None:
        """`ends` are the token ids that finish an answer; they are needed where `judging.truncation_penalty` is set.
        Two judges of one trainer need different names: those of their metrics and columns begin with it."""
        self.__name__ = name
        if judging.truncation_penalty is not None and not ends:
            raise ValueError(
                "`truncation_penalty` charges answers that were cut off: say in `ends` which tokens finish one"
            )
        self._judging = judging
        self._ends = frozenset(ends)
        self._answers = PolicyAnswers(judging.reasoning)
        self._client = RewardClient(judging)
        self._loop = BackgroundLoop("judge", self._client)
        self._tickets = count()
        self._begun: dict[int, tuple[Future[list[Judged]], int, Prompt]] = {}
        self._metrics = RewardMetrics(name)
        self._logged = ClientUsage()
        self._examiner: JudgeReward | None = None
        self._listener: Listener | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies what it was made with and what it has learned of the policy, and neither connections nor what is under
        way."""
        made = partial(JudgeReward, self._judging, ends=tuple(self._ends), name=self.__name__)
        return made, (), {"_answers": self._answers}

    def end_at(self, ends: Iterable[int]) -> None:
        """Takes the token ids that finish an answer from the trainer, which knows them once it holds the model."""
        self._ends = frozenset(ends)
        if self._examiner is not None:
            self._examiner.end_at(self._ends)

    def examined_by(self, examiner: "JudgeReward") -> None:
        """Takes a second judge, which is asked about held-out completions as well. It logs, and gives no rewards: TRL
        would add them up."""
        self._examiner = examiner

    def read_with(self, answers: PolicyAnswers) -> None:
        """Takes what reads the policy's answers from the trainer. Before, the policy counts as unknown."""
        self._answers = answers

    def answers_of(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The answers in these completions, as they are judged."""
        return [self._answers.split(self._answers.decode(one)).answer for one in ids]

    def heard_by(self, listener: Listener) -> None:
        """Takes who hears of each batch that is rewarded, with the columns of its rollouts."""
        self._listener = listener

    def begin_ids(
        self,
        prompts: Sequence[Prompt],
        ids: Sequence[Sequence[int]],
        rubrics: Sequence[StepRubric | None] | None = None,
    ) -> list[int]:
        """`begin` for completions as token ids, in which the tags of reasoning are still there."""
        return self.begin(prompts, [self._answers.decode(one) for one in ids], rubrics)

    def begin(
        self, prompts: Sequence[Prompt], texts: Sequence[str], rubrics: Sequence[StepRubric | None] | None = None
    ) -> list[int]:
        """Starts judging the answers in these texts and returns a ticket for each; TRL passes them to `__call__` as
        `ticket`. `rubrics` are judged instead of the prompts' own; None is a prompt's own."""
        return self._begin(prompts, [Response(self._answers.split(text)) for text in texts], rubrics)

    def _begin(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Response],
        rubrics: Sequence[StepRubric | None] | None = None,
    ) -> list[int]:
        rubrics = rubrics or [None] * len(prompts)
        prompts = [one if own is None else with_rubric(one, own) for one, own in zip(prompts, rubrics, strict=True)]
        asked = questions(prompts, [one.sent for one in responses], rubrics)
        future = self._loop.start(partial(_judge, self._client, asked, [one.split for one in responses], rubrics))
        tickets = [next(self._tickets) for _ in responses]
        self._begun.update({ticket: (future, *one) for ticket, one in zip(tickets, enumerate(prompts), strict=True)})
        return tickets

    async def __call__(
        self,
        prompts: Sequence[str | Prompt],
        completions: Sequence[str | Prompt],
        completion_ids: Sequence[Sequence[int]],
        *,
        ticket: Sequence[int] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Returns one reward a completion. Raises TooFewJudged, and RubricdClientError where waiting for the judge is
        of no use."""
        logs: dict[str, Any] = {"log_extra": log_extra, "log_metric": log_metric, **columns}
        own = self._rewards(prompts, completions, completion_ids, ticket, **logs)
        if self._examiner is None or not any(columns.get("held_out") or ()):
            return await own
        rewards, _ = await asyncio.gather(own, self._examiner(prompts, completions, completion_ids, **logs))
        return rewards

    async def _rewards(
        self,
        prompts: Sequence[str | Prompt],
        completions: Sequence[str | Prompt],
        completion_ids: Sequence[Sequence[int]],
        ticket: Sequence[int] | None,
        *,
        log_extra: Callable[[str, list[Any]], None] | None,
        log_metric: Callable[[str, float], None] | None,
        **columns: Any,
    ) -> list[float | None]:
        started = time.monotonic()
        if ticket is None:
            own_rows = rowed(prompts, columns, rubrics=self._judging.options.get("mode") != "likert")
            ticket = self._begin(own_rows, read_all(completions, completion_ids, self._answers))
        begun = [self._begun.pop(one) for one in ticket]
        judged = [(await asyncio.wrap_future(future))[place] for future, place, _ in begun]
        asked = [prompt for _, _, prompt in begun]
        waited_s = time.monotonic() - started
        cut = [bool(self._ends) and (not ids or ids[-1] not in self._ends) for ids in completion_ids]
        scores = [reward(one.outcome) for one in judged]
        rewards = [None if score is None else self.charged(score, one) for score, one in zip(scores, cut, strict=True)]
        revealed: Sequence[float] = columns.get("revealed_share") or [0.0] * len(rewards)
        if log_metric is not None:
            self._metrics.log(log_metric, judged, rewards, revealed, waited_s, asked)
            self._metrics.log_rubric(log_metric, judged, cut, self.charged)
            used = self._client.usage
            self._metrics.log_usage(log_metric, used - self._logged)
            self._logged = used
        if log_extra is not None:
            own = {"cut": cut} if self._ends else {}
            log_columns(log_extra, judged, rewards, {**columns, **own}, asked, self.__name__)
        self._check([one.outcome for one in judged])
        self._hear(judged, asked, cut)
        if self._listener is not None:
            self._listener(judged, asked, columns)
        return rewards

    def charged(self, score: float, cut: bool) -> float:
        """The reward of an answer with this score."""
        charge = self._judging.truncation_penalty
        return min(score, 0.0) - charge if cut and charge is not None else score

    def _hear(self, judged: Sequence[Judged], prompts: Sequence[Prompt], cut: Sequence[bool]) -> None:
        """Hears of each batch that is rewarded; a judge whose score is split overrides it."""

    def _check(self, outcomes: Sequence[Outcome]) -> None:
        missing = [outcome for outcome in outcomes if reward(outcome) is None]
        if len(missing) <= self._judging.max_missing_fraction * len(outcomes):
            return
        reasons = Counter(map(why_missing, missing))
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        first = next((str(one.error) for one in missing if not isinstance(one, Scored)), "")
        waited = f" after {self._judging.judge_timeout_s:g} s" if any(map(may_change, missing)) else ""
        remedy = "Bring the judge back" if waited else "Another attempt would not help: see what these statuses mean"
        raise TooFewJudged(
            f"{len(missing)} of {len(outcomes)} rollouts have no reward{waited} ({counts}"
            + (f"; the first: {first}" if first else "")
            + f"); no step is taken from the rest. {remedy}, and resume from the last checkpoint"
        )


def reward_function(
    url: str | Sequence[str],
    *,
    name: str = DEFAULT,
    token: str | None = None,
    judge_timeout_s: float = 600.0,
    max_missing_fraction: float = 0.5,
    concurrency: int = 8,
    ledger: str | Path | None = None,
    **options: Unpack[ScoreOptions],
) -> JudgeReward:
    """A reward function for TRL's GRPOTrainer over a data set with the columns `prompt` and `rubric`.

        GRPOTrainer(model, reward_funcs=reward_function("http://judge:8000"), train_dataset=..., args=...)

    `rubric` is a list of criteria, as POST /v1/score takes it, `reference` may be another column. A completion that was
    not judged has no reward (None), after up to `judge_timeout_s` seconds of waiting for the judge; where more than
    `max_missing_fraction` of a step have none the run ends. Without `token` the key is in RUBRICD_KEY, if there is one.
    `options` are those of `JudgeClient.score`. `name` is for a second judge beside the first. A line for each
    verdict is added to files in the folder `ledger`, where there is one.
    """
    check_options(options)
    reasoning = options.pop("reasoning", "remove")  # it is taken off here
    judging = JudgeConfig(
        url if isinstance(url, str) else tuple(url),
        token=token or os.environ.get("RUBRICD_KEY") or None,
        options=options,
        judge_timeout_s=judge_timeout_s,
        concurrency=concurrency,
        max_missing_fraction=max_missing_fraction,
        reasoning=reasoning,
        ledger=None if ledger is None else Path(ledger),
    )
    return JudgeReward(judging, name=name)


async def _judge(
    client: RewardClient,
    asked: Sequence[Question],
    splits: Sequence[wire.Split],
    rubrics: Sequence[StepRubric | None],
) -> list[Judged]:
    """Judges the items. It knows no JudgeReward, which may be dropped while it goes on."""
    started = time.monotonic()
    outcomes = iter(await client.score([one.item for one in asked]))
    took_s = time.monotonic() - started
    told: dict[tuple[int, bool], Outcome] = {}
    for one in asked:
        told.update({(place, one.full): next(outcomes) for place in one.places})
    return [
        Judged(told[place, False], took_s, split, rubric, told.get((place, True)))
        for place, (split, rubric) in enumerate(zip(splits, rubrics, strict=True))
    ]
