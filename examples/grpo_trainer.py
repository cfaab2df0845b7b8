"""Trains with TRL's own GRPOTrainer on a judge's rewards.

python examples/grpo_trainer.py http://127.0.0.1:8000 miniature/checkpoints/policy runs/own
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from trainer_client import reward_function

url, policy, out = sys.argv[1:]
rows = [json.loads(line) for line in Path(__file__).with_name("rows.jsonl").read_text().splitlines()]
gpu = torch.cuda.is_available()
config = GRPOConfig(
    out,
    max_steps=2,
    num_generations=4,
    per_device_train_batch_size=4,
    max_completion_length=24,
    logging_steps=1,
    report_to="none",
    use_cpu=not gpu,
    bf16=gpu,
)
# The data set has the columns `prompt` and `rubric`. A completion that was not judged has no reward, not a zero.
judge = reward_function(url)
trainer = GRPOTrainer(policy, reward_funcs=judge, args=config, train_dataset=Dataset.from_list(rows))
trainer.train()
for step in trainer.state.log_history:
    if told := {key: value for key, value in step.items() if key.startswith(("rewards/", "judge/"))}:
        print(json.dumps(told))
