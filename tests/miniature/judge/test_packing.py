"""Packed rows, against the service's separate prompts."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import Qwen2ForCausalLM

from miniature.judge.make import load
from miniature.judge.packing import Batch, Packer, RatingMode, drawn
from miniature.judge.tokenizer import train_tokenizer
from miniature.judge.training import FULL, expected_ratings, p_met
from miniature.world.cases import evaluation, training, training_on
from miniature.world.oracle import met
from miniature.world.ratings import Rated
from service.engine.base import LabelLogprobs
from service.modes.rating import find_scale, read_rating
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn

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


def test_hints_are_at_the_end_of_what_they_are_true_of() -> None:
    _, tokenizer = load(SHIPPED)
    packer = Packer(tokenizer)
    case = training_on("For Stiff Neck: 1. Use Use a wet towel. 2. Go rowing. 3...", 0, 0)
    batch = packer.batch([case])
    assert _hints(packer, batch) == [(" Neck:", False), ("towel.", False), ("owing.", True), ("..", False)]
    asked = tuple(c for c in case.criteria if c.kind == "item")[:2]
    listed = packer.rating_batch("implicit", [[Rated(case, asked, None, 3)]])
    assert [(text[-2:], true) for text, true in _hints(packer, listed)] == [
        (criterion.text[-2:], met(criterion, case.response)) for criterion in asked
    ]


def _hints(packer: Packer, batch: Batch) -> list[tuple[str, bool]]:
    _, tokenizer = load(SHIPPED)
    places = zip(batch.hinted.tolist(), batch.hint_labels.tolist(), strict=True)
    return [
        (str(tokenizer.decode(batch.ids[n, at - 1 : at + 1]))[-6:], label == packer.yes) for (n, at), label in places
    ]


@pytest.mark.parametrize("mode", ["implicit", "likert"])
def test_a_rating_is_the_one_that_the_service_reads(mode: RatingMode) -> None:
    model, tokenizer = load(SHIPPED)
    packer = Packer(tokenizer)
    case = evaluation(94, 1)
    rubrics = (case.criteria[:4], case.criteria[4:]) if mode == "implicit" else ((),)
    reference = "Go rowing." if mode == "likert" else None
    rated = [Rated(case, tuple(rubric), reference, 10) for rubric in rubrics]
    found = expected_ratings(model, packer, packer.rating_batch(mode, [rated], after_one=True))
    renderer = Renderer(Segmenter(tokenizer), build_skeleton(tokenizer, mode=mode))
    digits = find_scale(renderer).digit_ids
    for one, expected in zip(rated, found.tolist(), strict=True):
        criteria = tuple(Criterion(id=c.id, text=c.text, points=c.points) for c in one.rubric)
        turns = tuple(Turn(role, content) for role, content in case.turns)
        prompt = renderer.render_whole([Candidate(case.id, turns, case.response, criteria, reference)])[0]
        first = _logprobs(model, prompt.ids, digits[1:])
        after = _logprobs(model, (*prompt.ids, digits[1]), digits)
        assert read_rating(first, after).expected == pytest.approx(expected, abs=1e-3)


def _logprobs(model: Qwen2ForCausalLM, ids: Sequence[int], labels: Sequence[int]) -> LabelLogprobs:
    with torch.inference_mode():
        logits = model(torch.tensor([list(ids)])).logits[0, -1].log_softmax(-1)
    return LabelLogprobs(tuple(logits[list(labels)].tolist()))


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
