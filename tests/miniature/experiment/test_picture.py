"""The study's picture: which one is drawn, and that no arm is missing from it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from miniature.experiment import picture
from miniature.experiment.arms import ARMS, Setting


def _result(arm: str, seed: int = 0, **setting: Any) -> dict[str, Any]:
    split = {"exact_reward": 0.5, "exact_best_of": {"1": 0.5, "8": 0.7}}
    return {"arm": arm, "seed": seed, "setting": asdict(Setting(**setting)), "splits": {"train": split}}


def _texts(figure: Any) -> set[str]:
    axes = figure.axes
    legends = [one for one in (*figure.legends, *(one.get_legend() for one in axes)) if one]
    named = {text.get_text() for legend in legends for text in legend.get_texts()}
    return named | {one.get_text() for one in axes[0].get_yticklabels()}


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([_result(arm) for arm in list(ARMS)[:7]], "_curves"),
        ([_result(arm) for arm in list(ARMS)[:8]], "_ends"),
        ([_result("rar-explicit", reward="erring", agreement=level) for level in (0.5, 0.9)], "_by_agreement"),
    ],
)
def test_every_arm_is_in_the_picture(
    results: list[dict[str, Any]], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[set[str]] = []
    real = getattr(picture, kind)

    def kept(*given: Any) -> Any:
        figure = real(*given)
        drawn.append(_texts(figure))
        return figure

    monkeypatch.setattr(picture, kind, kept)
    picture.draw(results, [[{"step": 1, "reward/bare": 0.1}]] * len(results), tmp_path / "study.png")
    assert {result["arm"] for result in results} <= drawn[0]
    assert (tmp_path / "study.png").stat().st_size > 5000
