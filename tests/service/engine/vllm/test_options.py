"""Arguments and environment of vLLM, without starting it."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from service.engine.build import MINIATURE
from service.engine.vllm.engine import VllmEngine
from service.engine.vllm.options import (
    Options,
    engine_arguments,
    forget_sockets,
    write_compile_environment,
    write_environment,
)
from service.errors import ConfigurationError
from service.observability.logging_setup import JsonLines
from service.settings import EngineSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy, that the test may write into."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 12}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    return tmp_path


def test_no_code_and_no_pickle_of_a_checkpoint_is_run_and_nothing_is_logged() -> None:
    given = engine_arguments(MINIATURE, Options(), cpu=True)
    assert given["trust_remote_code"] is False and given["load_format"] == "safetensors"
    assert given["enable_log_requests"] is False and given["enable_prefix_caching"] is True


def test_a_cpu_and_a_gpu_have_their_own_defaults() -> None:
    cpu, gpu = (engine_arguments(MINIATURE, Options(), cpu=on_cpu) for on_cpu in (True, False))
    assert (cpu["dtype"], cpu["enforce_eager"], cpu["kv_cache_memory_bytes"]) == ("float32", True, 4 * 1024**3)
    assert (gpu["dtype"], gpu["enforce_eager"], gpu["kv_cache_memory_bytes"]) == ("bfloat16", False, None)
    chosen = Options(dtype="bfloat16", enforce_eager=False, kv_cache_gb=0.5)
    given = engine_arguments(MINIATURE, chosen, cpu=True)
    assert (given["dtype"], given["enforce_eager"], given["kv_cache_memory_bytes"]) == ("bfloat16", False, 1024**3 // 2)


def test_logits_are_float32_where_the_checkpoint_does_not_quantise_them(tmp_path: Path) -> None:
    def given(tensors: dict[str, torch.Tensor], batch_invariant: bool = False) -> Any:
        save_file(tensors, tmp_path / "model.safetensors")
        options = Options(batch_invariant=batch_invariant)
        return engine_arguments(tmp_path, options, cpu=False)["hf_overrides"]["head_dtype"]

    plain = torch.zeros(2, dtype=torch.bfloat16)
    assert given({"model.embed_tokens.weight": plain}) == "float32", "a tied head"
    assert given({"lm_head.weight": plain, "lm_head.bias": plain + 1}) == "float32"
    assert given({"model.layers.0.up_proj.qweight": plain.int(), "lm_head.weight": plain}) == "float32"
    assert given({"lm_head.weight": plain}, batch_invariant=True) == "model", "what was asked for is kept"
    assert given({"lm_head.qweight": plain.int(), "lm_head.scales": plain + 1}) == "model"
    assert given({"language_model.lm_head.weight": plain.to(torch.float8_e4m3fn)}) == "model"


def test_compiling_is_switched_off_where_nothing_is_to_be_compiled_on_a_cpu() -> None:
    os.environ.pop("TORCHDYNAMO_DISABLE", None)
    write_compile_environment(Options(), cpu=False)
    write_compile_environment(Options(enforce_eager=False), cpu=True)
    assert "TORCHDYNAMO_DISABLE" not in os.environ
    write_compile_environment(Options(), cpu=True)
    assert os.environ["TORCHDYNAMO_DISABLE"] == "1"


def test_what_names_a_folder_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    write_environment(Options(), mine)
    os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(mine / "log.json")
    forget_sockets(other)
    assert os.environ["VLLM_RPC_BASE_PATH"] == str(mine)
    forget_sockets(mine)
    assert not {"VLLM_RPC_BASE_PATH", "VLLM_LOGGING_CONFIG_PATH"} & set(os.environ)


def test_nothing_is_reported_home_and_verdicts_may_be_batch_invariant(tmp_path: Path) -> None:
    write_environment(Options(batch_invariant=True), tmp_path)
    assert os.environ["VLLM_NO_USAGE_STATS"] == os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["VLLM_BATCH_INVARIANT"] == "1"
    write_environment(Options(), tmp_path)
    assert os.environ["VLLM_BATCH_INVARIANT"] == "0"


def test_an_adapter_is_loaded_with_room_for_its_rank(adapter: Path) -> None:
    given = engine_arguments(MINIATURE, Options(lora=str(adapter)), cpu=True)
    assert given["enable_lora"] is True and given["max_lora_rank"] == 16


@pytest.mark.parametrize("lacking", ["adapter_config.json", "adapter_model.safetensors"])
def test_what_is_no_adapter_in_safetensors_is_refused(adapter: Path, lacking: str) -> None:
    (adapter / lacking).unlink()
    with pytest.raises(ConfigurationError, match=lacking):
        engine_arguments(MINIATURE, Options(lora=str(adapter)), cpu=True)


@pytest.mark.parametrize("config", ["{}", '{"r": 4096}', '{"r": "many"}', "no json"])
def test_an_adapter_without_a_possible_rank_is_refused(adapter: Path, config: str) -> None:
    (adapter / "adapter_config.json").write_text(config)
    with pytest.raises(ConfigurationError, match="rank"):
        engine_arguments(MINIATURE, Options(lora=str(adapter)), cpu=True)


async def test_without_vllm_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "vllm" or name.startswith("vllm.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "vllm", None)
    folder = MINIATURE
    with pytest.raises(ConfigurationError, match=r"pip install 'rubricd\[vllm\]'"):
        await VllmEngine.load(str(folder))


def test_its_processes_write_the_log_as_this_one(tmp_path: Path) -> None:
    write_environment(Options(), tmp_path)
    assert "VLLM_LOGGING_CONFIG_PATH" not in os.environ
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    try:
        write_environment(Options(), tmp_path)
        first = Path(os.environ["VLLM_LOGGING_CONFIG_PATH"])
        configuration = json.loads(first.read_text())
        assert configuration["loggers"]["vllm"]["level"] == os.environ["VLLM_LOGGING_LEVEL"]
        first.unlink()  # with the folder of that life
        (tmp_path / "next").mkdir()
        write_environment(Options(), tmp_path / "next")
        assert Path(os.environ["VLLM_LOGGING_CONFIG_PATH"]) == tmp_path / "next" / "log.json"
        own = tmp_path / "own.json"
        own.write_text("{}")
        os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(own)
        write_environment(Options(), tmp_path / "next")
        assert os.environ["VLLM_LOGGING_CONFIG_PATH"] == str(own)
    finally:
        logging.getLogger().removeHandler(handler)


def test_each_option_is_a_setting() -> None:
    given = {"vllm_kv_cache_gb": 0.5, "vllm_lora": "adapter", "vllm_enforce_eager": False, "dtype": "bfloat16"}
    options = Options.from_settings(EngineSettings.model_validate(given))
    assert options == Options(kv_cache_gb=0.5, lora="adapter", enforce_eager=False, dtype="bfloat16")
    assert Options.from_settings(EngineSettings()) == Options()
