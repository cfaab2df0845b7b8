"""Finds a checkpoint's files: in a folder here, in the hub's cache, or on the hub.

Guarantees: no code and no pickle is fetched: what is not here cannot be run.
"""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from service.errors import ConfigurationError

# Never "*.bin" or "*.py".
TOKENIZER_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
CHECKPOINT_FILES = ("*.safetensors", *TOKENIZER_FILES)


def resolve(
    path_or_name: str, revision: str | None, files: Sequence[str] = CHECKPOINT_FILES
) -> tuple[Path, str | None]:
    """Returns the folder with the files, and the commit where it came from the hub. Raises ConfigurationError."""
    path = Path(path_or_name)
    if path.is_dir():
        return path, revision
    try:
        folder = Path(snapshot_download(path_or_name, revision=revision, allow_patterns=list(files)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigurationError(
            f"{path_or_name!r} is neither a folder here nor a model that the hub gives ({type(error).__name__}): "
            "change the judge's model or revision, or look at the network and HF_TOKEN"
        ) from error
    return folder, folder.name
