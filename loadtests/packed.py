"""Would fewer calls give the same verdicts? Criteria one by one, against all of a response's criteria at once.

`loadtests/readings.py` says what is compared; `make compare` makes the same comparison beside its others.

    python -m loadtests.packed [--judge FOLDER] [--engine local] [--cases 20] [--written 0] [--seed 7] [--json FILE]
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from loadtests.readings import DEFAULTS, Bench, reading_anyway, table
from service.engine.build import build
from service.errors import RubricdError
from service.settings import EngineSettings, ModeSettings

ENGINES: tuple[Literal["local"], Literal["vllm"]] = ("local", "vllm")
SEED = 7
WRITTEN = 2
"""So many cases are judged in documents in `make compare`, each of about eight criteria."""

_SHORT = ModeSettings(explanation_chars=120, label_mass_floor=0.0)


async def measure(
    settings: EngineSettings, *, cases: int, written: int, seed: int, modes: ModeSettings = DEFAULTS
) -> dict[str, Any]:
    """`cases` in mode `verdict`, and the first `written` of them in mode `reasoned`, where the judge writes."""
    loaded = await build(settings)
    bench = Bench(loaded, modes)
    try:
        found: dict[str, Any] = {"judge": loaded.engine.identity.model, "engine": loaded.engine.identity.engine}
        if cases:
            found["verdict"] = await bench.verdicts(cases, seed)
        if written:
            found["reasoned"] = await bench.documents(written, seed)
        return found
    finally:
        await bench.close()
        await loaded.engine.stop()


def measure_all(cases: int, writer: str | None, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The bundled judge, which knows its cases, on both engines; and a judge that writes, where one is named. One that
    could not be measured says why."""
    asked = [(EngineSettings(engine=one, dtype="float32", vllm_kv_cache_gb=1.0), 0) for one in ENGINES]
    if writer is not None:
        asked.append((EngineSettings(engine="local", dtype="float32", judge=writer), WRITTEN))
    found = []
    for settings, written in asked:
        say(f"all criteria at once: {settings.judge or 'the bundled judge'} on {settings.engine}")
        try:
            with reading_anyway():  # a small judge explains little, and both ways are to be compared
                found.append(asyncio.run(measure(settings, cases=cases, written=written, seed=SEED, modes=_SHORT)))
        except RubricdError as error:
            found.append({"judge": settings.judge or "miniature", "engine": settings.engine, "failed": str(error)})
    return found


def tables(found: dict[str, Any]) -> str:
    who = f"{Path(found['judge']).name} on {found['engine']}"
    if "failed" in found:
        return f"{who} failed: {found['failed']}"
    parts = [table(f"{who}, {mode}", found[mode]) for mode in ("verdict", "reasoned") if found.get(mode)]
    return "\n\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", help="folder of another judge than the bundled one")
    parser.add_argument("--engine", choices=ENGINES, default="local")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--written", type=int, default=0, help="cases in mode `reasoned`, which are slow")
    parser.add_argument(
        "--explanation-chars", type=int, default=DEFAULTS.explanation_chars, help="the service's setting (%(default)s)"
    )
    parser.add_argument(
        "--read-anyway",
        action="store_true",
        help="count what the service would not: verdicts behind no explanation, and of labels without mass",
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings = EngineSettings(
        judge=options.judge, engine=options.engine, dtype="float32", max_model_len=options.max_model_len
    )
    floor = 0.0 if options.read_anyway else DEFAULTS.label_mass_floor
    modes = ModeSettings(explanation_chars=options.explanation_chars, label_mass_floor=floor)
    with reading_anyway() if options.read_anyway else nullcontext():
        found = asyncio.run(
            measure(settings, cases=options.cases, written=options.written, seed=options.seed, modes=modes)
        )
    print(tables(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
