"""The registry holds every mode, layout and prompt that one judge's tokenizer and chat template can carry.

Guarantees: mode `verdict` in layout `rubricd` and the default prompt is among them, or the service does not start. What
this judge cannot carry is left out, and the reason is kept.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from types import MappingProxyType

from service.engine.base import EngineIdentity, Sampling
from service.errors import ConfigurationError
from service.modes.batched import BatchedMode
from service.modes.comparison import LABELS
from service.modes.escalation import Escalation
from service.modes.explanation import TemplateWords
from service.modes.fingerprint import name_judge
from service.modes.graded_modes import RUBRICD, GradedModes, levels_if_readable
from service.modes.modes import ComparisonMode, JudgingMode, RatingMode, ReasonedMode, VerdictMode
from service.modes.rating import find_scale
from service.modes.served_modes import BATCHED, PROMPTED, JudgingModes, Way
from service.modes.written_verdict import BOOLEANS, VERDICT_KEY, verdict_schema
from service.prompting.renderer import Renderer
from service.prompting.template import NoSuchMode, build_skeleton
from service.prompting.tokenization import ChatTokenizer, Segmenter
from service.prompting.wording import Wording, prompts_for
from service.settings import ModeSettings

log = logging.getLogger(__name__)

MODES = ("verdict", "reasoned", "implicit", "likert", "compare")
LAYOUTS = ("rubricd", "healthbench", "simple_evals")
_BOOLEANS = (" true", " false")
MOST_TOKENS = 2**31
"""A context that bounds nothing, where no engine says its own."""


def judging_modes(
    identity: EngineIdentity,
    tokenizer: ChatTokenizer,
    settings: ModeSettings,
    grader: str | None = None,
    unserved: Collection[str] = (),
    limit_tokens: int = MOST_TOKENS,
) -> JudgingModes:
    """Every mode, layout and prompt, without the modes `unserved`. `grader` is the text of layouts `healthbench` and
    `simple_evals`, ours where None; `limit_tokens` the judge's context. Raises ConfigurationError where the default
    cannot be served, or the setting `prompt` names none."""
    segmenter = Segmenter(tokenizer)
    # Not the files' hash: what a file was read as is what decides the ids.
    identity = replace(identity, facts={**identity.facts, "tokenizer": segmenter.fingerprint})
    wordings = prompts_for(settings.prompt)
    default = Way(*PROMPTED, next(iter(wordings)))

    more = GradedModes(identity, segmenter, tokenizer, settings, unserved)

    def rendered(way: Way, *, asks_opposite: bool = False) -> Renderer:
        skeleton = build_skeleton(
            tokenizer,
            way.layout,
            way.mode if way.batch is None else f"{way.mode}_{way.batch}",
            wording=None if way.prompt is None else wordings[way.prompt],
            asks_opposite=asks_opposite,
            grader=grader,
            labels=settings.labels,
            arguments=settings.chat_template_kwargs,
        )
        return Renderer(segmenter, skeleton)

    found: dict[Way, JudgingMode] = {}
    refused: dict[Way, str] = {}
    faults: dict[Way, str] = {}
    for way in _ways(wordings):
        if way.mode in unserved:
            refused[way] = "this judge has learned labels alone, and what it would write is noise"
            continue
        try:
            reasoned = found.get(Way("reasoned", way.layout))
            if way.prompt is not None:
                opposite = rendered(way, asks_opposite=True) if wordings[way.prompt].opposite else None
                found[way] = _by_prompt(identity, rendered(way), opposite, settings, reasoned, wordings[way.prompt])
            elif way.batch is not None:
                found[way] = _batched(identity, rendered(way), settings, limit_tokens)
            else:
                found[way] = _MAKERS[way.mode](identity, rendered(way), settings, reasoned)
        except ConfigurationError as error:
            if way == default:
                raise
            if not isinstance(error, NoSuchMode):  # which is no fault of this judge, and nothing to look into
                faults[way] = str(error)
            refused[way] = str(error)
    _log(faults)
    for way, mode in found.items():
        if way.layout == RUBRICD and isinstance(mode, VerdictMode | ReasonedMode):
            found[way] = more.joined_to(mode, writes=Way("reasoned", RUBRICD) in found)
    served = sorted(found, key=lambda way: (way.batch or "", MODES.index(way.mode), LAYOUTS.index(way.layout)))
    return JudgingModes({way: found[way] for way in served}, wordings, refused)


def readable_modes(modes: JudgingModes, check_labels: Callable[[tuple[int, ...]], None]) -> JudgingModes:
    """The modes whose labels the engine can read. `check_labels` raises ConfigurationError for labels that it cannot;
    so does this for the default."""
    refused: dict[Way, str] = {}
    for way, judging_mode in modes.ways.items():
        try:
            check_labels(judging_mode.judge.label_ids)
        except ConfigurationError as error:
            if way == Way(*PROMPTED, modes.default_prompt):
                raise
            refused[way] = str(error)
    _log(refused)
    readable = {way: levels_if_readable(mode, check_labels) for way, mode in modes.ways.items()}
    return modes.replaced(readable).without(refused)


def _log(faults: Mapping[Way, str]) -> None:
    """In one line: to somebody new, a line for each looks like a row of failures."""
    if faults:
        (way, why), others = next(iter(faults.items())), len(faults) - 1
        more = f"; nor in {others} other {'way' if others == 1 else 'ways'}" if others else ""
        log.info("this judge cannot be asked in %s: %s%s", way.described, why, more)


def _ways(wordings: Mapping[str, Wording]) -> Iterator[Way]:
    """Every mode, layout and prompt, mode `reasoned` of a layout before its other modes."""
    for layout, mode in product(LAYOUTS, _MAKERS):
        if (mode, layout) == PROMPTED:
            yield from (Way(mode, layout, name) for name in wordings)
        else:
            yield Way(mode, layout)
    yield BATCHED


def _by_labels(
    identity: EngineIdentity,
    renderer: Renderer,
    settings: ModeSettings,
    reasoned: JudgingMode | None,
    prompt: str | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> VerdictMode:
    """`more` is what else decides the verdicts, for the fingerprint."""
    labels = renderer.skeleton.labels or _BOOLEANS
    escalation = Escalation.of(settings)
    decoding = dict(more)
    if escalation.band > 0 and reasoned is not None:
        decoding["escalation"] = f"{escalation.band!r} {escalation.share!r} {reasoned.judge.fingerprint}"
    judge = name_judge(
        identity,
        renderer.skeleton,
        mode="verdict",
        prompt=prompt,
        labels=labels,
        label_ids=renderer.label_ids(labels, settable=labels == settings.labels),
        mass_floor=settings.label_mass_floor,
        decoding=decoding,
    )
    return VerdictMode(judge, renderer)


def _by_prompt(
    identity: EngineIdentity,
    renderer: Renderer,
    opposite: Renderer | None,
    settings: ModeSettings,
    reasoned: JudgingMode | None,
    wording: Wording,
) -> VerdictMode:
    """Mode `verdict` in one prompt. `opposite` renders the opposite question, where the prompt has one."""
    if opposite is None:
        return _by_labels(identity, renderer, settings, reasoned, wording.name)
    reads_both = wording.reading == "opposite"
    both = {"opposite": opposite.skeleton.tail} if reads_both else {}
    return replace(
        _by_labels(identity, renderer, settings, reasoned, wording.name, both),
        opposite=_by_labels(identity, opposite, settings, reasoned, wording.name),
        reads_both=reads_both,
    )


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
) -> ReasonedMode:
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
        explanation_chars=settings.explanation_chars,
        reasoning_end_id=renderer.control_id(reasoning_end) if reasoning_end else None,
    )


def _batched(identity: EngineIdentity, renderer: Renderer, settings: ModeSettings, limit_tokens: int) -> BatchedMode:
    """Its prompt makes another fingerprint than where each criterion is asked by itself."""
    written = _by_reasons(identity, renderer, settings, None)
    return BatchedMode(replace(written.judge, batch="all"), written, limit_tokens)


def _by_comparison(
    identity: EngineIdentity, renderer: Renderer, settings: ModeSettings, reasoned: JudgingMode | None
) -> JudgingMode:
    judge = name_judge(
        identity,
        renderer.skeleton,
        mode="compare",
        labels=LABELS,
        label_ids=renderer.label_ids(LABELS, settable=False),
        mass_floor=settings.label_mass_floor,
    )
    return ComparisonMode(judge, renderer)


_MAKERS: Mapping[str, Callable[[EngineIdentity, Renderer, ModeSettings, JudgingMode | None], JudgingMode]] = {
    "reasoned": _by_reasons,
    "verdict": _by_labels,
    "implicit": partial(_by_rating, mode="implicit"),
    "likert": partial(_by_rating, mode="likert"),
    "compare": _by_comparison,
}
