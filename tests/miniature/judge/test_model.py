"""The judge's architecture."""

from pathlib import Path

from miniature.judge.model import Size, build
from miniature.judge.tokenizer import train_tokenizer

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "judge"


def test_a_fresh_model_is_small_enough() -> None:
    model = build(Size(), train_tokenizer(vocabulary=1536, cases=200), seed=0, tail_tokens=20)
    assert sum(parameter.numel() for parameter in model.parameters()) < 2_000_000
