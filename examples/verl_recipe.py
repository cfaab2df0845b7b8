"""Writes verl's data, and prints its command: with the scaffold, or with `bare` as verl generates by itself.

python examples/verl_recipe.py http://judge:8000 Qwen/Qwen2.5-7B-Instruct runs/verl scaffold
"""

import shlex
import sys
from pathlib import Path

from trainer_client.data.rows import read_rows
from trainer_client.scaffold import Scaffold
from trainer_client.verl.recipe import agent_loops, overrides
from trainer_client.verl.rows import AGENT, to_parquet

judge, policy, out, how = sys.argv[1:]
folder = Path(out).absolute()
folder.mkdir(parents=True, exist_ok=True)
data = Path(__file__).with_name("rows.jsonl")
train, val, agents = folder / "train.parquet", folder / "val.parquet", folder / "agents.yaml"
agent = AGENT if how == "scaffold" else "single_turn_agent"
to_parquet(read_rows(data), train, split="train", agent=agent)
to_parquet(read_rows(data), val, split="val", agent=agent)
if how == "scaffold":
    agents.write_text(agent_loops(Scaffold()), encoding="utf-8")
    settings = overrides(policy, train=train, val=val, agents=agents, judge=judge, steps=350)
else:  # Only the reward is ours; everything else is verl's.
    reward = "reward.custom_reward_function"
    settings = [
        f"data.train_files={train}",
        f"data.val_files={val}",
        f"actor_rollout_ref.model.path={policy}",
        "algorithm.adv_estimator=grpo",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.n=8",
        f"{reward}.path=pkg://trainer_client.verl.reward",
        f"{reward}.name=compute_score",
        f"+{reward}.reward_kwargs.url={judge}",
    ]
print(shlex.join(["python", "-m", "verl.trainer.main_ppo", *settings]))
