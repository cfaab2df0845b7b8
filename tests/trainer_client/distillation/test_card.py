"""The card names what was learned, with intervals, and no path of this machine."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.trainer_client.distillation.made import example
from trainer_client import wire
from trainer_client.distillation import card
from trainer_client.distillation.outcome import agreements
from trainer_client.distillation.rendering import Rendered
from trainer_client.distillation.teacher import Cost

TEACHER = wire.Judge(
    model="/models/big", revision="r", engine="vllm", mode="reasoned", layout="rubricd", fingerprint="f00d", toy=True
)


def _facts(base: str, **more: Any) -> card.Facts:
    made = [example(n, [1], [2], target=float(n % 2), label=bool(n % 2)) for n in range(40)]
    p = np.array([0.25 + n % 2 / 2 for n in range(40)])
    fields: dict[str, Any] = {
        "base": base,
        "rendered": Rendered("rubricd", "question", "abcd", ("Yes", "No"), (1, 2), ()),
        "digest": "0123456789abcdef0123",
        "learned": 300,
        "held_out": 40,
        "left_out": {"too long": 2},
        "recipe": {"epochs": 3.0},
        "teacher": TEACHER,
        "teacher_cost": Cost(900.0, 1.5),
        "cost": Cost(40.0, 0.01),
        "label_mass": 0.998,
        "agreements": agreements("held out", made, 1 - p, p, taught=True),
    }
    return card.Facts(**(fields | more))


def test_figures_stand_with_their_intervals_and_the_teacher_with_its_cost(tmp_path: Path) -> None:
    text = card.card("small", _facts(str(tmp_path)))
    assert "| held out (40) | labels | AUROC | 0.000 (no spread seen) | 1.000 (no spread seen) |" in text
    assert "| held out (40) | teacher | gain in AUROC | | 1.000 (no spread seen) |" in text
    assert "| teacher | 900 | 1.5000 |\n| this one | 40 | 0.0100 |" in text
    assert "the verdicts of big, a toy, fingerprint `f00d`, in mode reasoned" in text
    assert "2 criteria were left out: too long." in text and "make serve JUDGE=small" in text


def test_no_path_of_this_machine_is_in_the_card_or_its_figures(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    card.write(out, "small", _facts(str(base), teacher=None, teacher_cost=None))
    written = (out / "README.md").read_text() + (out / "distillation.json").read_text()
    assert str(tmp_path) not in written and "`base`" in written and "It learned labels." in written
    found = json.loads((out / "distillation.json").read_text())
    assert found["agreements"][0]["after"]["auroc"]["value"] == 1.0 and found["rendered"]["digest"] == "abcd"


def test_a_base_of_the_hub_is_named_as_such() -> None:
    assert "\nbase_model: someone/small-chat\n" in card.card("small", _facts("someone/small-chat"))
