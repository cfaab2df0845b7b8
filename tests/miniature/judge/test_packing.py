"""Packed rows, against the service's separate prompts."""

from pathlib import Path

import torch

from miniature.judge.make import load
from miniature.judge.packing import Packer, drawn
from miniature.judge.tokenizer import train_tokenizer
from miniature.judge.training import FULL, p_met
from miniature.world.cases import evaluation, training

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "judge"


def test_a_packed_row_says_what_separate_prompts_say() -> None:
    model, tokenizer = load(SHIPPED)
    packer = Packer(tokenizer)
    cases = [evaluation(96, index) for index in range(3)]
    packed = p_met(model, packer, packer.batch(cases))
    with torch.inference_mode():
        prompts = [prompt for case in cases for prompt in packer.prompts(case)]
        rows = [model(torch.tensor([prompt.ids])).logits[0, -1] for prompt in prompts]
    alone = torch.stack(rows)[:, [packer.yes, packer.no]].softmax(-1)[:, 0]
    assert torch.allclose(packed, alone, atol=1e-4)


def test_the_order_of_criteria_changes_nothing() -> None:
    model, tokenizer = load(SHIPPED)
    packer = Packer(tokenizer)
    case = evaluation(95, 0)
    prompts = packer.prompts(case)
    with torch.inference_mode():
        rows = [model(torch.tensor([prompt.ids])).logits[0, -1] for prompt in reversed(prompts)]
    alone = torch.stack(rows)[:, [packer.yes, packer.no]].softmax(-1)[:, 0].flip(0)
    assert torch.allclose(p_met(model, packer, packer.batch([case])), alone, atol=1e-4)


def test_training_batches_hold_the_truth_at_the_place_of_the_answer() -> None:
    tokenizer = train_tokenizer(vocabulary=1536, cases=200)
    packer = Packer(tokenizer)
    cases = drawn(3, 0, 4, FULL)
    batch = packer.batch(cases)
    assert cases == [training(3, index, FULL) for index in range(4)]
    expected = [packer.yes if met else packer.no for case in cases for met in case.met]
    assert batch.labels.tolist() == expected
    ends = batch.ids[batch.asked[:, 0], batch.asked[:, 1]]
    assert tokenizer.decode(ends[:1]) == ":"
    assert len(batch.early) == len(batch.early_labels)
