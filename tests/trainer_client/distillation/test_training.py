"""A packed row gives the probabilities of its prompts alone, and training lowers the loss at the label's place."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from service.engine.build import MINIATURE
from tests.trainer_client.distillation.made import example
from trainer_client.distillation import training
from trainer_client.distillation.examples import Example
from trainer_client.distillation.packing import rows

BASE = str(MINIATURE)
LABELS = (480, 479)


def _made(items: int) -> list[Example]:
    rng = Random(5)
    found = []
    for item in range(items):
        shared = [*range(20, 40), *(rng.randrange(600) for _ in range(rng.randrange(20, 60)))]
        for criterion in range(5):
            own = [rng.randrange(600) for _ in range(rng.randrange(3, 12))]
            target = float(criterion % 2)
            found.append(example(item, shared, own, str(criterion), target=target, label=target > 0.5))
    return found


def _trainer(folder: Path, made: list[Example], lora: int | None = None, epochs: float = 1.0) -> training.JudgeTrainer:
    model, _ = training.load(BASE, lora)
    return training.trainer(
        model,
        rows(made),
        rows(made[:10]),
        label_ids=LABELS,
        recipe=training.Recipe(epochs, 1e-3, lora, seed=0),
        folder=folder,
        packed=True,
    )


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "computes_bfloat16", lambda: False)


def test_a_packed_row_gives_the_probabilities_of_each_prompt_alone(tmp_path: Path) -> None:
    made = _made(6)
    found = training.predict(_trainer(tmp_path, made), rows(made))
    model = AutoModelForCausalLM.from_pretrained(BASE)
    for one, p, mass in zip(made, found.p, found.label_mass, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([[*one.shared, *one.own]])).logits[0, -1].double()
        met, unmet = logits.softmax(-1)[list(LABELS)].tolist()
        assert p == pytest.approx(met / (met + unmet), abs=1e-5)
        assert mass == pytest.approx(met + unmet, abs=1e-5)


@pytest.mark.parametrize("lora", [None, 4])
def test_training_lowers_the_loss_and_a_saved_judge_says_the_same(tmp_path: Path, lora: int | None) -> None:
    made = _made(12)
    trainer = _trainer(tmp_path / "work", made, lora, epochs=4)
    targets = np.array([one.target for one in made])
    before = training.log_loss(training.predict(trainer, rows(made)).p, targets)
    trainer.train()
    after = training.predict(trainer, rows(made)).p
    assert training.log_loss(after, targets) < before - 0.05
    training.save(trainer.model, torch.float32, tmp_path / "judge")
    again, _ = training.load(str(tmp_path / "judge"), None)
    assert not [name for name, _ in again.named_parameters() if "lora" in name]
    (row,) = rows(made[:5])
    with torch.no_grad():
        inputs = training.Collator((1.0, 1.0), packed=True)([row])
        del inputs["labels"]
        logits = again(**inputs).logits[0]
    p = (logits[:, LABELS[0]] - logits[:, LABELS[1]]).sigmoid().numpy()
    assert np.abs(p - after[:5]).max() < 1e-4


def test_models_that_do_not_see_everything_are_not_packed(tmp_path: Path) -> None:
    assert training.can_be_packed(BASE)
    (tmp_path / "config.json").write_text('{"model_type": "mistral", "sliding_window": 4096}')
    assert not training.can_be_packed(str(tmp_path))
