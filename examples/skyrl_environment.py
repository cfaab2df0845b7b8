"""An environment of SkyRL whose reward is the judge's, and its prompts: JUDGE_URL=http://127.0.0.1:8000

python examples/skyrl_environment.py runs/skyrl.jsonl

SkyRL's rewards are numbers, so an answer that was not judged is an error, which ends the step, and not a made-up 0.
"""

import json
import os
import sys
from pathlib import Path

from skyrl_gym import register
from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

from trainer_client import JudgeClient, reward
from trainer_client.reward_client import why_missing

judge = JudgeClient.sync(os.environ["JUDGE_URL"])  # SkyRL takes steps in threads


class Judged(BaseTextEnv):
    def __init__(self, env_config=None, extras=None):
        super().__init__()
        self.row = json.loads(extras["reward_spec"]["row"])

    def step(self, action):
        (outcome,) = judge.score([{**self.row, "response": action}], reasoning="remove", wait_for_judge_s=600)
        score = reward(outcome)
        if score is None:
            raise RuntimeError(f"the answer was not judged: {why_missing(outcome)}")
        return BaseTextEnvStepOutput(observations=[], reward=score, done=True, metadata={})


register(id="rubricd", entry_point=Judged)


def write(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for line in Path(__file__).with_name("rows.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            prompt = [{"role": "user", "content": row["prompt"]}]
            # As text, because a column of objects would give every row the fields of all others.
            spec = {"method": "rubric", "row": json.dumps(row)}
            file.write(json.dumps({"prompt": prompt, "env_class": "rubricd", "reward_spec": spec}) + "\n")


if __name__ == "__main__":
    write(sys.argv[1])
