"""An OpenEnv rubric whose reward is the judge's: JUDGE_URL=http://127.0.0.1:8000 in the environment's server

It stands wherever OpenEnv takes a Rubric: alone as `env.rubric`, or in `Gate`, `Sequential` or `WeightedSum`. OpenEnv's
rewards are numbers, so an action that was not judged is an error and not a made-up 0.
"""

import os

from openenv.core.rubrics import Rubric

from trainer_client import JudgeClient, reward
from trainer_client.reward_client import why_missing

judge = JudgeClient(os.environ["JUDGE_URL"])


class Judged(Rubric):
    """`row` has `prompt` and `rubric`, as in rows.jsonl. An action is a text, or has its text in `message`."""

    def __init__(self, row):
        super().__init__()
        self.row = row

    async def forward(self, action, observation):
        response = action if isinstance(action, str) else action.message
        (outcome,) = await judge.score([{**self.row, "response": response}], wait_for_judge_s=600)
        score = reward(outcome)
        if score is None:
            raise RuntimeError(f"the action was not judged: {why_missing(outcome)}")
        return score
