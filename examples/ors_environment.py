"""An Open Reward Standard environment whose reward is the judge's: JUDGE_URL=http://127.0.0.1:8000 python <this file>

The policy submits its answer with one tool. An answer that was not judged has the reward null, as the standard allows.
"""

import json
import os
from pathlib import Path

from ors import Environment, Server, TextBlock, ToolOutput, tool
from pydantic import BaseModel

from trainer_client import JudgeClient, reward

judge = JudgeClient(os.environ["JUDGE_URL"])
TASKS = [json.loads(line) for line in Path(__file__).with_name("rows.jsonl").read_text().splitlines()]


class Answer(BaseModel):
    text: str


class Rubrics(Environment):
    @classmethod
    def list_splits(cls):
        return ["train"]

    @classmethod
    def list_tasks(cls, split):
        return TASKS

    def get_prompt(self):
        return [TextBlock(text=self.task_spec["prompt"])]

    @tool
    async def submit(self, answer: Answer) -> ToolOutput:
        """Submits the final answer."""
        (outcome,) = await judge.score([{**self.task_spec, "response": answer.text}], wait_for_judge_s=600)
        return ToolOutput(blocks=[TextBlock(text="Submitted.")], reward=reward(outcome), finished=True)


if __name__ == "__main__":
    Server([Rubrics]).run(port=8080)
