"""Reads what `rubricd evaluate` works on: rows as items, and a policy's answers from an endpoint, a file or the rows.

Guarantees: a prompt without any answer is left out and named. All rows are read before anything is asked.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.cli.endpoint_arguments import open_endpoint, sampling
from trainer_client.cli.progress import progress
from trainer_client.cli.score_summary import cost
from trainer_client.client import ClientUsage
from trainer_client.data import notes, responses
from trainer_client.data.files import sources
from trainer_client.data.items import read_items
from trainer_client.data.joined import Rubrics
from trainer_client.data.reader import Law
from trainer_client.endpoint import AnswerLog
from trainer_client.errors import DataError
from trainer_client.evaluation.answers import (
    Answers,
    Prompt,
    answers_of_items,
    ask_policy,
    messages_of_item,
    read_answers,
)
from trainer_client.evaluation.outcome import Evaluation
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.rubric_folder import RubricFolder


@dataclass(frozen=True, slots=True)
class Answered:
    """A policy's answers, its name, what they cost, and sentences about them."""

    policy: str
    answers: Answers
    cost: Mapping[str, Any] | None = None
    said: str = ""
    notes: tuple[str, ...] = field(default=())


def asks(args: argparse.Namespace) -> bool:
    """Whether the policy is a chat model that is asked. Raises DataError."""
    if args.model_url is not None and args.model is None:
        raise DataError("--model-url needs --model, the model's name there")
    return args.model is not None


def rows_of(args: argparse.Namespace) -> dict[str, wire.Item]:
    """The rows by id. Where the answers come from elsewhere, responses in the rows are not read. Raises DataError."""
    elsewhere = asks(args) or args.answers is not None or args.write_prompts is not None
    pitfalls, rubrics = getattr(args, "pitfalls", None), getattr(args, "rubrics", None)
    folder = getattr(args, "rubric_folder", None)
    joined = None if rubrics is None else Rubrics(rubrics, Law(pitfalls=pitfalls)).joined

    def join(row: dict[str, Any]) -> dict[str, Any]:
        whole = row if joined is None else joined(row)
        if not elsewhere:
            return whole
        return {**{name: value for name, value in whole.items() if name not in responses.COLUMNS}, "response": ""}

    stored = None if folder is None else RubricFolder(folder).get
    law = Law(pitfalls, join=join, stored=stored, say=notes.once())
    items = list(islice(read_items(*args.files, law=law), args.limit))
    if not items:
        raise DataError(f"{', '.join(map(str, args.files))}: holds no rows")
    return {item.id or str(index): item for index, item in enumerate(items)}


def prompts_of_items(items: Mapping[str, wire.Item], seeds: int) -> list[Prompt]:
    return [Prompt(id, seed, messages_of_item(item)) for seed in range(seeds) for id, item in items.items()]


def write_prompts(path: Path, prompts: Sequence[Prompt]) -> None:
    """A line for each prompt and seed, to be answered with `response` and read again with --answers."""
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for one in prompts:
            line = {"id": one.id, "seed": one.seed, "messages": [dict(turn) for turn in one.messages]}
            file.write(f"{json.dumps(line, ensure_ascii=False)}\n")
    print(f"rubricd: {len(prompts):,} prompts in {path}; answer each as `response`, and name the file with --answers")


def answered(
    args: argparse.Namespace,
    out: Path,
    prompts: Sequence[Prompt],
    items: Mapping[str, wire.Item],
    *,
    samples: int = 1,
    logprobs: bool = False,
) -> Answered:
    """The answers of the policy that the arguments name. `prompts` are of all seeds. Raises DataError,
    RubricdClientError."""
    reader = PolicyAnswers(args.reasoning)
    if asks(args):
        return asyncio.run(_asked(args, out, prompts, reader, samples, logprobs))
    if args.answers is not None:
        ids = frozenset(one.id for one in prompts)
        answers = read_answers(args.answers, reader, ids=ids, samples=samples, others=args.limit is not None)
        policy = args.name or sources.stem(args.answers)
    else:
        answers = answers_of_items(list(items.values()), reader, samples=samples)
        policy = args.name or sources.stem(args.files[0])
    return Answered(policy, answers, notes=tuple(_missing(answers, list(dict.fromkeys(one.id for one in prompts)))))


def _missing(answers: Answers, ids: Sequence[str]) -> list[str]:
    have = {id for id, _ in answers}
    if not have:
        raise DataError("no prompt has an answer")
    lacking = [id for id in ids if id not in have]
    if not lacking:
        return []
    note = f"{len(lacking):,} of {len(ids):,} prompts have no answer and are left out."
    print(f"rubricd: {note} The first is {lacking[0]}", file=sys.stderr)
    return [note]


async def _asked(
    args: argparse.Namespace, out: Path, prompts: Sequence[Prompt], reader: PolicyAnswers, samples: int, logprobs: bool
) -> Answered:
    with (
        AnswerLog(out / "answers.jsonl") as log,
        progress(len(prompts) * samples, args.quiet, "answers") as told,
    ):
        async with open_endpoint(args, log) as endpoint:
            answers = await ask_policy(
                endpoint,
                prompts,
                samples=samples,
                sampling=sampling(args),
                reader=reader,
                workers=args.model_concurrency,
                logprobs=logprobs,
                progress=told,
            )
            spent = endpoint.spending
    cut = sum(one.cut for some in answers.values() for one in some)
    total = sum(map(len, answers.values()))
    said = (f"{cut:,} of {total:,} answers were cut off at the limit of tokens.",) if cut else ()
    return Answered(args.name or Path(args.model).name, answers, spent.as_json(), f"The policy: {spent}.", said)


def with_costs(
    found: Evaluation, policy: Answered, judge: wire.Judge | None = None, used: ClientUsage | None = None
) -> Evaluation:
    """The evaluation with its judge, with what it cost, and with what is to be said of the answers."""
    costs: dict[str, Any] = {}
    said = [policy.said] if policy.said else []
    if policy.cost is not None:
        costs["policy"] = dict(policy.cost)
    if used is not None:
        costs["judge"] = dict(used.items())
        if used.answers:
            line = cost(used)
            said.append(f"{line[0].upper()}{line[1:]}.")
    return replace(
        found,
        judge=None if judge is None else {**judge.model_dump(mode="json"), "doubt": judge.doubt},
        notes=(*found.notes, *policy.notes),
        cost={**costs, "said": " ".join(said)},
    )
