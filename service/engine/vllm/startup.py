"""Starts a vLLM instance and checks that it reads a prompt.

Guarantees: an instance that does not read a prompt is stopped.
"""

import asyncio
from pathlib import Path

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
