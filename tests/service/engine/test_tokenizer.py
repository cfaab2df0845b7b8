"""The tokenizer that serves is the checkpoint's own, in every family of the tests and in the bundled judge."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from service.engine.build import MINIATURE
from service.engine.tokenizer import load_tokenizer
from service.errors import ConfigurationError
from testkit.tokenizer_families import FAMILIES, family
from testkit.waiting import HUNG_S

PROBES = (
    "Says to rest.",
    "1. Drink 3 cups of tea.\n2. Don't run!\n\n\nNever.",
    "  two  spaces, a tab\tand a\r\nline",
    "12345 3.14 x=7 1,000",
    "Ünïcödé naïve 日本語 🙂 e\u0301",
    "camelCase snake_case HTTPServer it's we'll",
    "<|im_end|> <think> [INST] </s>",
    "",
)
CHAT = [{"role": "user", "content": "Hello."}]


def _folder(tmp_path: Path, **settings: Any) -> Path:
    """The bundled judge's tokenizer, with other settings. `None` takes one away."""
    spec = json.loads((MINIATURE / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    kept = json.loads((MINIATURE / "tokenizer_config.json").read_text(encoding="utf-8")) | settings
    written = {name: value for name, value in kept.items() if value is not None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(written), encoding="utf-8")
    return tmp_path


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def test_the_bundled_judge_reads_the_ids_of_its_own_file() -> None:
    """Which AutoTokenizer does not: for this model's type it builds another way of cutting text into words."""
    served = load_tokenizer(str(MINIATURE), None).backend_tokenizer
    file = Tokenizer.from_file(str(MINIATURE / "tokenizer.json"))
    rebuilt = AutoTokenizer.from_pretrained(MINIATURE).backend_tokenizer
    assert [_ids(served, text) for text in PROBES] == [_ids(file, text) for text in PROBES]
    assert [_ids(rebuilt, text) for text in PROBES] != [_ids(file, text) for text in PROBES]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_tokenizer_is_loaded_as_it_was(name: str, tmp_path: Path) -> None:
    original = family(name)
    original.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path), None)
    texts = [*PROBES, *(token.content for token in original.added_tokens_decoder.values())]
    assert [_ids(loaded.backend_tokenizer, text) for text in texts] == [
        _ids(original.backend_tokenizer, text) for text in texts
    ]
    asked: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True, "strftime_now": lambda format: "today"}
    assert loaded.apply_chat_template(CHAT, **asked) == original.apply_chat_template(CHAT, **asked)


def test_a_template_in_the_settings_is_found_and_the_default_of_several_is_taken(tmp_path: Path) -> None:
    folder = _folder(tmp_path, chat_template="one {{ eos_token }}")
    assert load_tokenizer(str(folder), None).apply_chat_template(CHAT, tokenize=False) == "one <|im_end|>"
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    assert load_tokenizer(str(_folder(tmp_path, chat_template=several)), None).chat_template == "plain"
    (tmp_path / "chat_template.jinja").write_text("file", encoding="utf-8")
    assert load_tokenizer(str(tmp_path), None).chat_template == "file"


def test_a_special_token_is_found_in_the_older_file_and_in_the_models_type(tmp_path: Path) -> None:
    folder = _folder(tmp_path, eos_token=None, chat_template="{{ bos_token }}|{{ eos_token }}")
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": {"content": "<a>"}, "eos_token": "<b>"}))
    assert load_tokenizer(str(folder), None).apply_chat_template(CHAT, tokenize=False) == "<a>|<b>"
    (folder / "special_tokens_map.json").unlink()
    _folder(tmp_path, eos_token=None, tokenizer_class="LlamaTokenizer", chat_template="{{ bos_token }}|{{ eos_token }}")
    assert load_tokenizer(str(folder), None).apply_chat_template(CHAT, tokenize=False) == "<s>|</s>"


def test_a_token_that_only_the_settings_have_is_a_control_token(tmp_path: Path) -> None:
    size = Tokenizer.from_file(str(MINIATURE / "tokenizer.json")).get_vocab_size()
    token = {"content": "<|answer|>", "special": True, "normalized": False}
    folder = _folder(tmp_path, chat_template="x", added_tokens_decoder={str(size): token})
    backend = load_tokenizer(str(folder), None).backend_tokenizer
    assert _ids(backend, "<|answer|>") == [size]
    folder = _folder(tmp_path, chat_template="x", added_tokens_decoder={"5": token})
    with pytest.raises(ConfigurationError, match=r"disagree about the token of id 5"):
        load_tokenizer(str(folder), None)


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no chat template"):
        load_tokenizer(str(_folder(tmp_path)), None)


def test_a_checkpoint_without_the_file_is_converted(tmp_path: Path) -> None:
    """By AutoTokenizer, from the older files; where there are none either it is refused."""
    family("llama3").save_pretrained(tmp_path)
    model = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}), encoding="utf-8")
    loaded = load_tokenizer(str(tmp_path), None)
    assert loaded.backend_tokenizer.decode(_ids(loaded.backend_tokenizer, "Says to rest.")) == "Says to rest."
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / file).unlink()
    with pytest.raises(ConfigurationError, match="no tokenizer could be loaded"):
        load_tokenizer(str(tmp_path), None)


def test_a_broken_file_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"no tokenizer could be loaded from {tmp_path}"):
        load_tokenizer(str(tmp_path), None)


def test_no_model_code_is_imported_for_it() -> None:
    code = (
        "import sys; from service.engine.tokenizer import load_tokenizer; from service.engine.build import MINIATURE; "
        "load_tokenizer(str(MINIATURE), None); sys.exit(any(name in sys.modules for name in "
        "('torch', 'transformers.models.auto.tokenization_auto')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HUNG_S)
