"""Runs `rubricd evaluate EVALUATION FILE`: it evaluates a policy, and writes its figures and a page.

Guarantees: the answers of an endpoint and the verdicts of a judge are kept in the evaluation's folder, so that the same
command goes on after an interrupt and pays for nothing twice. Nothing is asked before all rows have been read.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from trainer_client.agreement.shown import ends
from trainer_client.cli.ending import sentence_of
from trainer_client.cli.endpoint_arguments import endpoint_error
from trainer_client.cli.evaluate import kinds, novelty
from trainer_client.cli.evaluate.arguments import add_common, add_judge, add_rubrics, add_scores
from trainer_client.cli.service_arguments import add_judge_name, count
from trainer_client.data.files import sources
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.evaluation.diversity import TOKENIZERS
from trainer_client.evaluation.outcome import Earlier, Evaluation, compare, read_earlier
from trainer_client.evaluation.page import page
from trainer_client.evaluation.seeds import Paired
from trainer_client.whole_file import write_whole

DESCRIPTION = (
    "Evaluate a policy at an OpenAI-compatible endpoint, or by its answers in files. Exit code: 0 done, 1 something "
    "has no value, 2 wrong use."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_subparsers(required=True, metavar="EVALUATION")

    def add(
        name: str, about: str, run: kinds.Kind, rows: str = "prompts with rubrics", seeds: int = 3
    ) -> argparse.ArgumentParser:
        own = chosen.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        own.set_defaults(kind=name, evaluation=run, parser=own)
        add_common(own, rows=rows, seeds=seeds)
        return own

    own = add("healthbench", "the score of HealthBench, as simple-evals defines it", kinds.healthbench)
    add_rubrics(own)
    add_judge(own, layout="simple_evals")

    own = add("choice", "questions of multiple choice with GPQA's columns", kinds.choice, "questions")
    own.add_argument(
        "--fallback",
        choices=("none", "judge"),
        default="none",
        help="judge: ask a judge about answers from which no option can be read (%(default)s)",
    )
    add_judge(own)

    own = add("rules", "instructions that rules check, strictly and loosely, as IFEval", kinds.rules)
    add_rubrics(own)
    add_judge(own)

    own = add("best-of-n", "what the best of N answers is worth", kinds.best_of_n, seeds=1)
    own.add_argument("--samples", type=count, default=16, metavar="N", help="answers to each prompt (%(default)s)")
    own.add_argument(
        "--truth",
        metavar="NAME",
        help="what is true of each sample: `labels` of labelled rows, or the column of FILE with a number for each",
    )
    own.add_argument("--truth-url", metavar="URL", help="what is true of each sample: the score of this judge service")
    add_judge_name(own, flag="--truth-judge")
    add_rubrics(own)
    add_judge(own, rates=True)
    add_scores(own)

    own = add("diversity", "how far the answers to one prompt are from each other", kinds.diversity, "prompts")
    own.add_argument("--samples", type=count, default=16, metavar="N", help="answers to each prompt (%(default)s)")
    own.add_argument("--tokenizer", choices=TOKENIZERS, default="13a", help="sacrebleu's tokeniser (%(default)s)")
    own.add_argument("--embedding-model", metavar="NAME", help="also the distance of embeddings by this model")
    own.add_argument("--embedding-url", metavar="URL", help="the model's OpenAI-compatible API")

    own = add("novelty", "how far a policy has moved from the one it was trained from", novelty.novelty, "prompts")
    novelty.add_policies(own)


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 done, 1 if something has no value, 2 for misuse, 130 for an interrupt."""
    try:
        out = _out(args)
        earlier = None if args.against is None else read_earlier(args.against)
        found = args.evaluation(args, out)
        if found is None:
            return 0  # only prompts were asked for
        return _report(args, out, found, earlier)
    except KeyboardInterrupt:
        print("rubricd: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except RubricdClientError as error:
        return _misused(endpoint_error(error, args))
    except (ValueError, OSError) as error:
        return _misused(sentence_of(error))


def _misused(problem: str) -> int:
    print(f"rubricd: {problem}", file=sys.stderr)
    return 2


def _out(args: argparse.Namespace) -> Path:
    first: Path = args.files[0]
    if args.out is None and str(first) == sources.STANDARD_INPUT:
        raise DataError("standard input has no name for the evaluation's folder; name it with --out")
    out: Path = args.out or first.with_name(f"{sources.stem(first)}.{args.kind}")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; name a folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _report(args: argparse.Namespace, out: Path, found: Evaluation, earlier: Earlier | None) -> int:
    compared: dict[str, Paired] = {}
    if earlier is not None:
        compared = compare(found, earlier)
        own = (found.judge or {}).get("fingerprint")
        if own != earlier.judge:
            note = f"The judge of {earlier.policy} was another one, so that the two cannot be compared with certainty."
            found = replace(found, notes=(*found.notes, note))
    written = found.as_json()
    if earlier is not None:
        pairs = {name: one.as_json() for name, one in compared.items()}
        written["against"] = {"policy": earlier.policy, "judge": earlier.judge, "measures": pairs}
    for path in filter(None, (out / "results.json", args.json)):
        write_whole(path, json.dumps(written, indent=1, ensure_ascii=False))
    write_whole(out / "report.html", page(found, compared, earlier.policy if earlier else ""))
    for line in _lines(found, compared, earlier):
        print(line)
    print(f"rubricd: report {out / 'report.html'}")
    return 1 if found.missing else 0


def _lines(found: Evaluation, compared: dict[str, Paired], earlier: Earlier | None) -> list[str]:
    width = max((len(one.about) for one in found.measures), default=0)
    lines = []
    for one in found.measures:
        seeds = one.over_seeds()
        if seeds.mean is None:
            lines.append(f"{one.about:<{width}}  no value")
            continue
        spread = f", ± {seeds.std:.3f} over {len(seeds.seeds)} seeds" if seeds.std is not None else ""
        lines.append(
            f"{one.about:<{width}}  {seeds.mean:.3f}{ends(seeds.interval)}{spread}, {seeds.interval.n:,} prompts"
        )
        if (pair := compared.get(one.name)) is not None and earlier is not None and pair.difference.value is not None:
            p = "" if pair.p is None else f", p {pair.p:.4f}"
            lines.append(f"{'':<{width}}  {pair.difference.value:+.3f} against {earlier.policy}{p}")
    lines += [f"rubricd: {note}" for note in found.notes]
    if found.cost.get("said"):
        lines.append(str(found.cost["said"]))
    return lines
