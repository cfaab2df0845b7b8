"""Environments of tinker-cookbook whose reward is the judge's: JUDGE_URL=http://127.0.0.1:8000

An answer that was not judged raises. The cookbook's strategy `FailFast`, its default, then ends the training, and
`RetryOnFailure` samples another answer.
"""

import os
from dataclasses import dataclass

import tinker
from tinker_cookbook.renderers import Renderer, get_text_content
from tinker_cookbook.rl.types import Env, EnvGroupBuilder, StepResult

from trainer_client import JudgeClient, reward
from trainer_client.reward_client import why_missing

judge = JudgeClient(os.environ["JUDGE_URL"])


@dataclass(frozen=True)
class Judged(Env):
    """`row` has `prompt` and `rubric`, as in rows.jsonl."""

    row: dict
    renderer: Renderer

    async def initial_observation(self):
        turns = [{"role": "user", "content": self.row["prompt"]}]
        return self.renderer.build_generation_prompt(turns), self.renderer.get_stop_sequences()

    async def step(self, action, *, extra=None):
        answer = get_text_content(self.renderer.parse_response(action)[0])
        (outcome,) = await judge.score([{**self.row, "response": answer}], reasoning="remove", wait_for_judge_s=600)
        score = reward(outcome)
        if score is None:
            raise RuntimeError(f"the answer was not judged: {why_missing(outcome)}")
        return StepResult(score, True, tinker.ModelInput.empty(), self.renderer.get_stop_sequences())


@dataclass(frozen=True)
class JudgedGroup(EnvGroupBuilder):
    """What an RLDataset's `get_batch` returns, one for each row."""

    row: dict
    renderer: Renderer
    group: int = 8

    async def make_envs(self):
        return [Judged(self.row, self.renderer) for _ in range(self.group)]
