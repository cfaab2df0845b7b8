"""Runs `rubricd evaluate novelty`: it reads how likely answers are under two policies, in folders or at endpoints."""

import argparse
import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from trainer_client.cli.evaluate.sources import answered, prompts_of_items, rows_of, with_costs, write_prompts
from trainer_client.cli.progress import progress
from trainer_client.errors import DataError
from trainer_client.evaluation.endpoint_likelihood import Ids, read_at_endpoint
from trainer_client.evaluation.kept import KeptLines
from trainer_client.evaluation.kinds.novelty import Read, on_novelty
from trainer_client.evaluation.likelihood import LocalPolicy, identity, load_tokenizer, token_ids
from trainer_client.evaluation.outcome import Evaluation
from trainer_client.labels.labelled import digest
from trainer_client.rollouts import writing


def add_policies(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    for name, about in (("trained", "the trained policy"), ("base", "the policy that it was trained from")):
        add(f"--{name}", required=True, metavar="FOLDER|URL", help=f"{about}: a model's folder, or vLLM's address")
        add(f"--{name}-model", metavar="NAME", help=f"{about}: the model's name, at an address")
    add("--tokenizer", type=Path, metavar="FOLDER", help="their tokenizer, where both are at addresses")


def novelty(args: argparse.Namespace, out: Path) -> Evaluation | None:
    items = rows_of(args)
    prompts = prompts_of_items(items, args.seeds)
    if args.write_prompts is not None:
        write_prompts(args.write_prompts, prompts)
        return None
    for name in ("trained", "base"):
        if _is_url(getattr(args, name)) and getattr(args, f"{name}_model") is None:
            raise DataError(f"--{name} is an address, which needs --{name}-model, the model's name there")
    tokenizer = load_tokenizer(_tokenizer(args))
    policy = answered(args, out, prompts, items)
    messages = {(one.id, one.seed): one.messages for one in prompts_of_items(items, _seeds(policy.answers))}
    places = {f"{id}/{seed}": (id, seed) for id, seed in policy.answers}
    ids = {name: token_ids(tokenizer, messages[place], policy.answers[place][0].text) for name, place in places.items()}
    base = _read(args, "base", ids, out)
    trained = _read(args, "trained", ids, out)
    writing.forget(out)
    read = {place: Read(trained[name][0], base[name][0], trained[name][1]) for name, place in places.items()}
    return with_costs(on_novelty(policy.policy, Path(args.base_model or args.base).name, read), policy)


def _seeds(answers: Mapping[tuple[str, int], object]) -> int:
    return max(seed for _, seed in answers) + 1


def _is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def _tokenizer(args: argparse.Namespace) -> Path:
    folders = [Path(where) for where in (args.trained, args.base) if not _is_url(where)]
    if args.tokenizer is None and not folders:
        raise DataError("name the policies' tokenizer with --tokenizer: a folder with its files")
    return args.tokenizer or folders[0]


def _read(
    args: argparse.Namespace, name: str, ids: Mapping[str, Ids], out: Path
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """The log-probabilities of each answer's tokens, and the entropies in their places where they are known."""
    where = getattr(args, name)
    model = getattr(args, f"{name}_model")
    about = f"{where} {model}" if _is_url(where) else identity(Path(where))
    keys = {one: digest([list(prompt), list(answer)]) for one, (prompt, answer) in ids.items()}
    with (
        KeptLines(out / "likelihoods.jsonl", about) as kept,
        progress(len(ids), args.quiet, name) as told,
    ):
        left = {one: pair for one, pair in ids.items() if kept.find(keys[one]) is None}
        told(len(ids) - len(left))

        def keep(one: str, logprobs: tuple[float, ...], entropies: tuple[float, ...] = ()) -> None:
            kept.keep(keys[one], {"logprobs": logprobs, "entropies": entropies})
            told(1)

        if _is_url(where):
            key = os.environ.get(args.model_key_env) or None
            asyncio.run(read_at_endpoint(where, model, left, key=key, keep=keep))
        elif left:
            policy = LocalPolicy(Path(where))
            for one, (prompt, answer) in left.items():
                if max((*prompt, *answer)) >= policy.vocabulary:
                    raise DataError(f"--{name}: the model has no tokens of this tokenizer; both must have the same one")
                found = policy.read(prompt, answer)
                keep(one, found.logprobs, found.entropies)
        lines = {one: kept.find(keys[one]) or {} for one in ids}
        return {one: (tuple(line["logprobs"]), tuple(line["entropies"])) for one, line in lines.items()}
