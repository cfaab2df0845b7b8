"""Names a checkpoint by its bytes, so that a judge's fingerprint changes exactly when its files do.

Guarantees: every byte of every weights file is hashed, whatever its size: fine-tunes of one model agree in sizes,
headers and index, so anything less would give two judges one name. File names and boundaries are part of the hash.
Reading is streamed and parallel; it also warms the page cache for the load that follows.
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.errors import ConfigurationError

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_TOKENIZER = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the checkpoint. Raises ConfigurationError where any is missing."""
    if (folder / "adapter_config.json").exists():
        raise ConfigurationError(f"{folder} holds an adapter: merge it into its base model and point to the merged one")
    if (folder / _SINGLE).exists():
        return [folder / _SINGLE]
    if (folder / _INDEX).exists():
        return _shards(folder)
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise ConfigurationError(
            f"{folder} holds pickled weights (.bin) only: only safetensors are loaded; "
            "load them once where you trust them and save_pretrained() them as safetensors"
        )
    raise ConfigurationError(f"{folder} holds no {_SINGLE} and no {_INDEX}: it is not a checkpoint that can be loaded")


def checkpoint_facts(folder: Path) -> dict[str, str]:
    """sha256 of the weights, of config.json and of the tokenizer's files; "none" for a kind that is not there."""
    tokenizer = [path for name in _TOKENIZER if (path := folder / name).exists()]
    return {
        "weights_sha256": hash_files(weight_files(folder)),
        "config_sha256": hash_files([folder / "config.json"]),
        "tokenizer_sha256": hash_files(tokenizer) if tokenizer else "none",
    }


def hash_files(paths: Iterable[Path]) -> str:
    """One sha256 over (name, size, sha256 of the content) of each file, in the order of names."""
    ordered = sorted(paths, key=lambda path: path.name)
    with ThreadPoolExecutor(max_workers=4) as pool:
        digests = list(pool.map(_digest, ordered))
    total = hashlib.sha256()
    for path, digest in zip(ordered, digests, strict=True):
        name = path.name.encode()
        total.update(len(name).to_bytes(4, "big") + name + path.stat().st_size.to_bytes(8, "big") + digest)
    return total.hexdigest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _shards(folder: Path) -> list[Path]:
    try:
        names = set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{folder / _INDEX} cannot be read as an index of weights") from error
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing or not names:
        raise ConfigurationError(f"{folder} lacks weights that its index names: {', '.join(missing) or 'all of them'}")
    return [folder / name for name in sorted(names)]
