"""The shipped judge and the recipe that made it, directly, without the service."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from miniature.judge.make import load, measure
from miniature.judge.model import Size, build
from miniature.judge.packing import Packer, drawn
from miniature.judge.tokenizer import train_tokenizer
from miniature.judge.training import FULL, hidden, p_met
from miniature.world.cases import evaluation, training

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "judge"


def test_the_shipped_folder_is_small_and_standard() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 8_000_000
    config = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["hidden_size"] // config["num_attention_heads"] in (32, 64)
    assert config["max_position_embeddings"] >= 2048
    assert (SHIPPED / "generation_config.json").exists()


def test_the_tokenizer_is_chatml_and_round_trips_any_text() -> None:
    _, tokenizer = load(SHIPPED)
    for label in ("Yes", "No"):
        assert len(tokenizer.encode(label, add_special_tokens=False)) == 1
    assert tokenizer.eos_token == "<|im_end|>"
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    assert {"<|im_start|>", "<|im_end|>"} <= {token.content for token in added if token.special}
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    for text in ("Drink ginger tea.", " two  spaces\n\ttab", "naïve 漢字 🙂 \u0000", "Zwölf Boxkämpfer"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_shipped_judge_is_right_on_unseen_cases() -> None:
    model, tokenizer = load(SHIPPED)
    measured = measure(model, Packer(tokenizer), [evaluation(99, index) for index in range(150)])
    assert measured.accuracy >= 0.97
    assert measured.calibration_error <= 0.05
    assert measured.by_tag["held-out"][1] >= 0.95


def test_an_empty_response_meets_nothing() -> None:
    model, tokenizer = load(SHIPPED)
    packer = Packer(tokenizer)
    empty = [case for case in (evaluation(98, index) for index in range(600)) if not case.response]
    assert len(empty) >= 5
    assert (p_met(model, packer, packer.batch(empty)) < 0.5).float().mean() >= 0.97


def test_labels_hold_nearly_all_of_the_probability() -> None:
    model, tokenizer = load(SHIPPED)
    packer = Packer(tokenizer)
    batch = packer.batch([evaluation(97, index) for index in range(10)])
    with torch.inference_mode():
        logits = model.lm_head(hidden(model, batch)[batch.asked[:, 0], batch.asked[:, 1]])
    mass = logits.softmax(-1)[:, [packer.yes, packer.no]].sum(-1)
    assert mass.min() > 0.99


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
    assert tokenizer.decode(ends[:1]) == "\n"
    assert len(batch.early) == len(batch.early_labels)


def test_a_fresh_model_is_small_enough() -> None:
    model = build(Size(), train_tokenizer(vocabulary=1536, cases=200), seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) < 2_000_000


@pytest.mark.timeout(300)
def test_the_recipe_writes_a_folder_that_loads(tmp_path: Path) -> None:
    out = tmp_path / "judge"
    command = [sys.executable, "-m", "miniature", "judge", "--out", str(out), "--steps", "5", "--threads", "1"]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=True)
    model, tokenizer = load(out)
    case = evaluation(0, 0)
    packer = Packer(tokenizer)
    assert p_met(model, packer, packer.batch([case])).shape == (len(case.criteria),)
    assert {file.name for file in out.iterdir()} >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
