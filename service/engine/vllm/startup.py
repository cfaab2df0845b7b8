"""Starts a vLLM instance and checks that it is the judge that was named, and that it reads a prompt.

Guarantees: an instance that does not read a prompt is stopped. A folder whose files name another judge than at the
first start is refused, so a restart does not change the judge.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from service.engine.identity import checkpoint_facts
from service.engine.vllm.options import Options
from service.engine.vllm.process import VllmInstance, start
from service.engine.vllm.requests import label_params, read_labels
from service.errors import ConfigurationError, JudgementError

# The first read of a new vLLM may compile; a machine that is busy with loading is slow at it.
_FIRST_READ_TIMEOUT_S = 600.0


async def start_and_probe(folder: Path, options: Options) -> VllmInstance:
    """Returns a vLLM instance that has read a prompt, or raises ConfigurationError."""
    instance = await start(folder, options)
    try:
        # Not wait_for, which in Python 3.11 may lose a cancellation.
        async with asyncio.timeout(_FIRST_READ_TIMEOUT_S):
            await _read_one_prompt(instance)
    except asyncio.CancelledError:
        await instance.stop()
        raise
    except Exception as error:
        await instance.stop()
        raise ConfigurationError(f"vLLM cannot be queried ({type(error).__name__}): {error}") from error
    return instance


async def _read_one_prompt(instance: VllmInstance) -> None:
    queue = await instance.llm.add_request(
        "first", {"type": "token", "prompt_token_ids": [0, 0]}, label_params((0,)), lora_request=instance.lora
    )
    outcome = read_labels(await queue.get(), (0,))
    if isinstance(outcome, JudgementError):
        raise outcome


class CheckpointFiles:
    """The files of a judge's folder, as they were when the judge was named by `facts`."""

    def __init__(self, folder: Path, facts: Mapping[str, str]) -> None:
        self._folder = folder
        self._facts = facts
        self._stats = _file_stats(folder)

    def check_unchanged(self) -> None:
        """Raises ConfigurationError where the folder holds another judge than the one that was named at the start."""
        # Hashing all weights takes minutes for a large judge, so it is done only where a file was written.
        if (stats := _file_stats(self._folder)) != self._stats:
            if any(self._facts[name] != value for name, value in checkpoint_facts(self._folder).items()):
                raise ConfigurationError("the judge's files have changed since the start: restart the service")
            self._stats = stats


def _file_stats(folder: Path) -> set[tuple[str, int, int]]:
    """Name, size and modification time of each file."""
    found = ((path.name, path.stat()) for path in folder.iterdir() if path.is_file())
    return {(name, stat.st_size, stat.st_mtime_ns) for name, stat in found}
