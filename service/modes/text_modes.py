"""Asks judges whose servers read texts: the server's protocol or the engine has the words around a criterion. Pure.

Guarantees: a mode that the server cannot answer is not served, and its reason is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from service.engine.base import (
    Decision,
    EngineIdentity,
    EngineResult,
    GenerationQuery,
    LabelQuery,
    Prompt,
    ReadsTexts,
    Sampling,
)
from service.errors import ConfigurationError, Unparseable
from service.modes.escalation import Escalation
from service.modes.fingerprint import JudgeIdentity, name_judge
from service.modes.modes import JudgingMode, Query, Step
from service.modes.served_modes import BATCHED, JudgingModes, Way
from service.modes.text_batches import TextBatchedMode
from service.modes.written_batch import batch_schema
from service.modes.written_verdict import verdict_schema
from service.prompting.texts import TextRenderer
from service.prompting.wording import DEFAULT_PROMPT, Wording
from service.rubrics.judgement import Verdict
from service.settings import ModeSettings

SERVER_PROMPT = "server"
"""The name of the one prompt: the server's own, or the engine's."""
_RATES = "this judge's server answers one question about a criterion at a time, and rates no response as a whole"


@dataclass(frozen=True, slots=True)
class TextVerdictMode:
    """Mode `verdict`: one question, P(met) as the server says it."""

    judge: JudgeIdentity
    renderer: TextRenderer

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        return Step(LabelQuery(prompt, ()))

    def next_step(self, step: Step, result: EngineResult) -> Verdict:
        return _verdict(result)


@dataclass(frozen=True, slots=True)
class TextReasonedMode:
    """Mode `reasoned`: the server writes its reasons and its verdict in one document."""

    judge: JudgeIdentity
    renderer: TextRenderer
    greedy: Sampling
    temperature: float

    def first_step(self, prompt: Prompt, query: Query) -> Step:
        sampling = self.greedy
        if query.vote:
            sampling = replace(sampling, temperature=self.temperature, seed=query.vote)
        return Step(GenerationQuery(prompt, sampling))

    def next_step(self, step: Step, result: EngineResult) -> Verdict:
        return _verdict(result)


def _verdict(result: EngineResult) -> Verdict:
    if not isinstance(result, Decision):
        raise Unparseable("the engine gave no decision")
    if not 0.0 <= result.p_met <= 1.0:  # NaN is in no range
        raise Unparseable("the server's P(met) is no probability")
    return Verdict(result.p_met, result.label_mass, result.explanation)


def text_modes(identity: EngineIdentity, judge: ReadsTexts, settings: ModeSettings) -> JudgingModes:
    """The modes of a judge whose server reads texts. Raises ConfigurationError for a prompt, which it does not have."""
    if settings.prompt != DEFAULT_PROMPT:
        raise ConfigurationError(
            f"engine `{identity.engine}` sends texts, and has no prompt of ours: leave the setting `prompt` out"
        )
    renderer = TextRenderer(judge.referable)
    wording = Wording(
        name=SERVER_PROMPT,
        description="The judge's server reads texts and has its own prompt.",
        instructions="",
        question="the criterion",
        opening="",
    )
    refused: dict[Way, str] = {
        Way("verdict", "healthbench"): "the judge's server has its own layout",
        Way("verdict", "simple_evals"): "the judge's server has its own layout",
        Way("implicit", "rubricd"): _RATES,
        Way("likert", "rubricd"): _RATES,
        Way("compare", "rubricd"): "the judge's server answers questions about one response",
    }
    ways: dict[Way, JudgingMode] = {}
    decoding: dict[str, str] = {}
    written = None
    if "reasoned" in judge.refused:
        refused[Way("reasoned", "rubricd")] = judge.refused["reasoned"]
    else:
        written = _reasoned(identity, renderer, settings)
        decoding = _escalation(written, settings)
    if judge.documents is None:
        refused[BATCHED] = "the judge's server is asked one criterion at a time"
    named = _named(identity, renderer, settings, "verdict", SERVER_PROMPT, decoding)
    ways[Way("verdict", "rubricd", SERVER_PROMPT)] = TextVerdictMode(named, renderer)
    if written is not None:
        ways[Way("reasoned", "rubricd")] = written
    if judge.documents is not None and written is not None:
        ways[BATCHED] = _batched(identity, renderer, settings, judge.documents)
    return JudgingModes(ways, {SERVER_PROMPT: wording}, refused)


def _reasoned(identity: EngineIdentity, renderer: TextRenderer, settings: ModeSettings) -> TextReasonedMode:
    schema = verdict_schema(settings.explanation_chars)
    greedy = Sampling(max_tokens=settings.reasoned_tokens, json_schema=schema)
    decoding = {
        "schema": schema,
        "reasoned_tokens": str(greedy.max_tokens),
        "temperature": f"0 or {settings.vote_temperature!r} for votes",
    }
    named = _named(identity, renderer, settings, "reasoned", None, decoding)
    return TextReasonedMode(named, renderer, greedy, settings.vote_temperature)


def _batched(
    identity: EngineIdentity, renderer: TextRenderer, settings: ModeSettings, documents: str
) -> TextBatchedMode:
    one = Sampling(max_tokens=settings.reasoned_tokens)
    chars = settings.explanation_chars
    decoding = {
        "schema": batch_schema(1, chars),
        "documents": documents,
        "reasoned_tokens": str(one.max_tokens),
        "temperature": f"0 or {settings.vote_temperature!r} for votes",
    }
    named = replace(_named(identity, renderer, settings, "reasoned", None, decoding), batch="all")
    return TextBatchedMode(named, renderer, one, settings.vote_temperature, chars)


def _escalation(written: TextReasonedMode, settings: ModeSettings) -> dict[str, str]:
    """What mode `verdict` is asked again by, for its fingerprint."""
    escalation = Escalation.of(settings)
    if escalation.band <= 0:
        return {}
    return {"escalation": f"{escalation.band!r} {escalation.share!r} {written.judge.fingerprint}"}


def _named(
    identity: EngineIdentity,
    renderer: TextRenderer,
    settings: ModeSettings,
    mode: str,
    prompt: str | None,
    decoding: Mapping[str, str],
) -> JudgeIdentity:
    return name_judge(
        identity,
        renderer.skeleton,
        mode=mode,
        prompt=prompt,
        labels=(),
        label_ids=(),
        mass_floor=settings.label_mass_floor,
        decoding=decoding,
    )
