"""Runs `rubricd size`: it calculates how many GPUs judge a training step in time, and with which settings.

Guarantees: no model is loaded and no service is called. The output says that it is calculated and not measured.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_client.cli.lengths import Lengths, lengths
from trainer_client.errors import DataError
from trainer_client.sizing.hardware import GPUS, JUDGES, Gpu, JudgeModel, SizingError, judge_of
from trainer_client.sizing.model import CHARS_A_TOKEN, Size, Work, size

_WRITTEN = 150
_GPU = "H100"
_ASSUMED = {"conversation": 600, "response": 600, "criterion": 40, "criteria": 12, "group": 8}
"""What is taken where neither a flag nor a file says it."""
DESCRIPTION = (
    "Calculate how many GPUs judge a training step in time, from the judge's shape and the lengths of its prompts. The "
    "figures are published ones (docs/operate/sizing.md), not measured: --measured-tokens-per-s replaces them by yours."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        metavar="FILE",
        help="rows whose mean lengths of conversation, response and criteria are taken in place of those assumed below",
    )
    add = parser.add_argument_group("the judge and its GPU").add_argument
    add(
        "--judge",
        default="7B",
        metavar="JUDGE",
        help=f"{', '.join(JUDGES)}, a config.json, or its folder (%(default)s)",
    )
    add("--dtype", default="bf16", choices=["bf16", "fp8"], help="type of the weights (%(default)s)")
    add("--gpu", metavar="GPU", help=f"{', '.join(GPUS)} ({_GPU})")
    add("--tflops", type=_above_0, metavar="X", help="another GPU's dense peak in the --dtype, in TFLOP/s")
    add("--bandwidth", type=_above_0, metavar="X", help="another GPU's memory bandwidth, in TB/s")
    add("--gib", type=_above_0, metavar="X", help="another GPU's memory, in GiB")
    add(
        "--measured-tokens-per-s",
        type=_above_0,
        metavar="X",
        help="measured tokens a second and GPU, instead of the formula",
    )
    add("--block", type=_count, default=16, metavar="N", help="tokens in a block of the prefix cache (%(default)s)")
    add = parser.add_argument_group("the work, in tokens").add_argument
    add("--instructions", type=_count, default=100, metavar="N", help="the judge's instructions (%(default)s)")
    _add_measured(add, "conversation", "the conversation before the response")
    _add_measured(add, "response", "one response")
    _add_measured(add, "criterion", "one criterion, with the question and closing after it")
    add(
        "--written",
        type=_count,
        metavar="N",
        help=f"mode reasoned: tokens that the judge writes for a verdict ({_WRITTEN})",
    )
    add = parser.add_argument_group("the amount of work, and its time").add_argument
    add("--mode", default="verdict", choices=["verdict", "reasoned"], help="judging mode (%(default)s)")
    _add_measured(add, "criteria", "criteria of one response")
    _add_measured(add, "group", "responses to one conversation")
    add("--responses", type=_count, default=512, metavar="N", help="responses of one training step (%(default)s)")
    add("--seconds", type=_above_0, default=30.0, metavar="S", help="time in which a step must be judged (%(default)g)")
    add(
        "--cached",
        type=_share,
        default=0.0,
        metavar="P",
        help="share of responses with all verdicts in the cache (%(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_measured(add: Callable[..., Any], name: str, about: str) -> None:
    add(f"--{name}", type=_count, metavar="N", help=f"{about} ({_ASSUMED[name]}, or as FILE has it)")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0, or 2 for what cannot be sized."""
    try:
        measured = lengths(args.files, Path(args.judge)) if args.files else None
        found = size(
            _judge(args.judge),
            _gpu(args),
            _work(args, measured),
            dtype=args.dtype,
            responses=args.responses,
            seconds=args.seconds,
            block=args.block,
            measured=args.measured_tokens_per_s,
        )
        if args.json:
            file = {} if measured is None else {"file": dataclasses.asdict(measured)}
            print(json.dumps({**dataclasses.asdict(found), **file}, indent=1))
        else:
            _show(found, args, measured)
    except (SizingError, DataError) as error:
        print(f"rubricd: {error}", file=sys.stderr)
        return 2
    return 0


def _work(args: argparse.Namespace, measured: Lengths | None) -> Work:
    def taken(name: str) -> int:
        """By the flag, else by the file, else as assumed."""
        return getattr(args, name) or getattr(measured, name, None) or _ASSUMED[name]

    return Work(
        instructions=args.instructions,
        conversation=taken("conversation"),
        response=taken("response"),
        criterion=taken("criterion"),
        criteria=taken("criteria"),
        group=taken("group"),
        written=_written(args),
        cached=args.cached,
    )


def _written(args: argparse.Namespace) -> int:
    if args.mode == "reasoned":
        return args.written or _WRITTEN
    if args.written is not None:
        raise SizingError("--written is for --mode reasoned; in mode verdict the judge writes nothing")
    return 0


def _judge(named: str) -> JudgeModel:
    if (known := JUDGES.get(named.upper())) is not None:
        return known
    file = Path(named)
    file = file / "config.json" if file.is_dir() else file
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise SizingError(f"--judge {named} {why}; give one of {', '.join(JUDGES)}, or a config.json") from None
    if not isinstance(config, dict):
        raise SizingError(f"--judge {named}: this is no model's config.json")
    return judge_of(config, named)


def _gpu(args: argparse.Namespace) -> Gpu:
    """A known GPU, changed by the flags, or one that the flags describe alone."""
    peak, given = args.tflops, {"bandwidth": args.bandwidth, "gib": args.gib}
    changes: dict[str, Any] = {"bf16": peak, "fp8": peak, **given}
    changes = {key: value for key, value in changes.items() if value is not None}
    if args.gpu is None and changes:
        if len(changes) < 4:
            raise SizingError(f"a GPU of your own needs --tflops, --bandwidth and --gib; --gpu names one of {_known()}")
        return Gpu("this GPU", **changes)
    known = GPUS.get((args.gpu or _GPU).upper())
    if known is None:
        raise SizingError(f"--gpu {args.gpu} is not known: {_known()}; describe it by --tflops, --bandwidth and --gib")
    return dataclasses.replace(known, **changes, name=f"{known.name}, changed") if changes else known


def _known() -> str:
    return ", ".join(GPUS)


def _show(found: Size, args: argparse.Namespace, measured: Lengths | None) -> None:
    from trainer_client.cli.drawing import Table, console_for_tables

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for row in _rows(found, args):
        table.add_row(*row)
    console = console_for_tables()
    console.print(table)
    console.print(f"\n{_basis(found)}", highlight=False)
    if measured is not None:
        console.print(_of_the_file(measured), highlight=False)


def _rows(found: Size, args: argparse.Namespace) -> list[tuple[str, str, str]]:
    tokens, gib = found.tokens, 2**30
    judges = f"{found.gpu}: {found.replicas} x {found.judge} in {args.dtype} on {found.gpus_a_judge}"
    limit = "" if found.limit == "judge" else ", all that one process can do"
    return [
        ("GPUs", f"{found.gpus}", judges),
        ("a step takes", f"{found.step_s:.1f} s", f"{args.responses:,} responses, {found.verdicts:,.0f} verdicts"),
        ("verdicts", f"{found.verdicts_per_s:,.0f} /s", f"of one GPU{limit}"),
        ("tokens", f"{found.tokens_per_s:,.0f} /s", "of one GPU, computed and written"),
        ("tokens of a response", f"{tokens.computed:,.0f}", f"{tokens.shared_ratio:.1%} of its prompts is shared"),
        ("without sharing", f"{tokens.unshared:,.0f}", f"{tokens.unshared / tokens.computed:.1f} times as many"),
        ("reading a response", f"{found.flops / 1e12:,.1f} TFLOP", ""),
        ("weights", f"{found.weight_bytes / gib:,.1f} GiB", "of one judge"),
        ("KV cache", f"{found.kv_tokens:,} tokens", "of one judge"),
        ("verdicts in Redis", f"{found.redis_bytes / 2**20:,.1f} MiB", "of one step"),
        ("service", f"{found.front_cores:.2f} cores", "of all its processes, while judging"),
        ("--max-batch-tokens", f"{found.max_batch_tokens}", "a quarter of a second, or the least"),
        ("--max-queue-s", f"{found.max_queue_s}", "two steps"),
        ("--max-queued-tokens", f"{found.max_queued_tokens}", "what that is, of one process"),
    ]


def _basis(found: Size) -> str:
    if found.measured:
        return "By the rate that you measured. Memory and queue are calculated: docs/operate/sizing.md."
    return (
        "Calculated, not measured, from published peaks and efficiencies (docs/operate/sizing.md). Begin with it, then "
        "measure and give --measured-tokens-per-s."
    )


def _of_the_file(measured: Lengths) -> str:
    how = "counted by the judge's tokenizer" if measured.counted else f"estimated at {CHARS_A_TOKEN} characters a token"
    answers = (
        "it has no responses" if measured.response is None else f"{measured.group} responses of {measured.response}"
    )
    return (
        f"Of {measured.rows:,} rows, as means: a conversation of {measured.conversation} tokens, {answers}, "
        f"{measured.criteria} criteria of {measured.criterion}; {how}."
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _above_0(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return number
