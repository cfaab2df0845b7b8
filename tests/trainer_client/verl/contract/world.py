"""verl 0.9 without its engines and without Ray's processes.

Real are verl's configuration (hydra and its own YAML), data set, collation, AgentLoopWorker with its TransferQueue
subclass, AgentLoopBase, RewardLoopWorker with NaiveRewardManager, ReplayBuffer and advantages. Made up are the server
that generates, the store behind TransferQueue, Ray's remote calls (here a call after a trip through pickle), and the
judge's transport.
"""

import asyncio
import copy
import os
import pickle
import uuid
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import verl.trainer
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from verl.experimental.reward_loop.reward_loop import RewardLoopWorker, migrate_legacy_reward_impl
from verl.trainer.ppo.v1 import agent_loop_tq
from verl.utils import tensordict_utils as tu
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
from verl.workers.rollout.replica import TokenOutput

from trainer_client import wire
from trainer_client.data.rows import Row
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.scaffold import Scaffold
from trainer_client.verl.evolving import VerlEvolving
from trainer_client.verl.recipe import agent_loops, overrides
from trainer_client.verl.rows import to_parquet

POLICY = Path(__file__).parents[4] / "miniature" / "checkpoints" / "policy"
ANSWER = "Rest the knee. See a doctor."
STEPS = 100
_FILES = {"train": "train.parquet", "val": "val.parquet", "agents": "agents.yaml"}


def rows(count: int = 2) -> list[Row]:
    """Criteria name their row, so that a rubric of another row would be seen."""
    return [
        Row(
            id=f"row-{n}",
            messages=({"role": "user", "content": f"My knee hurts, what now? ({n})"},),
            rubric=wire.Rubric.model_validate([{"text": f"Point {k} of row {n}.", "points": k + 1} for k in range(7)]),
            reference=None if n % 2 else f"Rest ({n}).",
            source="made-up",
        )
        for n in range(count)
    ]


def criteria(row: Row) -> list[wire.Criterion]:
    return row.rubric.criteria if row.rubric else []


def config(
    folder: Path,
    *changes: str,
    scaffold: Scaffold | None = None,
    dropout: RubricDropout | None = None,
    evolving: VerlEvolving | None = None,
    **recipe: Any,
) -> DictConfig:
    """What `main_ppo` would run with: verl's own YAML under our overrides, then `changes`."""
    sizes = {"group": 8, "prompts_per_batch": 2, "mini_batch": 2, "gpus": 1}
    lengths = {"prompt_tokens": 256, "scaffold_tokens": 512, "response_tokens": 64}
    told = overrides(
        str(POLICY),
        **{**_FILES, **sizes, **lengths, "steps": STEPS, "judge": "http://judge:8000", "evolving": evolving, **recipe},
    )
    # One process filters the rows, not a pool of one that would have to be started for each data set.
    composed = copy.deepcopy(_composed(*told, "data.filter_overlong_prompts_workers=null", *changes))
    agents = folder / "agents.yaml"
    loops = agent_loops(
        scaffold or Scaffold(), ratio=recipe.get("ratio", "bare/bare"), dropout=dropout, evolving=evolving
    )
    agents.write_text(loops, encoding="utf-8")
    composed.data.train_files, composed.data.val_files = str(folder / "train.parquet"), str(folder / "val.parquet")
    composed.actor_rollout_ref.rollout.agent.agent_loop_config_path = str(agents)
    return composed


@cache
def _composed(*told: str) -> DictConfig:
    with initialize_config_dir(os.path.join(os.path.dirname(verl.trainer.__file__), "config"), version_base=None):
        composed = migrate_legacy_reward_impl(compose("ppo_trainer", overrides=list(told)))
    composed.actor_rollout_ref.actor.optim.total_training_steps = STEPS
    OmegaConf.resolve(composed)
    return composed


class Server:
    """Stands for verl's LLM server: answers by number, with log-probabilities asked for or not, and keeps what it was
    asked."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.asked: list[dict[str, Any]] = []

    async def generate(self, request_id: str, *, prompt_ids: list[int], **more: Any) -> TokenOutput:
        self.asked.append({"request_id": request_id, "prompt_ids": prompt_ids, **more})
        ids = [*self.tokenizer.encode(f"{ANSWER} ({len(self.asked)})"), self.tokenizer.eos_token_id]
        await asyncio.sleep(0)
        told = {"global_steps": 1, "min_global_steps": 1, "max_global_steps": 1}
        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), extra_fields=told)


class Store:
    """Stands for TransferQueue's store: keys with tags and fields, by partition."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.fields: dict[str, dict[str, Any]] = {}

    def init(self, *_: Any) -> None:
        """Nothing to connect to."""

    async def async_kv_put(self, key: str, partition_id: str, tag: dict[str, Any]) -> None:
        self.tags[partition_id].setdefault(key, {}).update(tag)

    async def async_kv_batch_put(
        self, keys: list[str], fields: Any, tags: list[dict[str, Any]], partition_id: str
    ) -> None:
        for place, (key, tag) in enumerate(zip(keys, tags, strict=True)):
            self.tags[partition_id][key] = tag
            self.fields[key] = fields[place]

    def kv_list(self, *_: Any) -> dict[str, dict[str, dict[str, Any]]]:
        return {partition: dict(tags) for partition, tags in self.tags.items()}

    def kv_clear(self, partition_id: str, keys: Iterable[str]) -> None:
        for key in keys:
            self.tags[partition_id].pop(key, None)
            self.fields.pop(key, None)

    def rollouts(self, partition: str = "train") -> list[tuple[str, int]]:
        """(uid, member) of each rollout that reached the trainer, in order."""
        keys = [key.rsplit("_", 2) for key, tag in self.tags[partition].items() if "prompt_len" in tag]
        return sorted((uid, int(member)) for uid, member, _ in keys)

    def field(self, uid: str, member: int, name: str) -> Any:
        """Tensors as lists."""
        value = self.fields[f"{uid}_{member}_0"][name]
        return value.tolist() if isinstance(value, torch.Tensor) else value


class World:
    """One of verl's agent loop workers, with a reward worker, over files that `to_parquet` wrote."""

    def __init__(self, composed: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config = composed
        self.store = Store()
        monkeypatch.setattr(agent_loop_tq, "tq", self.store)
        judge = RewardLoopWorker(composed)
        remote = SimpleNamespace(remote=lambda data: judge.compute_score(pickle.loads(pickle.dumps(data))))  # noqa: S301
        kind = agent_loop_tq.AgentLoopWorkerTQ.__ray_actor_class__
        self.worker = kind(composed, None, None, [SimpleNamespace(compute_score=remote)])
        self.tokenizer = self.worker.tokenizer
        self.server = self.worker.llm_client = Server(self.tokenizer)

    def bare(self, row: Row) -> list[int]:
        """The ids of the row's prompt without a scaffold, rendered by transformers itself."""
        text = self.tokenizer.apply_chat_template(list(row.messages), tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def generated_from(self, answer: list[int]) -> list[int]:
        """The prompt that this answer was generated from; every answer has its own number."""
        number = int(self.tokenizer.decode(answer, skip_special_tokens=True).rsplit("(", 1)[1].rstrip(")"))
        return list(self.server.asked[number - 1]["prompt_ids"])

    async def roll_out(self, split: str = "train", *, step: int = 1) -> list[str]:
        """One batch of the file's rows, through verl's own data set; uids in the order of the rows."""
        files = self.config.data[f"{split}_files"]
        dataset = RLHFDataset(files, tokenizer=self.tokenizer, config=self.config.data)
        batch = collate_fn([dataset[n] for n in range(len(dataset))])
        uids = [str(uuid.uuid4()) for _ in range(len(dataset))]
        batch["uid"] = np.array(uids, dtype=object)
        batch = tu.get_tensordict(batch)
        tu.assign_non_tensor_data(batch, "global_steps", step)
        if split == "val":
            tu.assign_non_tensor_data(batch, "validate", True)
        for uid in uids:
            await self.store.async_kv_put(uid, split, {"is_prompt": True, "status": "pending", "global_steps": step})
        await self.worker.generate_sequences(pickle.loads(pickle.dumps(batch)))  # noqa: S301
        while self.worker.background_tasks:
            await asyncio.gather(*self.worker.background_tasks)
        return uids


def written(folder: Path, *, train: list[Row] | None = None, val: list[Row] | None = None) -> None:
    to_parquet(rows() if train is None else train, folder / "train.parquet", split="train")
    to_parquet(rows(1) if val is None else val, folder / "val.parquet", split="val")
