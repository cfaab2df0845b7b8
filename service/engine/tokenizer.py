"""Loads a judge's tokenizer as its checkpoint has it: the tokenizer.json itself, and the checkpoint's chat template.

transformers' AutoTokenizer builds a tokenizer again for the model's type, with that type's way of cutting text into
words, which may not be the file's. A judge that reads other tokens than it was trained on is another judge. It also
takes three seconds to import.

Guarantees: where a checkpoint has a tokenizer.json, the token ids are those that the file defines. Without one,
AutoTokenizer converts what there is.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from service.engine.hub import TOKENIZER_FILES, resolve
from service.errors import ConfigurationError

_FILE = "tokenizer.json"
# The names that a chat template may know special tokens by.
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class CheckpointTokenizer:
    """A tokenizer and the chat template that goes with it."""

    backend_tokenizer: Tokenizer
    chat_template: str
    special_tokens: Mapping[str, str]

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool = False, **arguments: Any
    ) -> str:
        """Renders one conversation as a Hugging Face tokenizer does, as text alone."""
        if tokenize:
            raise ValueError("the chat template is rendered as text")
        known = {**self.special_tokens, **arguments}
        rendered = render_jinja_template([conversation], chat_template=self.chat_template, **known)
        return str(rendered[0][0])  # the first conversation of the texts, which come with spans of the answers


def load_tokenizer(path_or_name: str, revision: str | None) -> CheckpointTokenizer:
    """Raises ConfigurationError where there is no tokenizer, or none with a chat template."""
    folder, _ = resolve(path_or_name, revision, TOKENIZER_FILES)
    if not (folder / _FILE).is_file():
        return _converted(folder, path_or_name)
    try:
        settings = _read_json(folder / "tokenizer_config.json")
        backend = Tokenizer.from_file(str(folder / _FILE))
        template = _chat_template(folder, settings)
        special = _special_tokens(folder, settings)
    except Exception as error:  # tokenizers raises nothing narrower
        raise _not_loaded(path_or_name, error) from error
    if not template:
        raise _no_template(path_or_name)
    _add_missing(backend, settings, path_or_name)
    if any(re.search(rf"\b{name}\b", template) for name in _SPECIAL if name not in special):
        # The model's type may have one by default.
        special = {**_auto_tokenizer(folder, path_or_name).special_tokens_map, **special}
    return CheckpointTokenizer(backend, template, special)


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):  # several by name
        template = {one["name"]: one["template"] for one in template}.get("default")
    return template


def _special_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens by the names that chat templates know. `tokenizer_config.json` may leave them to an older
    file."""
    named = _read_json(folder / "special_tokens_map.json") | {
        name: token for name, token in settings.items() if token is not None
    }
    found = {name: named[name] for name in _SPECIAL if named.get(name)}
    return {name: token if isinstance(token, str) else str(token["content"]) for name, token in found.items()}


def _add_missing(backend: Tokenizer, settings: Mapping[str, Any], name: str) -> None:
    """Adds the tokens that only `tokenizer_config.json` has. Raises ConfigurationError where they get other ids."""
    known = backend.get_added_tokens_decoder()
    listed = {int(id): token for id, token in settings.get("added_tokens_decoder", {}).items()}
    for id, token in sorted(listed.items()):
        if id in known and known[id].content == token["content"]:
            continue
        flags = {flag: bool(token.get(flag)) for flag in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        backend.add_tokens([AddedToken(token["content"], **flags)])
        if backend.token_to_id(token["content"]) != id:
            raise ConfigurationError(
                f"the files tokenizer.json and tokenizer_config.json of {name} disagree about the token of id {id}: "
                "save the tokenizer again, or correct one of them"
            )


def _converted(folder: Path, name: str) -> CheckpointTokenizer:
    tokenizer = _auto_tokenizer(folder, name)
    if not tokenizer.chat_template:
        raise _no_template(name)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ConfigurationError(f"the judge needs a fast tokenizer (a tokenizer.json); {name} has none")
    return CheckpointTokenizer(backend, tokenizer.get_chat_template(), tokenizer.special_tokens_map)


def _auto_tokenizer(folder: Path, name: str) -> Any:
    from transformers import AutoTokenizer  # slow to import

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, error) from error


def _not_loaded(name: str, error: Exception) -> ConfigurationError:
    """The error in one line: transformers writes paragraphs."""
    why = " ".join(str(error).split())[:200]
    return ConfigurationError(
        f"no tokenizer could be loaded from {name}; download the whole model, with its tokenizer.json ({why})"
    )


def _no_template(name: str) -> ConfigurationError:
    return ConfigurationError(f"the tokenizer of {name} has no chat template; name a chat model as judge")


def _read_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
