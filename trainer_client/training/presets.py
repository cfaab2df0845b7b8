"""Defines the papers' experiments and their baselines as values of a run config's fields.

Guarantees: a number here is the paper's or its released code's. Where neither states one, the run config or TRL's
default decides, or `chosen` gives the reason. `docs/guide/presets.md` has the same numbers, each with its source.

RuscaRL: arXiv 2508.16949 v6; RaR: arXiv 2507.17746 v2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from trainer_client.client import ScoreOptions
from trainer_client.scaffold import Ratio

Rubrics = Literal["own", "generic", "none"]
References = Literal["hidden", "needed"]

GENERIC: tuple[Mapping[str, Any], ...] = tuple(
    MappingProxyType({"id": id, "text": text, "points": 1.0})
    for id, text in (
        ("correct", "What the response says is correct; nothing in it is wrong or made up."),
        ("complete", "Every essential part of what was asked is answered, in enough detail."),
        ("concise", "The response is concise: it says nothing twice and nothing that is beside the point."),
        ("useful", "The response can be acted on and helps with what the user needs in practice."),
    )
)
"""The four criteria of RaR-Predefined, in our own words: the same for every prompt, of equal weight."""


@dataclass(frozen=True, slots=True)
class Preset:
    """An experiment. `scaffold` holds fields of Schedule; `start` by model is in STARTS. `trl` holds GRPOConfig fields.
    `chosen` gives the reason for each value that no paper states."""

    about: str
    scaffold: Mapping[str, Any]
    judging: ScoreOptions
    recipe: Mapping[str, Any]
    trl: Mapping[str, Any]
    ratio: Ratio = "bare/bare"
    rubric: Rubrics = "own"
    reference: References = "hidden"
    chosen: Mapping[str, str] = field(default_factory=dict)
    family: Literal["ruscarl", "rar"] = "ruscarl"


STARTS: Mapping[str, float] = {
    "Qwen3-30B-A3B": 0.1,
    "Llama-3.1-8B": 0.15,
    "Llama-3.2-3B-Instruct": 0.3,
}
"""RuscaRL's t0 for models whose name begins so; 0.2 for all others."""
UNTRUNCATED = ("Qwen2.5-7B-Instruct",)
"""Models that RuscaRL samples without top-p and top-k, at temperature 1: otherwise their entropy collapsed."""

LORA_LEARNING_RATE = 1e-5
"""Of an adapter whose run config names no learning rate: the presets' rates are of all weights, and teach it little."""

_RUSCARL_RECIPE: Mapping[str, Any] = {
    "group": 8,
    "prompts_per_batch": 64,
    "mini_batch": 32,
    "epochs": 5,
    "save_every": 20,
    "eval_every": 5,
    "kl": "clamped",
}
_RUSCARL_TRL: Mapping[str, Any] = {
    "learning_rate": 1e-6,
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
}
_RAR_RECIPE: Mapping[str, Any] = {"group": 16, "prompts_per_batch": 96, "mini_batch": 96, "steps": 300}
_RAR_TRL: Mapping[str, Any] = {
    "learning_rate": 5e-6,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 0.1,
    "max_completion_length": 3072,
    "temperature": 1.0,
}
_RAR_CHOSEN: Mapping[str, str] = {
    "prompts_per_batch": "the paper does not say whether its batch of 96 counts prompts or rollouts; we read prompts",
    "mini_batch": "one update a batch",
    "max_completion_length": "part of the 3,584 tokens that the paper allows for prompt and answer together",
}
_NOTHING_REVEALED: Mapping[str, Any] = {"over": "none"}
_HEALTHBENCH: ScoreOptions = {"mode": "verdict", "aggregation": "healthbench"}


def _ruscarl(about: str, scaffold: Mapping[str, Any], **more: Any) -> Preset:
    return Preset(about, scaffold, _HEALTHBENCH, _RUSCARL_RECIPE, _RUSCARL_TRL, **more)


def _rar(about: str, judging: ScoreOptions, **more: Any) -> Preset:
    chosen = {**_RAR_CHOSEN, **more.pop("chosen", {})}
    return Preset(about, _NOTHING_REVEALED, judging, _RAR_RECIPE, _RAR_TRL, chosen=chosen, family="rar", **more)


_NORM = {"rating_norm": "the paper maps 1..10 to 0..1 and gives no formula"}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "ruscarl": _ruscarl(
            "rubric-scaffolded rollouts: less for each next member, nothing after a fifth of the training",
            {"within": "linear", "over": "sigmoid", "steepness": 125.0},
        ),
        "rubric-rl": _ruscarl("the same reward without a scaffold", _NOTHING_REVEALED),
        "merf": _ruscarl(
            "every criterion in every prompt, from the first step to the last",
            {"within": "binary", "over": "constant"},
            ratio="scaffold/scaffold",
            chosen={"ratio": "MeRF trains on the prompt that it generates from; RuscaRL does not state how it ran it"},
        ),
        "rar-explicit": _rar(
            "each criterion judged alone, weighed by its category", {"mode": "verdict", "aggregation": "rar_explicit"}
        ),
        "rar-implicit": _rar(
            "one rating of 1..10 by the whole rubric",
            {"mode": "implicit", "rating_norm": "(r-1)/9"},
            chosen=_NORM,
        ),
        "direct-likert": _rar(
            "one rating of 1..10 of the answer alone",
            {"mode": "likert", "rating_norm": "(r-1)/9"},
            rubric="none",
            chosen=_NORM,
        ),
        "reference-likert": _rar(
            "one rating of 1..10 against the reference answer",
            {"mode": "likert", "rating_norm": "(r-1)/9"},
            rubric="none",
            reference="needed",
            chosen=_NORM,
        ),
        "rar-predefined": _rar(
            "four criteria that are the same for every prompt",
            {"mode": "verdict", "aggregation": "rar_explicit"},
            rubric="generic",
        ),
    }
)


def settings(name: str, policy: str) -> dict[str, Any]:
    """The fields of a run config as preset `name` sets them for this policy, a hub name or a folder."""
    preset = PRESETS[name]
    scaffold, trl = dict(preset.scaffold), dict(preset.trl)
    if scaffold["over"] == "sigmoid":
        scaffold["start"] = next((start for model, start in STARTS.items() if model in policy), 0.2)
    if preset.family == "ruscarl" and any(model in policy for model in UNTRUNCATED):
        trl |= {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    return {
        **preset.recipe,
        "rubric": preset.rubric,
        "reference": preset.reference,
        "ratio": preset.ratio,
        "scaffold": scaffold,
        "judging": dict(preset.judging),
        "trl": trl,
    }
