"""The registry holds every mode and layout that one judge's tokenizer and chat template can carry.

Guarantees: mode `verdict` in layout `rubricd` is among them, or the service does not start. A mode that this judge
cannot carry is left out, and the log has the reason.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

from service.engine.base import EngineIdentity, Sampling
from service.errors import ConfigurationError
from service.modes.escalation import OFF, Escalation
from service.modes.fingerprint import name_judge
from service.modes.modes import JudgingMode, RatingMode, ReasonedMode, VerdictMode
from service.modes.rating import find_scale
from service.modes.written_verdict import verdict_schema
from service.prompting.renderer import Renderer
from service.prompting.template import REASONING_END, build_skeleton
from service.prompting.tokenization import ChatTokenizer, Segmenter

log = logging.getLogger(__name__)

MODES = ("verdict", "reasoned", "implicit", "likert")
LAYOUTS = ("rubricd", "healthbench")
_BOOLEANS = (" true", " false")


@dataclass(frozen=True, slots=True)
class ModeOptions:
    """The operator's choices about judging. `explanation_chars`, `reasoned_tokens` and `max_reasoning_tokens` bound
    what is written; `temperature` is that of votes; `grader` is the text of layout `healthbench`, ours where None."""

    labels: tuple[str, str] = ("Yes", "No")
    mass_floor: float = 0.5
    reasoned_tokens: int = 512
    explanation_chars: int = 1200
    max_reasoning_tokens: int = 4096
    temperature: float = 0.7
    grader: str | None = None
    escalation: Escalation = OFF


def judging_modes(
    identity: EngineIdentity, tokenizer: ChatTokenizer, mode_options: ModeOptions
) -> dict[tuple[str, str], JudgingMode]:
    """By mode and layout. Raises ConfigurationError where not even mode `verdict` can be served."""
    segmenter = Segmenter(tokenizer)
    found: dict[tuple[str, str], JudgingMode] = {}
    for layout, mode in product(LAYOUTS, _MAKERS):
        try:
            renderer = Renderer(segmenter, build_skeleton(tokenizer, layout, mode, grader=mode_options.grader))
            found[mode, layout] = _MAKERS[mode](identity, renderer, mode_options, found.get(("reasoned", layout)))
        except ConfigurationError as error:
            if (mode, layout) == ("verdict", "rubricd"):
                raise
            log.info("mode %s in layout %s is not served: %s", mode, layout, error)
    return {key: found[key] for key in product(MODES, LAYOUTS) if key in found}


def _by_labels(
    identity: EngineIdentity, renderer: Renderer, mode_options: ModeOptions, reasoned: JudgingMode | None
) -> JudgingMode:
    labels = mode_options.labels if renderer.skeleton.name == "rubricd" else _BOOLEANS
    escalation = mode_options.escalation
    decoding = {}
    if escalation.band > 0 and reasoned is not None:
        decoding["escalation"] = f"{escalation.band!r} {escalation.share!r} {reasoned.judge.fingerprint}"
    judge = name_judge(
        identity,
        renderer.skeleton,
        mode="verdict",
        labels=labels,
        label_ids=renderer.label_ids(labels),
        mass_floor=mode_options.mass_floor,
        decoding=decoding,
    )
    return VerdictMode(judge, renderer)


def _by_rating(
    identity: EngineIdentity, renderer: Renderer, mode_options: ModeOptions, reasoned: JudgingMode | None, *, mode: str
) -> JudgingMode:
    ratings = find_scale(renderer)
    ids = (*ratings.digit_ids, *(() if ratings.ten_id is None else (ratings.ten_id,)))
    labels = (*"0123456789", *(() if ratings.ten_id is None else ("10",)))
    judge = name_judge(
        identity, renderer.skeleton, mode=mode, labels=labels, label_ids=ids, mass_floor=mode_options.mass_floor
    )
    return RatingMode(judge, renderer, ratings)


def _by_reasons(
    identity: EngineIdentity, renderer: Renderer, mode_options: ModeOptions, reasoned: JudgingMode | None
) -> JudgingMode:
    greedy = Sampling(
        max_tokens=mode_options.reasoned_tokens, json_schema=verdict_schema(mode_options.explanation_chars)
    )
    reasons = renderer.skeleton.opens_reasoning
    judge = name_judge(
        identity,
        renderer.skeleton,
        mode="reasoned",
        labels=(),
        label_ids=(),
        mass_floor=0.0,
        decoding={  # these names are part of the fingerprint: with another one every judge would be a new judge
            "schema": greedy.json_schema or "",
            "reasoned_tokens": str(greedy.max_tokens),
            "thought_tokens": str(mode_options.max_reasoning_tokens) if reasons else "none",
            "temperature": f"0 or {mode_options.temperature!r} for votes",
        },
    )
    return ReasonedMode(
        judge,
        renderer,
        greedy=greedy,
        temperature=mode_options.temperature,
        max_reasoning_tokens=mode_options.max_reasoning_tokens,
        reasoning_end_id=renderer.control_id(REASONING_END) if reasons else None,
    )


_MAKERS: Mapping[str, Callable[[EngineIdentity, Renderer, ModeOptions, JudgingMode | None], JudgingMode]] = {
    "reasoned": _by_reasons,
    "verdict": _by_labels,
    "implicit": partial(_by_rating, mode="implicit"),
    "likert": partial(_by_rating, mode="likert"),
}
