import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from service.engine import checkpoint as module
from service.engine.checkpoint import LoadedCheckpoint, load_checkpoint
from service.errors import ConfigurationError

Make = Callable[[str], Path]


def load(folder: Path | str, **options: Any) -> LoadedCheckpoint:
    settings: dict[str, Any] = {"revision": None, "dtype": "auto", "device": "cpu", "max_model_len": None}
    return load_checkpoint(str(folder), **settings | options)


@pytest.fixture
def folder(checkpoint: Make, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(checkpoint("llama"), tmp_path / "judge"))


def test_identity_names_all_that_can_change_a_verdict(checkpoint: Make) -> None:
    loaded = load(checkpoint("llama"))
    facts = loaded.identity.facts
    assert facts["dtype"] == "float32" and facts["device"] == "cpu" and facts["attention"] == "sdpa"
    assert facts["torch"] == torch.__version__
    assert {"weights_sha256", "config_sha256", "tokenizer_sha256", "transformers"} <= facts.keys()
    assert loaded.identity.revision == "sha256:" + facts["weights_sha256"][:12]
    assert (loaded.max_model_len, loaded.vocabulary_size, loaded.identity.engine) == (256, 300, "local")
    assert load(checkpoint("llama"), revision="v2").identity.revision == "v2"
    assert load(checkpoint("llama"), max_model_len=64).max_model_len == 64


def test_soft_capped_attention_is_not_left_to_a_kernel_without_it(checkpoint: Make) -> None:
    assert load(checkpoint("gemma2")).identity.facts["attention"] == "eager"


def test_a_missing_weight_is_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=r"lacks 1 of the model's weights.*down_proj"):
        load(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(ConfigurationError):
        load(folder)


def test_tied_weights_are_not_missing(checkpoint: Make) -> None:
    assert "lm_head.weight" not in load_file(checkpoint("qwen2") / "model.safetensors")
    assert load(checkpoint("qwen2")).vocabulary_size == 300


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="safetensors"):
        load(folder)


@pytest.mark.parametrize("kind", ["mine", "llama"])
def test_code_in_a_checkpoint_is_not_run(folder: Path, kind: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": kind, "auto_map": {"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "m.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    with contextlib.nullcontext() if kind == "llama" else pytest.raises(ConfigurationError):
        load(folder)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("length", [257, 1, 0])
def test_a_length_that_the_model_was_not_made_for_is_refused(checkpoint: Make, length: int) -> None:
    with pytest.raises(ConfigurationError, match="max_model_len"):
        load(checkpoint("llama"), max_model_len=length)


def test_a_model_that_tells_no_length_needs_one(checkpoint: Make) -> None:
    with pytest.raises(ConfigurationError, match="set `max_model_len`"):
        load(checkpoint("mamba"))
    assert load(checkpoint("mamba"), max_model_len=99).max_model_len == 99


def test_a_gap_is_seen_by_names_alone(folder: Path) -> None:
    module.refuse_missing_weights(folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: weights[name] for name in weights if "layers.1.mlp.down" not in name}, folder / "model.safetensors"
    )
    with pytest.raises(ConfigurationError, match=r"lacks 1 of the model's weights \(model\.layers\.1\.mlp\.down_proj"):
        module.refuse_missing_weights(folder)


def test_names_that_do_not_tell_refuse_nothing(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    renamed = {name.replace("mlp", "feed_forward"): weight for name, weight in weights.items()}
    save_file(renamed, folder / "model.safetensors")
    module.refuse_missing_weights(folder)


def test_tied_weights_are_no_gap(checkpoint: Make) -> None:
    module.refuse_missing_weights(checkpoint("qwen2"))


@pytest.mark.parametrize(
    "key", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal", "_experts_implementation"]
)
def test_a_kernel_that_a_checkpoint_names_is_not_fetched(
    folder: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers would download it from the hub and run it."""
    fetched: list[str] = []
    monkeypatch.setattr(
        "transformers.modeling_utils.lazy_import_flash_attention", lambda name, **_: fetched.append(name)
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: "org/kernel"}))
    assert load(folder).identity.facts["attention"] == "sdpa"
    module.refuse_missing_weights(folder)
    assert fetched == []


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_here_is_named_before_anything_is_loaded(tmp_path: Path, device: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"`device`: torch cannot compute on '{device}' here .* set `device`"):
        load(tmp_path, device=device)
