"""The registry holds every mode and layout that one judge's tokenizer and chat template can carry.

Guarantees: mode `verdict` in layout `rubricd` is among them, or the service does not start. A mode that this judge
cannot carry is left out, and the log has the reason.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from itertools import product

from service.engine.base import EngineIdentity, Sampling
from service.errors import ConfigurationError
from service.modes.escalation import Escalation
from service.modes.explanation import TemplateWords
from service.modes.fingerprint import name_judge
from service.modes.modes import JudgingMode, RatingMode, ReasonedMode, VerdictMode
from service.modes.rating import find_scale
from service.modes.written_verdict import BOOLEANS, VERDICT_KEY, verdict_schema
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import ChatTokenizer, Segmenter
from service.settings import ModeSettings

log = logging.getLogger(__name__)

MODES = ("verdict", "reasoned", "implicit", "likert")
LAYOUTS = ("rubricd", "healthbench")
_BOOLEANS = (" true", " false")


def judging_modes(
    identity: EngineIdentity,
    tokenizer: ChatTokenizer,
    settings: ModeSettings,
    grader: str | None = None,
    unserved: Collection[str] = (),
) -> dict[tuple[str, str], JudgingMode]:
    """By mode and layout, without the modes `unserved`. `grader` is the text of layout `healthbench`, ours where None.
    Raises ConfigurationError where not even mode `verdict` can be served."""
    segmenter = Segmenter(tokenizer)
    # Not the files' hash: what a file was read as is what decides the ids.
    identity = replace(identity, facts={**identity.facts, "tokenizer": segmenter.fingerprint})
    found: dict[tuple[str, str], JudgingMode] = {}
    for layout, mode in product(LAYOUTS, _MAKERS):
        if mode in unserved:
            continue
        try:
            skeleton = build_skeleton(
                tokenizer, layout, mode, grader=grader, labels=settings.labels, arguments=settings.chat_template_kwargs
            )
            renderer = Renderer(segmenter, skeleton)
            found[mode, layout] = _MAKERS[mode](identity, renderer, settings, found.get(("reasoned", layout)))
        except ConfigurationError as error:
            if (mode, layout) == ("verdict", "rubricd"):
                raise
            log.info("mode %s in layout %s is not served: %s", mode, layout, error)
    return {key: found[key] for key in product(MODES, LAYOUTS) if key in found}


def readable_modes(
    modes: Mapping[tuple[str, str], JudgingMode], check_labels: Callable[[tuple[int, ...]], None]
) -> dict[tuple[str, str], JudgingMode]:
    """The modes whose labels the engine can read. `check_labels` raises ConfigurationError for labels that it cannot;
    so does this where it is mode `verdict` in layout `rubricd`."""
    found = dict(modes)
    for (mode, layout), judging_mode in modes.items():
        try:
            check_labels(judging_mode.judge.label_ids)
        except ConfigurationError as error:
            if (mode, layout) == ("verdict", "rubricd"):
                raise
            log.info("mode %s in layout %s is not served: %s", mode, layout, error)
            del found[mode, layout]
    return found


def _by_labels(
    identity: EngineIdentity, renderer: Renderer, settings: ModeSettings, reasoned: JudgingMode | None
) -> JudgingMode:
    labels = settings.labels if renderer.skeleton.name == "rubricd" else _BOOLEANS
    escalation = Escalation.of(settings)
    decoding = {}
    if escalation.band > 0 and reasoned is not None:
        decoding["escalation"] = f"{escalation.band!r} {escalation.share!r} {reasoned.judge.fingerprint}"
    judge = name_judge(
        identity,
        renderer.skeleton,
        mode="verdict",
        labels=labels,
        label_ids=renderer.label_ids(labels),
        mass_floor=settings.label_mass_floor,
        decoding=decoding,
    )
    return VerdictMode(judge, renderer)


def _by_rating(
    identity: EngineIdentity, renderer: Renderer, settings: ModeSettings, reasoned: JudgingMode | None, *, mode: str
) -> JudgingMode:
    ratings = find_scale(renderer)
    ids = (*ratings.digit_ids, *(() if ratings.ten_id is None else (ratings.ten_id,)))
    labels = (*"0123456789", *(() if ratings.ten_id is None else ("10",)))
    judge = name_judge(
        identity, renderer.skeleton, mode=mode, labels=labels, label_ids=ids, mass_floor=settings.label_mass_floor
    )
    return RatingMode(judge, renderer, ratings)


def _by_reasons(
    identity: EngineIdentity, renderer: Renderer, settings: ModeSettings, reasoned: JudgingMode | None
) -> JudgingMode:
    greedy = Sampling(max_tokens=settings.reasoned_tokens, json_schema=verdict_schema(settings.explanation_chars))
    reasoning_end = renderer.skeleton.reasoning_end
    verdict_key, label_ids = renderer.place_words(VERDICT_KEY, BOOLEANS)
    judge = name_judge(
        identity,
        renderer.skeleton,
        mode="reasoned",
        labels=BOOLEANS,
        label_ids=label_ids,
        mass_floor=settings.label_mass_floor,
        decoding={  # these names are part of the fingerprint: with another one every judge would be a new judge
            "schema": greedy.json_schema or "",
            "verdict_key": verdict_key,
            "reasoned_tokens": str(greedy.max_tokens),
            "thought_tokens": str(settings.max_reasoning_tokens) if reasoning_end else "none",
            "temperature": f"0 or {settings.vote_temperature!r} for votes",
        },
    )
    return ReasonedMode(
        judge,
        renderer,
        template=TemplateWords("\n".join(renderer.skeleton.fixed_text)),
        labels=settings.labels,
        verdict_key=verdict_key,
        greedy=greedy,
        temperature=settings.vote_temperature,
        max_reasoning_tokens=settings.max_reasoning_tokens,
        reasoning_end_id=renderer.control_id(reasoning_end) if reasoning_end else None,
    )


_MAKERS: Mapping[str, Callable[[EngineIdentity, Renderer, ModeSettings, JudgingMode | None], JudgingMode]] = {
    "reasoned": _by_reasons,
    "verdict": _by_labels,
    "implicit": partial(_by_rating, mode="implicit"),
    "likert": partial(_by_rating, mode="likert"),
}
