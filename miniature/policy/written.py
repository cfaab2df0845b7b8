"""What policies write, at temperatures up to 1.8: a judge that is to stand a training by reward learns on such texts.

Guarantees: The texts follow from the policies and the seed.
"""

import sys
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from miniature.policy.make import load
from miniature.policy.policy_evaluation import answers
from miniature.policy.sft_curriculum import Mix, example

_TEMPERATURES = (1.0, 1.2, 1.4, 1.6, 1.8)
_MOST_EACH = 160


def written(policies: Sequence[Path], seed: int, wanted: int) -> list[str]:
    """About `wanted` answers on any topics, and at most 160 of each policy at each temperature. More than half of them
    are to a part of a rubric, as while a scaffold fades."""
    each = min(ceil(wanted / (len(policies) * len(_TEMPERATURES))), _MOST_EACH)
    texts: list[str] = []
    for policy in policies:
        torch.manual_seed(seed)
        model, tokenizer = load(policy)
        for n, temperature in enumerate(tqdm(_TEMPERATURES, desc=f"texts of {policy.name}", file=sys.stderr)):
            examples = [example(seed, n * each + index, Mix()) for index in range(each)]
            asked = [[{"role": m["role"], "content": m["content"]} for m in one.messages] for one in examples]
            texts += answers(model, tokenizer, asked, temperature=temperature)[0]
    Random(seed).shuffle(texts)
    return texts
