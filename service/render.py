"""Renders items as the judge's prompts, as token ids in JSON lines, for who trains a judge on what it will be asked.

Guarantees: the ids are those of `POST /v1/score` in mode `verdict` with the same settings; untrusted text goes through
the same tokenisation. Only the tokenizer is loaded. A line that is no item ends the command with its number.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TextIO

from service.api.bodies.parsing import parse_score_request
from service.api.translate import candidates
from service.engine.base import EngineIdentity
from service.engine.build import MINIATURE, READING_TEXTS
from service.engine.tokenizer import load_tokenizer
from service.errors import ConfigurationError, RubricdError
from service.judge_preparing import naming, own_settings
from service.modes.modes import JudgingMode
from service.modes.registry import judging_modes
from service.rubrics.rubric import Candidate
from service.scoring.scorer import DEFAULT
from service.settings import Settings, deployment
from service.settings.judges_file import read_judges


def render(settings: Settings, lines: TextIO, out: TextIO) -> int:
    """Reads an item from each line and writes a line for each response, after a first line about the prompt. With a
    file of judges it does so for each judge, whose `name` is in its first line; one that has no prompts as token ids
    says why there, and nothing follows. Raises ConfigurationError, for a line that is no item too."""
    if settings.judges is None:
        _write(_mode(settings), settings, lines, out, {})
        return 0
    items = list(lines)
    for name, entry in read_judges(settings.judges).judges.items():
        if isinstance(entry, deployment.EngineJudge):
            own = naming(name, partial(own_settings, settings, entry))
            if own.engine not in READING_TEXTS:
                _write(naming(name, partial(_mode, own)), own, items, out, {"name": name})
                continue
            why = f"engine `{own.engine}` sends texts"
        elif isinstance(entry, deployment.RubricdJudge):
            why = "another service renders its prompts"
        else:
            why = f"its members render theirs: {', '.join(entry.members)}"
        print(json.dumps({"name": name, "not_rendered": why}), file=out)
    return 0


def _write(mode: JudgingMode, settings: Settings, lines: Iterable[str], out: TextIO, name: Mapping[str, str]) -> None:
    print(json.dumps({**name, **_about(settings, mode)}), file=out)
    for line in rendered(mode, settings, lines):
        print(json.dumps(line), file=out)


def rendered(mode: JudgingMode, settings: Settings, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """For each response its prompts: the ids that its criteria share, and each criterion's own, null for a rule."""
    for number, line in enumerate(lines, 1):
        try:
            asked = candidates(parse_score_request(line.encode(), settings).request)
        except RubricdError as error:
            raise ConfigurationError(f"line {number} of the items: {error}") from error
        for candidate in asked:
            yield _prompts(mode, candidate)


def _prompts(mode: JudgingMode, candidate: Candidate) -> dict[str, Any]:
    asked = [criterion for criterion in candidate.criteria if criterion.rule is None]
    if more := [criterion.id for criterion in asked if not criterion.plain]:
        raise ConfigurationError(f"criterion `{more[0]}` is more than met or not met, and has no prompt of a verdict")
    prompts = mode.renderer.render([(candidate, asked)])[0] if asked else []
    own = {criterion.id: prompt.own for criterion, prompt in zip(asked, prompts, strict=True)}
    shared = prompts[0].shared if prompts else ()
    return {"shared": shared, "own": [own.get(criterion.id) for criterion in candidate.criteria]}


def _mode(settings: Settings) -> JudgingMode:
    if settings.engine in READING_TEXTS:
        raise ConfigurationError(f"engine `{settings.engine}` sends texts: it has no prompts as token ids")
    judge = settings.judge or str(MINIATURE)
    # The prompt does not depend on the weights, and no fingerprint is written.
    identity = EngineIdentity(model=judge, revision="", engine="none", facts={})
    modes = judging_modes(identity, load_tokenizer(judge, settings.revision), settings)
    if next(iter(modes.wordings.values())).reading != "single":
        raise ConfigurationError(
            f"prompt `{modes.default_prompt}` asks each criterion twice, and a judge is trained for one question: set "
            "another `prompt`"
        )
    return modes[DEFAULT]


def _about(settings: Settings, mode: JudgingMode) -> dict[str, Any]:
    """What the ids were rendered with. `digest` is one of every byte of the template and the labels."""
    digest = hashlib.sha256(json.dumps([mode.renderer.skeleton.fixed_text, mode.judge.labels]).encode()).hexdigest()
    return {
        "judge": settings.judge or str(MINIATURE),
        "mode": mode.judge.mode,
        "layout": mode.judge.layout,
        "labels": mode.judge.labels,
        "label_ids": mode.judge.label_ids,
        "prompt": mode.judge.prompt,
        "digest": digest[:16],
    }
