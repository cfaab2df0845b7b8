"""A taskset of verifiers, on which prime-rl trains, whose reward is the judge's: JUDGE_URL=http://127.0.0.1:8000

A response that was not judged raises: verifiers records an error of the task, and prime-rl gives its rollout no reward.
"""

import json
import os
from pathlib import Path

import verifiers.v1 as vf

from trainer_client import JudgeClient, reward
from trainer_client.reward_client import why_missing

judge = JudgeClient(os.environ["JUDGE_URL"])


class Row(vf.TaskData):
    rubric: list[dict]


class Judged(vf.Task[Row]):
    @vf.reward
    async def judged(self, trace: vf.Trace) -> float:
        item = {"prompt": self.data.prompt, "response": trace.last_reply, "rubric": self.data.rubric}
        (outcome,) = await judge.score([item], wait_for_judge_s=600)
        if (score := reward(outcome)) is None:
            raise RuntimeError(f"the response was not judged: {why_missing(outcome)}")
        return score


class Rubrics(vf.Taskset[Judged]):
    def load(self):
        for line in Path(__file__).with_name("rows.jsonl").read_text(encoding="utf-8").splitlines():
            yield Judged(Row(**json.loads(line)), self.config.task)


__all__ = ["Rubrics"]
