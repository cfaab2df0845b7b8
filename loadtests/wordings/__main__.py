"""Compares the shipped prompts on one judge: AUROC and order of responses, raw and with the judge's bias taken off.

The judge serves in a process of its own and is asked for every label in every prompt, through POST /v1/score. Its
verdicts are kept as they come, so that a run can be stopped and continued. Beside the prompts stand the published
grader's layout, on fewer queries since each costs ten times as much, and a control that asks whether the
criterion is false.

    python -m loadtests.wordings --judge FOLDER [--kept FOLDER] [--answers FILE --rows FILE] [--json FILE]
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from loadtests.wordings.figures import measured, table
from loadtests.wordings.sets import LabelledSet, rules, written
from testkit.processes import ROOT, service
from trainer_client.client import JudgeClient, ScoreOptions
from trainer_client.labels import Judged, judge_labels

CONTROL = "is_it_false"
GRADER: Literal["healthbench"] = "healthbench"
_CONTROL_FILE = Path(__file__).parent / f"{CONTROL}.toml"
_RULES = ROOT / "labelled" / "held_out.jsonl.gz"


def main() -> int:
    options = _parser().parse_args()
    options.kept.mkdir(parents=True, exist_ok=True)
    sets = [rules(_RULES, options.prompts)]
    if options.answers is not None:
        sets.append(written(options.answers, options.rows))
    flags = ["--judge", str(options.judge), "--engine", "local", "--dtype", options.dtype, "--prompt", _CONTROL_FILE]
    # Without a floor and an exam: what a prompt that would not be served is worth is one of the results.
    with service(
        *map(str, flags), "--label-mass-floor", "0", "--exam", "false", log=options.kept / "service.log"
    ) as running:
        found = asyncio.run(_collect(running.url, sets, options.wordings, options.kept))
    rows = [measured(wording, one, judged) for wording, each in found.items() for one, judged in each]
    print(table(rows))
    if options.json:
        facts = {"judge": str(options.judge), "dtype": options.dtype, "rows": [row.as_json() for row in rows]}
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


async def _collect(
    url: str, sets: Sequence[LabelledSet], wordings: Sequence[str], kept: Path
) -> dict[str, list[tuple[LabelledSet, Judged]]]:
    """By prompt, the verdicts on each set."""
    found: dict[str, list[tuple[LabelledSet, Judged]]] = {}
    async with JudgeClient(url, timeout_s=1800, batch_items=8, concurrency=2) as client:
        info = await client.judge()
        served = [one.name for one in info.prompts if one.served]
        for wording in [one for one in (*served, GRADER) if not wordings or one in wordings]:
            asked = [one.cheaper() for one in sets] if wording == GRADER else sets
            choice: ScoreOptions = {"layout": GRADER} if wording == GRADER else {"judge_prompt": wording}
            found[wording] = []
            for one in asked:
                total = sum(len(item.criteria) for item in one.labels.items)
                with tqdm(total=total, unit="criterion", desc=f"{wording}, {one.name}") as bar:
                    judged = await judge_labels(
                        client,
                        one.labels,
                        options=choice,
                        store=kept / f"{one.name}.jsonl",
                        progress=bar.update,
                        workers=2,
                    )
                found[wording].append((one, judged))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.wordings", description=__doc__)
    parser.add_argument("--judge", type=Path, required=True, help="folder of the judge")
    parser.add_argument("--kept", type=Path, default=Path("wordings-kept"), help="folder for the verdicts")
    parser.add_argument("--prompts", type=int, default=18, help="conversations of the labelled set (18)")
    parser.add_argument("--answers", type=Path, help="answers written by hand for rows of HealthBench")
    parser.add_argument("--rows", type=Path, help="those rows")
    parser.add_argument("--dtype", default="bfloat16", help="what the judge computes in (bfloat16)")
    parser.add_argument("--wordings", nargs="*", default=(), help="these prompts alone")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
