"""What a person sees of a training while it runs."""

from types import SimpleNamespace
from typing import Any

import pytest

from trainer_client.training.callbacks import ProgressLine, UpdateWatch

ARGS = SimpleNamespace(max_grad_norm=1.0)


def _state(step: int, first: bool = True) -> Any:
    return SimpleNamespace(global_step=step, max_steps=8, is_world_process_zero=first)


def test_progress_is_in_batches() -> None:
    written: list[str] = []
    line: Any = ProgressLine(2)
    line.training_bar = SimpleNamespace(write=written.append)
    for step in (2, 3, 8):
        line.on_log(ARGS, _state(step), None, {"reward": 0.5})
    assert [one.split("  ")[0] for one in written] == ["batch 1/4", "batch 2/4", "batch 4/4"]


def test_an_unbounded_kl_that_decides_the_updates_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    watch = UpdateWatch()
    watch.on_log(ARGS, _state(1), None, {"kl": 9.9, "kl/max": 1e9})
    watch.on_log(ARGS, _state(2, first=False), None, {"kl": 332.0, "kl/max": 1e9})
    watch.on_log(ARGS, _state(3), None, None)
    assert capsys.readouterr().err == ""
    for step in (4, 5):
        watch.on_log(ARGS, _state(step), None, {"kl": 332.0, "kl/max": 1e9})
    said = capsys.readouterr().err
    assert said == (
        "rubricd: step 4: the KL of single tokens decides the update: it is 1e+09 for one, and 332 on average; "
        "set `kl: clamped`\n"
    )


@pytest.mark.parametrize(("shares", "said"), [([0.5] * 40, False), ([1.0] * 10, False), ([0.0] * 9 + [1.0] * 11, True)])
def test_updates_that_clipping_decides_are_said(
    shares: list[float], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = UpdateWatch()
    for step, share in enumerate(shares):
        watch.on_log(ARGS, _state(step), None, {"grad_norm/clipped_share": share})
    assert ("trl.max_grad_norm (1) cut 55% of the updates in the last 20 logs" in capsys.readouterr().err) == said
