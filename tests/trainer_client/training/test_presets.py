"""The presets hold the papers' numbers, typed here once more from the papers' tables."""

from typing import Any

import pytest

from trainer_client import wire
from trainer_client.scaffold import Schedule
from trainer_client.training.presets import GENERIC, PRESETS, settings

# RuscaRL, arXiv 2508.16949 v6: table 3 and appendix C.1; the released script for what they leave out.
RUSCARL: dict[str, Any] = {
    "group": 8,
    "prompts_per_batch": 64,
    "mini_batch": 32,
    "epochs": 5,
    "save_every": 20,
    "eval_every": 5,
    "kl": "clamped",  # low_var_kl, by the released script
    "rubric": "own",
    "reference": "hidden",
    "judging": {"mode": "verdict", "aggregation": "healthbench"},
    "trl": {
        "learning_rate": 0.000001,
        "lr_scheduler_type": "constant",
        "beta": 0.001,
        "loss_type": "dapo",
        "epsilon": 0.2,
        "delta": 3.0,
        "scale_rewards": "group",
        "max_completion_length": 4096,
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
    },
}
# Rubrics as Rewards, arXiv 2507.17746 v2: table 10.
RAR: dict[str, Any] = {
    "group": 16,
    "prompts_per_batch": 96,
    "mini_batch": 96,
    "steps": 300,
    "ratio": "bare/bare",
    "scaffold": {"over": "none"},
    "trl": {
        "learning_rate": 0.000005,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 0.1,
        "max_completion_length": 3072,
        "temperature": 1.0,
    },
}
RATED = {"mode": "likert", "rating_norm": "(r-1)/9"}
TABLE: dict[str, dict[str, Any]] = {
    "ruscarl": {
        **RUSCARL,
        "ratio": "bare/bare",
        "scaffold": {"within": "linear", "over": "sigmoid", "steepness": 125.0, "start": 0.2},
    },
    "rubric-rl": {**RUSCARL, "ratio": "bare/bare", "scaffold": {"over": "none"}},
    "merf": {**RUSCARL, "ratio": "scaffold/scaffold", "scaffold": {"within": "binary", "over": "constant"}},
    "rar-explicit": {
        **RAR,
        "rubric": "own",
        "reference": "hidden",
        "judging": {"mode": "verdict", "aggregation": "rar_explicit"},
    },
    "rar-implicit": {
        **RAR,
        "rubric": "own",
        "reference": "hidden",
        "judging": {"mode": "implicit", "rating_norm": "(r-1)/9"},
    },
    "direct-likert": {**RAR, "rubric": "none", "reference": "hidden", "judging": RATED},
    "reference-likert": {**RAR, "rubric": "none", "reference": "needed", "judging": RATED},
    "rar-predefined": {
        **RAR,
        "rubric": "generic",
        "reference": "hidden",
        "judging": {"mode": "verdict", "aggregation": "rar_explicit"},
    },
}


def test_there_is_a_row_for_every_preset() -> None:
    assert TABLE.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_is_the_papers(name: str) -> None:
    assert settings(name, "Qwen/Qwen3-4B") == TABLE[name]


@pytest.mark.parametrize(
    ("policy", "start", "sampling"),
    [
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", 0.1, (0.7, 0.8, 20)),
        ("Qwen/Qwen3-30B-A3B-Base", 0.1, (0.7, 0.8, 20)),
        ("meta-llama/Llama-3.1-8B", 0.15, (0.7, 0.8, 20)),
        ("/models/Llama-3.1-8B-Instruct", 0.15, (0.7, 0.8, 20)),
        ("meta-llama/Llama-3.2-3B-Instruct", 0.3, (0.7, 0.8, 20)),
        ("Qwen/Qwen2.5-7B-Instruct", 0.2, (1.0, 1.0, 0)),
        ("Qwen/Qwen2.5-7B", 0.2, (0.7, 0.8, 20)),
    ],
)
def test_what_the_paper_sets_by_model(policy: str, start: float, sampling: tuple[float, float, int]) -> None:
    found = settings("ruscarl", policy)
    assert found["scaffold"]["start"] == start
    assert tuple(found["trl"][name] for name in ("temperature", "top_p", "top_k")) == sampling
    assert "start" not in settings("rubric-rl", policy)["scaffold"]
    assert settings("rar-explicit", policy)["trl"] == RAR["trl"]


def test_the_ruscarl_schedule_is_the_published_one() -> None:
    """T = 350, alpha = 125, t0 = 0.2, G = 8: what the first member and the middle one are shown."""
    schedule = Schedule(**settings("ruscarl", "some model")["scaffold"])
    shares = {step: [round(schedule.share(member, 8, step, 350), 3) for member in (0, 3, 7)] for step in (50, 65, 70)}
    assert shares == {50: [0.999, 0.571, 0.0], 65: [0.889, 0.508, 0.0], 70: [0.571, 0.326, 0.0]}


def test_the_generic_criteria_are_a_rubric_of_equal_weights() -> None:
    criteria = wire.Rubric.model_validate({"criteria": [dict(one) for one in GENERIC]}).criteria
    assert (
        len(criteria) == 4 and {one.points for one in criteria} == {1.0} and {len(one.tags) for one in criteria} == {0}
    )


def test_settings_are_the_callers_own_to_change() -> None:
    settings("ruscarl", "m")["trl"]["beta"] = 7
    settings("ruscarl", "m")["judging"]["mode"] = "likert"
    assert settings("ruscarl", "m") == TABLE["ruscarl"]
