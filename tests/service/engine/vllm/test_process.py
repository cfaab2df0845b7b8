"""What an instance of vLLM leaves behind; here vLLM is made up (with the real one: test_engine.py)."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

from service.engine.vllm.process import VllmInstance


def sockets_that_close() -> SimpleNamespace:
    return SimpleNamespace(
        input_socket=SimpleNamespace(closed=False), output_socket=SimpleNamespace(closed=False), ctx=Mock()
    )


def made_up(resources: SimpleNamespace) -> Any:
    async def nothing() -> None:
        pass

    config = SimpleNamespace(max_model_len=100, get_vocab_size=lambda: 50)
    core = SimpleNamespace(resources=resources, get_output_async=nothing)
    return SimpleNamespace(model_config=config, engine_core=core, shutdown=lambda timeout: None)


async def test_the_context_of_sockets_that_close_late_is_ended(tmp_path: Path) -> None:
    """vLLM's own monitor was first to see the crash, and is still at it."""
    held = sockets_that_close()

    def close() -> None:
        held.input_socket.closed = held.output_socket.closed = True

    instance = VllmInstance(made_up(held), (), tmp_path / "sockets", None, Mock())
    asyncio.get_running_loop().call_later(0.05, close)
    await instance.stop()
    held.ctx.term.assert_called_once_with()


async def test_a_context_whose_sockets_stay_open_is_left_alone(tmp_path: Path, monkeypatch: Any) -> None:
    """To end it would wait for them for ever."""
    monkeypatch.setattr("service.engine.vllm.process._SOCKET_POLLS", 3)
    held = sockets_that_close()
    await VllmInstance(made_up(held), (), tmp_path / "sockets", None, Mock()).stop()
    held.ctx.term.assert_not_called()
