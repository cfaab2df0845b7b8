"""Samples verl's batches for its synchronous trainer, without rollouts that are the only ones left of their group.

verl trains on the rest of a group in which rollouts failed, and GRPO's baseline is over that rest. Of a single rollout
it takes the score itself as the advantage: a reward for whatever was judged last before the judge went away.

Guarantees: a rollout reaches the trainer with at least one other of its group, or not at all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

try:
    import transfer_queue
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
except ImportError as missing:
    raise ImportError(
        f"rubricd's sampler runs inside verl 0.9, which cannot be imported ({missing}): "
        "pip install 'verl[vllm]==0.9.*' in the environment of the training"
    ) from missing


class PairedGroups(ReplayBuffer):  # type: ignore[misc]
    """For `trainer.v1.sampler.custom_sampler`. Validation batches are not changed."""

    def _materialize_batch(
        self, partition_id: str, selected_prompt_uids: Sequence[str], partition_snapshot: Mapping[str, Any]
    ) -> Any:
        """Returns verl's batch of keys `{uid}_{member}_{output}`. Raises RuntimeError where nothing is left of it."""
        batch = super()._materialize_batch(partition_id, selected_prompt_uids, partition_snapshot)
        alone = [] if partition_id == "val" else _alone(batch.keys)
        if not alone:
            return batch
        if len(alone) == len(batch.keys):
            raise RuntimeError(
                "no group has two rollouts with a reward, so there is nothing to learn from; "
                "see the workers' logs for why they failed"
            )
        transfer_queue.kv_clear(partition_id=partition_id, keys=alone)
        kept = [place for place, key in enumerate(batch.keys) if key not in alone]
        keys, tags = [batch.keys[place] for place in kept], [batch.tags[place] for place in kept]
        return transfer_queue.KVBatchMeta(partition_id=partition_id, keys=keys, tags=tags)


def _alone(keys: Sequence[str]) -> list[str]:
    members: dict[str, set[str]] = {}
    for key in keys:
        uid, member, _ = key.rsplit("_", 2)
        members.setdefault(uid, set()).add(member)
    return [key for key in keys if len(members[key.rsplit("_", 2)[0]]) == 1]
