"""Would fewer calls give the same verdicts? Criteria one by one, against all of a response's criteria at once.

Mode `verdict`: one by one, each criterion stands alone behind the shared prefix. Packed, they stand behind each other,
and each verdict is read at its own place, so that it has seen the criteria before it. Mode `reasoned`: one document a
criterion, against one document keyed by criterion, whose verdicts are read at their places; a missing key is no
verdict.

Tokens are those that the engine computes and writes. The cases are the miniature's, whose truth is exact.

    python -m loadtests.packed [--judge FOLDER] [--cases 20] [--written 0] [--seed 7] [--json FILE]
"""

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miniature.world.cases import Case, evaluation
from service.engine.base import Engine, Generation, LabelLogprobs, LabelQuery, Prompt, Sampling
from service.engine.build import build
from service.errors import Unparseable
from service.modes.label_verdict import read_verdict
from service.modes.modes import ReasonedMode, VerdictMode
from service.modes.registry import judging_modes
from service.modes.written_verdict import document_up_to_verdict, read_explanation
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scheduling import costs
from service.settings import EngineSettings, ModeSettings

_EXPLANATION_CHARS = 120
Ps = list[float | None]


@dataclass(slots=True)
class Arm:
    """`met` and `p` in the order of all criteria; None without a verdict."""

    name: str
    p: Ps
    computed: int = 0
    written: int = 0
    seconds: float = 0.0


def candidate(case: Case) -> Candidate:
    criteria = tuple(Criterion(id=one.id, text=one.text, points=one.points) for one in case.criteria)
    return Candidate(case.id, tuple(Turn(*turn) for turn in case.turns), case.response, criteria)


async def read(engine: Engine, prompts: Sequence[Prompt], label_ids: tuple[int, ...], arm: Arm) -> None:
    began_s = time.perf_counter()
    outcomes = await engine.read_labels(prompts, label_ids)
    arm.seconds += time.perf_counter() - began_s
    arm.computed += sum(costs([LabelQuery(prompt, label_ids) for prompt in prompts]))
    arm.p += [read_verdict(one).p_met if isinstance(one, LabelLogprobs) else None for one in outcomes]


def packed(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Each criterion behind those before it: the shared part of each holds the whole of the one before."""
    found: list[Prompt] = []
    before = prompts[0].shared
    for prompt in prompts:
        found.append(Prompt(before, prompt.own))
        before = (*before, *prompt.own)
    return found


def schema(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


VERDICT = schema(
    {"explanation": {"type": "string", "maxLength": _EXPLANATION_CHARS}, "criteria_met": {"type": "boolean"}}
)


async def write(engine: Engine, prompts: Sequence[Prompt], most: int, form: Any, arm: Arm) -> list[str | None]:
    began_s = time.perf_counter()
    sampling = Sampling(max_tokens=most, json_schema=json.dumps(form))
    outcomes = await engine.generate(prompts, [sampling] * len(prompts))
    arm.seconds += time.perf_counter() - began_s
    texts: list[str | None] = []
    for prompt, one in zip(prompts, outcomes, strict=True):
        arm.computed += len(prompt)
        whole = isinstance(one, Generation) and one.finished
        arm.written += one.tokens if isinstance(one, Generation) else 0
        texts.append(one.text if isinstance(one, Generation) and whole else None)
    return texts


async def one_by_one(engine: Engine, mode: ReasonedMode, asked: Candidate, arm: Arm) -> None:
    [prompts] = mode.renderer.render([(asked, asked.criteria)])
    texts = await write(engine, prompts, 200, VERDICT, arm)
    places: list[Prompt | None] = []
    for prompt, text in zip(prompts, texts, strict=True):
        try:
            explanation = None if text is None else read_explanation(Generation(text, True, 1))
        except Unparseable:
            explanation = None
        places.append(None if explanation is None else at_verdict(mode, prompt, document_up_to_verdict(explanation)))
    await read_places(engine, mode, places, arm)


async def all_at_once(engine: Engine, mode: ReasonedMode, asked: Candidate, arm: Arm) -> None:
    names = [f"c{n}" for n in range(len(asked.criteria))]
    listed = "\n".join(f"{name}: {one.text}" for name, one in zip(names, asked.criteria, strict=True))
    text = f"Each of these, judged by itself; answer with one object for each, under its name:\n{listed}"
    whole = Criterion(id="all", text=text, points=1.0)
    [[prompt]] = mode.renderer.render([(asked, [whole])])
    [written] = await write(engine, [prompt], 200 * len(names), schema(dict.fromkeys(names, VERDICT)), arm)
    document = {} if written is None else json.loads(written)
    places: list[Prompt | None] = []
    before = "{"
    for name in names:
        one = document.get(name)
        if one is None:
            places.append(None)
            continue
        head = f'{before}"{name}": {document_up_to_verdict(one["explanation"])}'
        places.append(at_verdict(mode, prompt, head))
        before = f'{head}, "criteria_met": {json.dumps(one["criteria_met"])}}}, '
    await read_places(engine, mode, places, arm)


def at_verdict(mode: ReasonedMode, prompt: Prompt, document: str) -> Prompt:
    return mode.renderer.continue_prompt(prompt, document, mode.verdict_key)


async def read_places(engine: Engine, mode: ReasonedMode, places: Sequence[Prompt | None], arm: Arm) -> None:
    start = len(arm.p)
    given = [place for place in places if place is not None]
    if given:
        await read(engine, given, mode.judge.label_ids, arm)
    found = iter(arm.p[start:])
    arm.p[start:] = [None if place is None else next(found) for place in places]


def wilson(right: int, n: int) -> tuple[float, float]:
    if not n:
        return 0.0, 1.0
    z, p = 1.96, right / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def compared(first: Arm, second: Arm, truth: Sequence[bool]) -> dict[str, Any]:
    pairs = [(a, b) for a, b in zip(first.p, second.p, strict=True) if a is not None and b is not None]
    same = sum((a >= 0.5) is (b >= 0.5) for a, b in pairs)
    rows = {}
    for arm in (first, second):
        judged = [(p >= 0.5) is met for p, met in zip(arm.p, truth, strict=True) if p is not None]
        rows[arm.name] = {
            "judged": len(judged),
            "accuracy": sum(judged) / max(1, len(judged)),
            "computed_tokens": arm.computed,
            "written_tokens": arm.written,
            "seconds": round(arm.seconds, 2),
            "verdicts_per_s": round(len(judged) / max(arm.seconds, 1e-9), 2),
        }
    return {
        "criteria": len(truth),
        "same": same / max(1, len(pairs)),
        "interval": wilson(same, len(pairs)),
        "mean_apart": sum(abs(a - b) for a, b in pairs) / max(1, len(pairs)),
        "largest_apart": max((abs(a - b) for a, b in pairs), default=0.0),
        **rows,
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    loaded = await build(EngineSettings(judge=options.judge))
    engine = loaded.engine
    try:
        modes = judging_modes(engine.identity, loaded.tokenizer, ModeSettings(), unserved=loaded.unserved)
        cases = [evaluation(options.seed, index) for index in range(max(options.cases, options.written))]
        mode = modes["verdict", "rubricd"]
        assert isinstance(mode, VerdictMode)
        alone, together = Arm("one by one", []), Arm("packed", [])
        asked = cases[: options.cases]
        for case in asked:
            one = candidate(case)
            [prompts] = mode.renderer.render([(one, one.criteria)])
            await read(engine, prompts, mode.judge.label_ids, alone)
            in_order = packed(prompts)
            before = together.computed
            await read(engine, in_order, mode.judge.label_ids, together)
            # A packed prompt is the last of these: the engine here computes a criterion again for the next one.
            together.computed = before + len(in_order[-1])
        found = {"verdict": compared(alone, together, [met for case in asked for met in case.met])}
        if options.written:
            written = modes["reasoned", "rubricd"]
            assert isinstance(written, ReasonedMode)
            alone, together = Arm("one by one", []), Arm("all at once", [])
            for case in cases[: options.written]:
                await one_by_one(engine, written, candidate(case), alone)
                await all_at_once(engine, written, candidate(case), together)
                print(f"{case.id}: {len(alone.p)} criteria", file=sys.stderr)
            truth = [met for case in cases[: options.written] for met in case.met]
            found["reasoned"] = compared(alone, together, truth)
        return {"judge": engine.identity.model, **found}
    finally:
        await engine.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", help="folder of another judge than the bundled one")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--written", type=int, default=0, help="cases in mode `reasoned`, which are slow")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(run(options))
    text = json.dumps(found, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
