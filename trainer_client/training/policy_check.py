"""Checks the policy, TRL's settings and every prompt before the run's folder is made and the weights are loaded.

Guarantees: an unknown or mistyped field of `trl`, a policy that is not there, a prompt that its template refuses and
one that leaves no room for the answer are each one error that names the place and what to change.
"""

import dataclasses
import importlib
import importlib.util
import inspect
import os
import re
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from trainer_client import reward_parts
from trainer_client.data.rows import Row
from trainer_client.errors import DataError
from trainer_client.scaffold import Message, Scaffold, placed
from trainer_client.training.preflight import Plan
from trainer_client.training.run.config import RunConfigError
from trainer_client.training.run.sections import FunctionSection

_BOUNDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "learning_rate": (lambda value: value >= 0, "0 or more"),
    "beta": (lambda value: value >= 0, "0 or more"),
    "temperature": (lambda value: value > 0, "above 0"),
    "top_p": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "top_k": (lambda value: value >= 0, "0 (no limit) or more"),
    "max_completion_length": (lambda value: value >= 1, "1 or more"),
    "num_iterations": (lambda value: value >= 1, "1 or more"),
}
"""Values with which TRL would begin and end at the first batch, or train nothing."""
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*.index.json")


@dataclass(frozen=True, slots=True)
class Checked:
    """TRL's settings of a run whose policy can be trained; `prompt_tokens` are those of each distinct bare prompt by
    row, and `cut` counts the rows whose rubric does not fit whole."""

    config: Any
    prompt_tokens: Mapping[str, int]
    cut: int
    beside: list[Any]
    """The reward functions beside the judge."""
    proposer: Any = None
    """The function that proposes criteria, where the run names one."""


def check(plan: Plan) -> Checked:
    """Raises RunConfigError or DataError. It imports TRL, which takes seconds."""
    _quiet()
    from trainer_client.trl import parts
    from trainer_client.trl.trainer import check_engine, check_texts, check_waits

    config = _config(plan)
    check_words(config)
    if config.use_vllm:
        check_vllm()
    try:
        check_engine()
        for judging in filter(None, (plan.judging, plan.examining)):
            check_waits(judging, config)
    except (RuntimeError, ValueError) as error:
        raise RunConfigError(str(error)) from None
    tokenizer, context = _policy(plan, config)
    try:
        reward_parts.names([*plan.order, *plan.eval_rows], plan.run.rewards.by)
        check_texts([*plan.order, *plan.eval_rows], tokenizer)
    except ValueError as error:
        raise DataError(str(error)) from None
    beside = [
        parts.Beside(one.call.rpartition(":")[2], made(function(one.call), one), one.weight, one.none)
        for one in plan.run.rewards.functions
    ]
    evolving = plan.run.evolving
    call = None if evolving is None else evolving.proposer.call
    proposer = None if call is None else function(call, "evolving.proposer.call")
    return Checked(config, *_fit(plan, config, tokenizer, context), beside, proposer)


def function(call: str, field: str = "rewards.functions") -> Any:
    """The function that `module:function` or `file.py:function` names. Raises RunConfigError."""
    source, _, name = call.rpartition(":")
    try:
        if source.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(source).stem, source)
            assert spec is not None and spec.loader is not None, "a name that ends in .py has a loader"
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(source)
    except Exception as error:  # it runs a person's code
        raise RunConfigError(
            f"`{field}`: {source} cannot be imported ({type(error).__name__}: {one_line(error)})"
        ) from None
    if not callable(found := getattr(module, name, None)):
        raise RunConfigError(f"`{field}`: {source} has no function `{name}`")
    return found


def made(found: Any, section: FunctionSection) -> Any:
    """The reward function of a section, whose `call` was found. Raises RunConfigError."""
    if section.arguments is None:
        return found
    place = f"`rewards.functions`: {section.call} with these `arguments`"
    try:
        function = found(**section.arguments)
    except Exception as error:  # it runs a person's code
        raise RunConfigError(f"{place} fails ({type(error).__name__}: {one_line(error)})") from None
    if not callable(function):
        raise RunConfigError(f"{place} makes no function; leave `arguments` out if it is the reward function")
    return function


def _quiet() -> None:
    """Switches off TRL's telemetry, unless the environment sets it, and its warnings about the hook that is used on
    purpose and about vLLM's version, which `check_vllm` reads. It must be called before TRL is imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM")


def check_vllm() -> None:
    """Raises RunConfigError where the installed TRL does not support the installed vLLM. TRL warns, and fails later:
    TRL 1.16 with vLLM 0.32 ended on a CPU when it handed over the first weights."""
    import trl
    from trl.import_utils import is_vllm_available

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        is_vllm_available()
    for told in (str(one.message) for one in said):
        if found := re.search(r"from (\S+) to (\S+)\. You have version (\S+) ", told):
            raise RunConfigError(
                f"`trl.use_vllm`: TRL {trl.__version__} supports vLLM {found[1]} to {found[2]}, and {found[3]} is "
                f"installed; train in an environment of its own with pip install 'vllm>={found[1]},<={found[2]}'"
            )


def _config(plan: Plan) -> Any:
    from trl import GRPOConfig

    from trainer_client.trl.config import grpo_config

    run, more = plan.run, dict(plan.run.trl)
    check_fields(more, GRPOConfig)
    own = [name for name in ("multi_objective_aggregation", "reward_weights") if name in more]
    if own and run.rewards.several:
        raise RunConfigError(f"`trl.{own[0]}` is computed from `rewards`; leave it out")
    more["model_init_kwargs"] = {"dtype": run.dtype, **(more.get("model_init_kwargs") or {})}
    if plan.eval_rows and run.eval_every is not None:
        more = {
            "eval_strategy": "steps",
            "eval_steps": run.eval_every * run.updates,
            "per_device_eval_batch_size": run.per_device,
            "num_generations_eval": 1,
            **more,
        }
    try:
        return grpo_config(
            plan.out,
            group=run.group,
            prompts_per_batch=run.prompts_per_batch,
            mini_batch=run.mini_batch,
            per_device=run.per_device,
            world=plan.processes.count,
            steps=plan.steps,
            save_every=run.save_every,
            **{"seed": run.seed, **more},
        )
    except (TypeError, ValueError, ImportError, RuntimeError) as error:
        ours = str(error).startswith(("mini_batch", "prompts_per_batch"))
        raise RunConfigError(f"{'' if ours else '`trl`: '}{one_line(error)}") from None


def check_fields(trl: Mapping[str, Any], config: type) -> None:
    """Raises RunConfigError for a name that is no field of TRL's configuration, and for a value of another type."""
    names = [field.name for field in dataclasses.fields(config)]
    hints = typing.get_type_hints(config)
    for name, value in trl.items():
        if name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"did you mean `{close[0]}`?" if close else "see the documentation of TRL's GRPOConfig"
            raise RunConfigError(f"`trl.{name}`: unknown field; {hint}")
        try:
            TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise RunConfigError(f"`trl.{name}`: {error.errors()[0]['msg']}; here is {value!r}") from None
        except PydanticUserError:
            continue  # a type that pydantic does not know; TRL checks it
        if name in _BOUNDS and value is not None:
            allowed, says = _BOUNDS[name]
            if not allowed(value):
                raise RunConfigError(f"`trl.{name}`: must be {says}; here is {value!r}")


def check_words(config: Any) -> None:
    """Raises RunConfigError for words of TRL's configuration that TRL itself reads when the first batch is there, and
    for channels of reports that transformers does not know."""
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
    from trl import GRPOTrainer

    makes, takes = GRPOTrainer._generate_and_score_completions, GRPOTrainer._compute_loss
    readers = {"scale_rewards": makes, "multi_objective_aggregation": makes}
    readers |= {"loss_type": takes, "importance_sampling_level": takes}
    for name, reader in readers.items():
        word = getattr(config, name, None)
        if isinstance(word, str) and f'"{word}"' not in inspect.getsource(reader):
            raise RunConfigError(f"`trl.{name}`: TRL knows no {word!r}; see its GRPOConfig")
    known = {*INTEGRATION_TO_CALLBACK, "none", "all"}
    if unknown := [name for name in config.report_to or [] if name not in known]:
        close = get_close_matches(str(unknown[0]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
        raise RunConfigError(f"`trl.report_to`: no channel {unknown[0]}; {hint}")


def _policy(plan: Plan, config: Any) -> tuple[Any, int | None]:
    """The policy's tokenizer, and the tokens that its context holds."""
    from transformers import AutoConfig, AutoTokenizer

    policy, folder = plan.run.policy, Path(plan.run.policy)
    remote: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
    if revision := (config.model_init_kwargs or {}).get("revision"):
        remote["revision"] = revision
    try:
        model = AutoConfig.from_pretrained(policy, **remote)
        tokenizer = AutoTokenizer.from_pretrained(policy, **remote)
    except Exception as error:  # transformers, the hub and a model's own code each raise what they like
        what = "cannot be read" if folder.is_dir() else "is no folder here, and cannot be had from the Hugging Face hub"
        hint = "" if folder.is_dir() else "; check the name, the network and HF_TOKEN, or give a folder"
        raise RunConfigError(f"`policy`: {policy} {what}{hint} ({one_line(error)})") from None
    if folder.is_dir() and not any(next(folder.glob(kind), None) for kind in _WEIGHTS):
        raise RunConfigError(f"`policy`: {policy} holds no weights (model.safetensors); name a whole model's folder")
    if tokenizer.chat_template is None:
        raise RunConfigError(f"`policy`: {policy} has no chat template; put a chat_template.jinja beside its tokenizer")
    context = config.vllm_max_model_length if config.use_vllm else None
    return tokenizer, context or getattr(model.get_text_config(), "max_position_embeddings", None)


def _fit(plan: Plan, config: Any, tokenizer: Any, context: int | None) -> tuple[dict[str, int], int]:
    """The tokens of each bare prompt by row, and the number of rows whose rubric does not fit whole."""
    from trainer_client.trl.trainer import rendered

    def render(messages: Sequence[Message]) -> str:
        return rendered(tokenizer, messages, config.chat_template_kwargs or {})

    try:
        scaffold = placed(plan.run.scaffolding(), render)
    except ValueError as error:
        raise RunConfigError(str(error)) from None
    own: dict[str, int] = {}
    answer, cut = config.max_completion_length, 0
    for row in {row.id: row for row in [*plan.order, *plan.eval_rows]}.values():
        try:
            bare, whole = (
                len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in _both(render, scaffold, row)
            )
        except Exception as error:  # a template raises errors of its own language
            raise DataError(
                f"row {row.id}: the policy's chat template refuses its prompt ({one_line(error)}); change the prompt's "
                "turns or leave the row out"
            ) from None
        own[row.id] = bare
        if context is None:
            continue
        room = context - answer - bare
        if room < 0:
            raise DataError(
                f"row {row.id}: its prompt has {bare} tokens and an answer may have {answer}, "
                f"but the policy's context ends at {context}; leave the row out or set trl.max_completion_length"
            )
        cut += whole - bare > (room if plan.run.scaffold.tokens is None else min(room, plan.run.scaffold.tokens))
    return own, cut


def _both(render: Any, scaffold: Scaffold, row: Row) -> tuple[str, str]:
    """A row's prompt as text: bare, and with every counted criterion revealed."""
    criteria = row.rubric.criteria if row.rubric else []
    counted: Sequence[int] = [place for place, criterion in enumerate(criteria) if criterion.worth != 0]
    everything = counted if scaffold.schedule.over != "none" else ()
    bare = render(list(row.messages))
    return bare, render(scaffold.messages(row.messages, criteria, everything)) if everything else bare


def one_line(error: BaseException) -> str:
    """The error as one line of at most 400 characters; its type where it says nothing."""
    return " ".join(str(error).split())[:400] or type(error).__name__
