"""Loads causal language models for the local engine, strictly.

Guarantees: no code and no pickle of a checkpoint is run, and no kernel that it names. Every weight of a model comes
from its checkpoint, whereas transformers would fill a missing one with random numbers, and a half-random judge still
answers. A checkpoint that cannot be loaded raises a ConfigurationError that says what to change.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from safetensors import SafetensorError, safe_open

from service.engine.base import EngineIdentity
from service.engine.hub import resolve
from service.engine.identity import checkpoint_facts, weight_files
from service.engine.longrope import default_context, factors_facts
from service.engine.untrained import is_untrained
from service.errors import ConfigurationError

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
_ATTENTION = ("eager", "sdpa")
# As safetensors names types.
_PLAIN = ("BF16", "F16", "F32")


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A loaded model. `max_model_len` is in tokens; `vocabulary_size` is the number of ids that the model can read."""

    model: Any
    device: torch.device
    identity: EngineIdentity
    max_model_len: int
    vocabulary_size: int
    folder: Path


def load_checkpoint(
    path_or_name: str, *, revision: str | None, dtype: Dtype, device: str | None, max_model_len: int | None
) -> LoadedCheckpoint:
    """Loads a model from a folder, from the hub's cache or from the hub. `auto` is float32 on a CPU, else bfloat16."""
    folder, revision = resolve(path_or_name, revision)
    target = _device(device)
    chosen = ("float32" if target.type == "cpu" else "bfloat16") if dtype == "auto" else dtype
    # First, because it refuses a folder without a complete set of safetensors.
    facts = checkpoint_facts(folder)
    model = _from_pretrained(folder, getattr(torch, chosen)).to(target).eval()
    length = _max_model_len(model.config, max_model_len, folder)
    facts |= factors_facts(model.config.get_text_config(decoder=True), length)
    facts |= {
        "dtype": chosen,
        "device": target.type,
        "attention": str(getattr(model.config, "_attn_implementation", "unknown")),
        "transformers": transformers.__version__,
        "torch": str(torch.__version__),
    }
    return LoadedCheckpoint(
        model=model,
        device=target,
        identity=EngineIdentity(
            model=path_or_name,
            revision=revision or f"sha256:{facts['weights_sha256'][:12]}",
            engine="local",
            facts=facts,
            toy=is_untrained(folder),
        ),
        max_model_len=length,
        vocabulary_size=model.get_input_embeddings().weight.shape[0],
        folder=folder,
    )


def _device(name: str | None) -> torch.device:
    """The device with this name, by default the best one. Raises ConfigurationError where torch cannot use it."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
    except Exception as error:  # torch raises AssertionError for a build without GPUs, RuntimeError for the rest
        raise ConfigurationError(
            f"`device`: torch cannot compute on {name!r} here ({' '.join(str(error).split())[:200]}); set `device` to "
            "cpu, or install a build of torch for your GPU"
        ) from None
    return device


def refuse_missing_weights(folder: Path) -> None:
    """Raises ConfigurationError where weights are missing, for a loader that would not notice. Reads names only.

    Refuses nothing where names cannot tell: a quantised checkpoint, or one whose names transformers would convert.
    """
    try:
        config = _read_config(folder)
        maker: Any = transformers.AutoModelForCausalLM
        with torch.device("meta"):
            model = maker.from_config(config, trust_remote_code=False)
    except Exception:
        # Whether the model can be run without transformers is for the loader to find out.
        return
    if getattr(config, "quantization_config", None) is not None:
        return
    present = {name for path in weight_files(folder) for name in _names(path)}
    tied = set(model._tied_weights_keys or ()) if config.get_text_config(decoder=True).tie_word_embeddings else set()
    wanted = {name for name, _ in model.named_parameters(remove_duplicate=False)} - tied
    # A name that transformers does not know is one that it would convert into others.
    if (missing := wanted - present) and present <= wanted | tied:
        raise _incomplete(folder, sorted(missing))


def quantises_head(folder: Path) -> bool:
    """Whether the checkpoint holds its head as anything but numbers of 16 or 32 bits. Reads names and types only."""
    for path in weight_files(folder):
        for name in _names(path):
            module, _, tensor = name.rpartition(".")
            if module.rpartition(".")[2] != "lm_head":
                continue
            with safe_open(path, framework="pt") as file:
                if tensor not in ("weight", "bias") or file.get_slice(name).get_dtype() not in _PLAIN:
                    return True
    return False


def _names(path: Path) -> list[str]:
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(f"{path} cannot be read as safetensors: {error}") from error


def _incomplete(folder: Path, missing: list[str]) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} lacks {len(missing)} of the model's weights ({', '.join(missing[:3])} ...): "
        "it is another model than its config.json says, or incomplete"
    )


def _read_config(folder: Path) -> Any:
    """The checkpoint's configuration, with what computes attention and experts chosen here and not by the checkpoint:
    transformers would fetch a kernel from the hub, which is code, where `config.json` names one."""
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    # torch's own attention has no soft-capping, and transformers drops it there silently (5.20, Gemma 2).
    capped = getattr(config.get_text_config(decoder=True), "attn_logit_softcapping", None) is not None
    # None: torch's own where the architecture has it, else the eager one.
    config._attn_implementation = "eager" if capped else None
    config._experts_implementation = None
    return config


def _from_pretrained(folder: Path, dtype: torch.dtype) -> Any:
    loader: Any = transformers.AutoModelForCausalLM
    try:
        model, info = loader.from_pretrained(
            folder,
            config=_read_config(folder),
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise ConfigurationError(
            f"{folder} cannot be loaded as a causal language model ({type(error).__name__})"
        ) from error
    if (attention := str(model.config._attn_implementation)) not in _ATTENTION:
        raise ConfigurationError(f"{folder} would compute its attention by {attention!r}: take another judge")
    missing = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if missing:
        raise _incomplete(folder, missing)
    return model


def _max_model_len(config: Any, wanted: int | None, folder: Path) -> int:
    text_config = config.get_text_config(decoder=True)
    declared = getattr(text_config, "max_position_embeddings", None)
    if wanted is None and declared is None:
        raise ConfigurationError(f"{folder} does not declare its longest prompt: set `max_model_len`")
    if wanted is not None and declared is not None and wanted > declared:
        raise ConfigurationError(f"`max_model_len` is {wanted} but the model was made for {declared}: lower it")
    # As vLLM has it: without a setting a LongRoPE model judges what its short factors, which are better, were made for.
    length = wanted if wanted is not None else default_context(text_config) or declared
    if type(length) is not int or length < 2:
        raise ConfigurationError("`max_model_len` must be at least 2: a prompt token and an answer token")
    return length
