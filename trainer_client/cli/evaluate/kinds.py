"""Runs each evaluation of `rubricd evaluate`: it gets the answers, asks the judge where it needs one, and counts."""

import argparse
import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer_client import wire
from trainer_client.agreement.rewards import reward
from trainer_client.cli.evaluate.arguments import score_options
from trainer_client.cli.evaluate.sources import (
    Answered,
    answered,
    asks,
    prompts_of_items,
    rows_of,
    with_costs,
    write_prompts,
)
from trainer_client.cli.progress import progress
from trainer_client.cli.service_arguments import explained, judge_option
from trainer_client.client import ClientUsage, JudgeClient, ScoreOptions
from trainer_client.data import notes
from trainer_client.data.reader import Law
from trainer_client.errors import DataError, Forbidden, Unauthorized
from trainer_client.evaluation.answers import Answer
from trainer_client.evaluation.choice import read_questions
from trainer_client.evaluation.embeddings import embed
from trainer_client.evaluation.judged import Judged, judge_answers
from trainer_client.evaluation.judged_rollouts import judged_rollouts
from trainer_client.evaluation.kinds import questions as on_questions
from trainer_client.evaluation.kinds import rubrics as on_rubrics
from trainer_client.evaluation.kinds import samples as on_samples
from trainer_client.evaluation.outcome import Evaluation
from trainer_client.labels import LabelledItem, read_labels
from trainer_client.labels.judging import judge_asked
from trainer_client.rollouts import writing

Kind = Callable[[argparse.Namespace, Path], Evaluation | None]


@dataclass(frozen=True, slots=True)
class _Truth:
    """The judge whose score is taken for what is true of a sample."""

    url: str
    judge: str | None


def healthbench(args: argparse.Namespace, out: Path) -> Evaluation | None:
    items = _with_rubrics(rows_of(args))
    prompts = prompts_of_items(items, args.seeds)
    if args.write_prompts is not None:
        write_prompts(args.write_prompts, prompts)
        return None
    policy = answered(args, out, prompts, items)
    places, asked = on_rubrics.answered(items, policy.answers)
    judge, judged, used = _judged(args, out, asked)
    writing.write(out, judged_rollouts(places, asked, judged, judge))
    found = on_rubrics.on_healthbench(policy.policy, items, places, judged, args.layout)
    return with_costs(found, policy, judge, used)


def rules(args: argparse.Namespace, out: Path) -> Evaluation | None:
    items, left_out = on_rubrics.rule_items(rows_of(args))
    if not items:
        raise DataError(f"{args.files[0]}: no criterion has a `verifier`; this evaluation is of rules")
    prompts = prompts_of_items(items, args.seeds)
    if args.write_prompts is not None:
        write_prompts(args.write_prompts, prompts)
        return None
    policy = answered(args, out, prompts, items)
    places, asked = on_rubrics.version_items(items, policy.answers)
    judge, judged, _ = _judged(args, out, asked)  # rules decide, whatever the judge is
    whole = [n for n, (_, version) in enumerate(places) if version == 0]
    writing.write(
        out,
        judged_rollouts([places[n][0] for n in whole], [asked[n] for n in whole], [judged[n] for n in whole], judge),
    )
    found = on_rubrics.on_rules(policy.policy, items, policy.answers, places, judged, left_out)
    return with_costs(found, policy)


def choice(args: argparse.Namespace, out: Path) -> Evaluation | None:
    questions = [one for path in args.files for one in read_questions(path)][: args.limit]
    puts = on_questions.put_all(questions, args.seeds)
    prompts = on_questions.prompts_of(puts)
    if args.write_prompts is not None:
        write_prompts(args.write_prompts, prompts)
        return None
    if not asks(args) and args.answers is None:
        raise DataError("name the policy: --model, or --answers to the prompts of --write-prompts")
    policy = answered(args, out, prompts, {})
    puts = {place: one for place, one in puts.items() if place in policy.answers}
    if not puts:
        raise DataError(f"{args.answers}: answers no seed below {args.seeds}")
    chosen = on_questions.choices(puts, policy.answers)
    by_judge: dict[on_rubrics.Place, bool | None] = {}
    judge, used = None, None
    if args.fallback == "judge":
        places, asked = on_questions.fallback_items(puts, policy.answers, chosen)
        if asked:
            judge, judged, used = _judged(args, out, asked)
            writing.write(out, judged_rollouts(places, asked, judged, judge))
            by_judge = {place: one.met[0] for place, one in zip(places, judged, strict=True)}
    if judge is None:
        writing.forget(out)
    return with_costs(on_questions.on_choice(policy.policy, questions, puts, chosen, by_judge), policy, judge, used)


def best_of_n(args: argparse.Namespace, out: Path) -> Evaluation | None:
    if args.truth == "labels":
        return _best_of_labelled(args, out)
    items = rows_of(args)
    if args.mode != "likert":
        items = _with_rubrics(items)
    prompts = prompts_of_items(items, args.seeds)
    if args.write_prompts is not None:
        write_prompts(args.write_prompts, prompts)
        return None
    policy = answered(args, out, prompts, items, samples=args.samples)
    samples = {place: some for place, some in policy.answers.items() if place[0] in items}
    asked = [on_rubrics.with_answer(items[id], one.text) for (id, _), some in samples.items() for one in some]
    judge, judged, used = _judged(args, out, asked)
    writing.write(out, judged_rollouts([place for place, some in samples.items() for _ in some], asked, judged, judge))
    scores = _split([one.score for one in judged], samples)
    truth: on_samples.Scores | None = None
    if args.truth_url is not None or args.truth_judge is not None:
        other, true, more = _judged(args, out, asked, _Truth(args.truth_url or args.url, args.truth_judge))
        truth = _split([one.score for one in true], samples)
        policy = replace(
            policy, notes=(*policy.notes, f"Truth is the score of judge {other.model}, {other.fingerprint}.")
        )
        used += more
    elif args.truth is not None:
        if asks(args) or args.answers is not None:
            raise DataError("--truth names a column of FILE with a number for each of its responses; ask --truth-url")
        truth = {(id, seed): _column(items[id], args.truth, len(some)) for (id, seed), some in samples.items()}
    return with_costs(on_samples.on_best_of_n(policy.policy, scores, truth), policy, judge, used)


def _best_of_labelled(args: argparse.Namespace, out: Path) -> Evaluation:
    """Labelled rows: the samples of a prompt are its responses, and their truth is the reward by labels."""
    labels = read_labels(args.files, law=Law(pitfalls=args.pitfalls, say=notes.once()))
    asked = [one.item for one in labels.items]
    judge, judged, used = _judged(args, out, asked)
    writing.write(out, judged_rollouts([(one.group, 0) for one in labels.items], asked, judged, judge))
    scores: dict[on_rubrics.Place, list[float | None]] = {}
    truth: dict[on_rubrics.Place, list[float | None]] = {}
    for one, said in zip(labels.items, judged, strict=True):
        counted = [criterion for criterion in one.criteria if criterion.worth]
        shares = [share for criterion in counted if (share := _labelled_share(one, criterion)) is not None]
        known = len(shares) == len(counted) > 0
        true = reward([criterion.worth for criterion in counted], shares) if known else None
        scores.setdefault((one.group, 0), []).append(said.score)
        truth.setdefault((one.group, 0), []).append(true)
    name = args.name or Path(args.files[0]).stem
    return with_costs(on_samples.on_best_of_n(name, scores, truth), Answered(name, {}), judge, used)


def _labelled_share(item: LabelledItem, criterion: wire.Criterion) -> float | None:
    """The share of its points that a criterion earns by its label: met, or the value of the labelled level."""
    id = criterion.id or ""
    if criterion.options:
        level = item.levels.get(id)
        return None if level is None else criterion.options[level].value
    met = item.met.get(id)
    return None if met is None else float(met)


def diversity(args: argparse.Namespace, out: Path) -> Evaluation | None:
    items = rows_of(args)
    prompts = prompts_of_items(items, args.seeds)
    if args.write_prompts is not None:
        write_prompts(args.write_prompts, prompts)
        return None
    if args.samples < 2:
        raise DataError("--samples: diversity needs 2 answers to each prompt or more")
    if (args.embedding_model is None) != (args.embedding_url is None):
        raise DataError("--embedding-model and --embedding-url go together")
    policy = answered(args, out, prompts, items, samples=args.samples)
    vectors = None
    if args.embedding_url is not None:
        texts = {place: [one.text for one in some] for place, some in policy.answers.items()}
        with progress(sum(map(len, texts.values())), args.quiet, "answers embedded") as told:
            key = os.environ.get(args.model_key_env) or None
            vectors = asyncio.run(embed(args.embedding_url, args.embedding_model, texts, key=key, progress=told))
    writing.forget(out)
    return with_costs(
        on_samples.on_diversity(policy.policy, policy.answers, tokenize=args.tokenizer, vectors=vectors), policy
    )


def _with_rubrics(items: Mapping[str, wire.Item]) -> dict[str, wire.Item]:
    bare = next((id for id, item in items.items() if item.rubric is None), None)
    if bare is not None:
        raise DataError(f"row {bare} has no `rubric`, by which its answers are judged")
    return dict(items)


def _split(
    values: Sequence[float | None], samples: Mapping[on_rubrics.Place, Sequence[Answer]]
) -> dict[on_rubrics.Place, list[float | None]]:
    rest = iter(values)
    return {place: [next(rest) for _ in some] for place, some in samples.items()}


def _column(item: wire.Item, name: str, samples: int) -> list[float | None]:
    value: Any = (item.metadata or {}).get(name)
    values = value if isinstance(value, list) else [value]
    numbers = [float(one) if isinstance(one, bool | int | float) else None for one in values]
    if len(numbers) != samples or all(one is None for one in numbers):
        raise DataError(f"row {item.id}: `{name}` must have a number for each of its {samples} responses")
    return numbers


def _judged(
    args: argparse.Namespace, out: Path, items: Sequence[wire.Item], truth: _Truth | None = None
) -> tuple[wire.Judge, list[Judged], ClientUsage]:
    options = score_options(args)
    if truth is None:
        return asyncio.run(_ask_judge(args, out, items, options, args.url))
    options.pop("judge", None)  # that is the name of the judge that chooses
    return asyncio.run(_ask_judge(args, out, items, {**options, **judge_option(truth.judge)}, truth.url))


async def _ask_judge(
    args: argparse.Namespace, out: Path, items: Sequence[wire.Item], options: ScoreOptions, url: str
) -> tuple[wire.Judge, list[Judged], ClientUsage]:
    token = os.environ.get(args.token_env) or None
    async with JudgeClient(url, token=token, concurrency=args.concurrency) as client:
        try:
            info = await client.judge(options.get("judge"))
        except (Unauthorized, Forbidden) as error:
            raise DataError(explained(error, args.token_env)) from None
        judge = judge_asked(info, options)
        with progress(len(items), args.quiet, "answers judged") as told:
            judged = await judge_answers(
                client,
                judge,
                info.limits,
                items,
                options=options,
                log=out / "verdicts.jsonl",
                workers=args.concurrency,
                progress=told,
            )
        return judge, judged, client.usage
