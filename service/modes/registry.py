"""The ways in which one judge can be asked: every mode and layout that its tokenizer and chat template can carry.

Always true: mode `verdict` in layout `rubricd` is among them, or the service does not start; whatever else this judge
cannot carry is left out, with the reason in the log.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

from service.engine.base import Identity, Sampling
from service.errors import ConfigurationError
from service.modes.escalation import OFF, Escalation
from service.modes.fingerprint import name_judge
from service.modes.modes import ByLabels, ByRating, ByReasons, Way
from service.modes.rating import scale
from service.modes.written_verdict import schema
from service.prompting.renderer import Renderer
from service.prompting.template import THOUGHT_END, skeleton
from service.prompting.tokenization import ChatTokenizer, Segmenter

log = logging.getLogger(__name__)

MODES = ("verdict", "reasoned", "implicit", "likert")
LAYOUTS = ("rubricd", "healthbench")
_BOOLEANS = (" true", " false")


@dataclass(frozen=True, slots=True)
class Manner:
    """What the operator chose about asking. `explanation_chars`, `reasoned_tokens`, `thought_tokens` bound what is
    written; `temperature` is that of votes; `grader` is the text of layout `healthbench`, ours where None."""

    labels: tuple[str, str] = ("Yes", "No")
    mass_floor: float = 0.5
    reasoned_tokens: int = 512
    explanation_chars: int = 1200
    thought_tokens: int = 4096
    temperature: float = 0.7
    grader: str | None = None
    escalation: Escalation = OFF


def ways(identity: Identity, tokenizer: ChatTokenizer, manner: Manner) -> dict[tuple[str, str], Way]:
    """By mode and layout. Raises ConfigurationError where not even a verdict can be asked for."""
    segmenter = Segmenter(tokenizer)
    found: dict[tuple[str, str], Way] = {}
    for layout, mode in product(LAYOUTS, _MAKERS):
        try:
            renderer = Renderer(segmenter, skeleton(tokenizer, layout, mode, grader=manner.grader))
            found[mode, layout] = _MAKERS[mode](identity, renderer, manner, found.get(("reasoned", layout)))
        except ConfigurationError as error:
            if (mode, layout) == ("verdict", "rubricd"):
                raise
            log.info("mode %s in layout %s is not served: %s", mode, layout, error)
    return {key: found[key] for key in product(MODES, LAYOUTS) if key in found}


def _by_labels(identity: Identity, renderer: Renderer, manner: Manner, reasoned: Way | None) -> Way:
    labels = manner.labels if renderer.skeleton.name == "rubricd" else _BOOLEANS
    escalation = manner.escalation
    decoding = {}
    if escalation.band > 0 and reasoned is not None:
        decoding["escalation"] = f"{escalation.band!r} {escalation.share!r} {reasoned.judge.fingerprint}"
    judge = name_judge(
        identity,
        renderer.skeleton,
        mode="verdict",
        labels=labels,
        label_ids=renderer.label_ids(labels),
        mass_floor=manner.mass_floor,
        decoding=decoding,
    )
    return ByLabels(judge, renderer)


def _by_rating(identity: Identity, renderer: Renderer, manner: Manner, reasoned: Way | None, *, mode: str) -> Way:
    ratings = scale(renderer)
    ids = (*ratings.digit_ids, *(() if ratings.ten_id is None else (ratings.ten_id,)))
    labels = (*"0123456789", *(() if ratings.ten_id is None else ("10",)))
    judge = name_judge(
        identity, renderer.skeleton, mode=mode, labels=labels, label_ids=ids, mass_floor=manner.mass_floor
    )
    return ByRating(judge, renderer, ratings)


def _by_reasons(identity: Identity, renderer: Renderer, manner: Manner, reasoned: Way | None) -> Way:
    greedy = Sampling(max_tokens=manner.reasoned_tokens, json_schema=schema(manner.explanation_chars))
    thinks = renderer.skeleton.thinks
    judge = name_judge(
        identity,
        renderer.skeleton,
        mode="reasoned",
        labels=(),
        label_ids=(),
        mass_floor=0.0,
        decoding={
            "schema": greedy.json_schema or "",
            "reasoned_tokens": str(greedy.max_tokens),
            "thought_tokens": str(manner.thought_tokens) if thinks else "none",
            "temperature": f"0 or {manner.temperature!r} for votes",
        },
    )
    return ByReasons(
        judge,
        renderer,
        greedy=greedy,
        temperature=manner.temperature,
        thought_tokens=manner.thought_tokens,
        thought_end_id=renderer.control_id(THOUGHT_END) if thinks else None,
    )


_MAKERS: Mapping[str, Callable[[Identity, Renderer, Manner, Way | None], Way]] = {
    "reasoned": _by_reasons,
    "verdict": _by_labels,
    "implicit": partial(_by_rating, mode="implicit"),
    "likert": partial(_by_rating, mode="likert"),
}
