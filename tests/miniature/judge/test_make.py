"""The shipped judge and the recipe that made it, directly, without the service."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from miniature.judge.make import load, measure
from miniature.judge.packing import Packer
from miniature.judge.training import hidden, p_met
from miniature.world.cases import evaluation

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "judge"


def test_the_shipped_folder_is_small_and_standard() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 8_000_000
    config = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["hidden_size"] // config["num_attention_heads"] in (32, 64)
    assert config["max_position_embeddings"] >= 2048
    assert (SHIPPED / "generation_config.json").exists()


def test_the_shipped_judge_is_right_on_unseen_cases() -> None:
    model, tokenizer = load(SHIPPED)
    measured = measure(model, Packer(tokenizer), [evaluation(99, index) for index in range(150)])
    assert measured.accuracy >= 0.99
    assert measured.calibration_error <= 0.01
    assert measured.by_tag["held-out"][1] >= 0.98


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


def test_the_recipe_writes_a_folder_that_loads(tmp_path: Path) -> None:
    out = tmp_path / "judge"
    command = [sys.executable, "-m", "miniature", "judge", "--out", str(out), "--steps", "5", "--threads", "1"]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
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
