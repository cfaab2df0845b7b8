"""Holds what every command that asks a chat model shares: its arguments, the endpoint, and the words for refusals.

The names say `model`, because such a command may call the judge service as well.
"""

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any, get_args

from trainer_client.cli.service_arguments import count
from trainer_client.data.files import sources
from trainer_client.endpoint import AnswerLog, ChatEndpoint, Constrain, Prices
from trainer_client.endpoint.chat import TIMEOUT_S
from trainer_client.endpoint.local import LocalModel, local_url
from trainer_client.errors import RubricdClientError, Unauthorized

_KEY = "OPENAI_API_KEY"
# One request at a time: the last one of many waits for all others.
_LOCAL_TIMEOUT_S = 86_400.0


def add_endpoint(parser: argparse.ArgumentParser, *, required: bool = True, temperature: float | None = None) -> None:
    """Adds the arguments. `temperature` is the command's own default; without one it is left to the endpoint."""
    add = parser.add_argument_group("the chat model").add_argument
    add(
        "--model-url",
        metavar="URL",
        help="base url of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1",
    )
    add(
        "--model",
        required=required,
        metavar="NAME|FOLDER",
        help="the model's name there; without --model-url a folder with a small model, which runs here",
    )
    add(
        "--model-key-env",
        default=_KEY,
        metavar="NAME",
        help="environment variable that holds the API's key (%(default)s)",
    )
    add("--model-concurrency", type=count, default=8, metavar="N", help="requests at the same time (%(default)s)")
    add("--model-options", type=_options, metavar="JSON", help="more fields of each request; null takes one away")
    add(
        "--constrain",
        choices=get_args(Constrain),
        default="schema",
        help="how JSON answers are constrained: by their schema, to any object, or not at all (%(default)s)",
    )
    left = "left to the endpoint" if temperature is None else "%(default)s"
    add("--temperature", type=_number, default=temperature, metavar="T", help=f"of sampling ({left})")
    add("--top-p", type=_number, metavar="P", help="of sampling (left to the endpoint)")
    add("--max-tokens", type=count, metavar="N", help="tokens of an answer, at most (left to the endpoint)")
    add("--price-in", type=_number, metavar="MONEY", help="price of a million tokens that the model reads")
    add("--price-out", type=_number, metavar="MONEY", help="price of a million tokens that it writes")


def open_endpoint(args: argparse.Namespace, log: AnswerLog | None) -> ChatEndpoint:
    """The endpoint that the arguments name, or the model in a folder in its place. Raises ValueError for prices of
    which one is missing, a wrong url, or a folder without a model."""
    if (args.price_in is None) != (args.price_out is None):
        raise ValueError("--price-in and --price-out go together")
    prices = None if args.price_in is None else Prices(args.price_in, args.price_out)
    folder = None if args.model_url is not None else Path(args.model)
    return ChatEndpoint(
        args.model_url if folder is None else local_url(folder),
        args.model,
        key=os.environ.get(args.model_key_env) or None,
        prices=prices,
        log=log,
        concurrency=args.model_concurrency,
        constrain=args.constrain,
        options=args.model_options,
        transport=None if folder is None else LocalModel(folder),
        timeout_s=TIMEOUT_S if folder is None else _LOCAL_TIMEOUT_S,
    )


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments that `ChatEndpoint.chat` takes."""
    return {"temperature": args.temperature, "top_p": args.top_p, "max_tokens": args.max_tokens}


def log_path(out: Path) -> Path:
    """Where the answers for a command's output are kept: beside it, under its name."""
    return out.with_name(f"{sources.stem(out)}.answers.jsonl")


def endpoint_error(error: RubricdClientError, args: argparse.Namespace) -> str:
    """The error's message, with where the key is looked for where one is missing or wrong."""
    if not isinstance(error, Unauthorized):
        return str(error)
    held = "holds the key that was sent" if os.environ.get(args.model_key_env) else "is not set, so no key was sent"
    return f"{error} (the environment variable {args.model_key_env} {held})"


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError("must be a number of 0 or more")
    return number


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError('must be a JSON object, such as \'{"reasoning_effort": "low"}\'')
    return options
