"""A judge run by vLLM in processes below this one, asked through AsyncLLM with token ids.

vLLM has a queue of its own, so prompts are answered as they come (`streams`), and it keeps the prefixes of earlier
prompts; prompts of different salts share nothing there.

Always true:
- Each prompt has exactly one outcome, also when vLLM dies or hangs: a watchdog sees both, everybody who waits is told
  at once, and new questions are refused with the reason (`down`) until a new vLLM has read a prompt.
- Death is a process that is gone, or vLLM's own word. A hang is work in flight and not one output for `hang_s`, counted
  only while this event loop runs; loading and the first read are not held to it.
- A restart does not change the judge: where the checkpoint's files have changed meanwhile, it stays down.
- A caller that is cancelled, and a prompt that is abandoned, leave no request behind in vLLM.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from service.engine.base import EngineIdentity, GenerationOutcome, Outcome, Prompt, Sampling
from service.engine.checkpoint import refuse_missing_weights, resolve
from service.engine.identity import checkpoint_facts
from service.engine.vllm import requests as asking
from service.engine.vllm.options import Options, facts
from service.engine.vllm.process import Life, start
from service.errors import ConfigurationError, EngineFailed, JudgementError, TooLong

_log = logging.getLogger(__name__)
_POLL_S = 0.2
# The first read of a new vLLM may compile; a machine that is busy with loading is slow at it.
_FIRST_READ_S = 600.0
_LONGEST_PAUSE_S = 60.0


@dataclass(slots=True, eq=False)
class _Request:
    """`queue` is where vLLM puts the answer; whatever is put there first, an answer or an error, ends the wait."""

    id: str
    prompt: Prompt
    queue: Any = field(default=None)


class VllmEngine:
    """An Engine over vLLM. Make one with `load`; one at a time in a process."""

    streams = True

    def __init__(self, life: Life, folder: Path, options: Options, identity: EngineIdentity, *, hang_s: float) -> None:
        self.identity = identity
        self.max_model_len = life.max_model_len
        self.hang_s = hang_s
        self.restarts = 0
        self._files = _files(folder)
        self._life = life
        self._folder = folder
        self._options = options
        self._down: str | None = None
        self._numbers = itertools.count()
        self._requests: dict[str, _Request] = {}
        self._aborts: set[asyncio.Task[None]] = set()
        self._label_params: dict[tuple[int, ...], Any] = {}
        # The prefix that was looked through last: a response's criteria share one tuple.
        self._sound: tuple[int, ...] = ()
        self._watching = asyncio.create_task(self._watch(), name="vllm watchdog")

    @classmethod
    async def load(
        cls, path_or_name: str, options: Options | None = None, *, revision: str | None = None, hang_s: float = 60.0
    ) -> Self:
        """Start vLLM and read one prompt with it, or raise ConfigurationError."""
        options = options or Options()
        folder, revision = await asyncio.to_thread(resolve, path_or_name, revision)
        # First, because it refuses what is no whole set of safetensors.
        checkpoint = await asyncio.to_thread(checkpoint_facts, folder)
        # vLLM (0.32) leaves what is lacking of a linear layer as the memory was, and answers.
        await asyncio.to_thread(refuse_missing_weights, folder)
        life = await _begin(folder, options)
        identity = EngineIdentity(
            model=path_or_name,
            revision=revision or f"sha256:{checkpoint['weights_sha256'][:12]}",
            engine="vllm",
            facts={**checkpoint, **facts(life.llm.vllm_config, folder, options)},
        )
        return cls(life, folder, options, identity, hang_s=hang_s)

    @property
    def down(self) -> str | None:
        return self._down

    @property
    def processes(self) -> list[int]:
        """The ids of vLLM's processes: first the one with its queue, then its workers."""
        return [process.pid for process in self._life.processes]

    @property
    def unfinished(self) -> int:
        """Requests that vLLM still holds."""
        return int(self._life.llm.get_num_unfinished_requests())

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        params = self._label_params.get(label_ids)
        if params is None:
            params = self._label_params[label_ids] = asking.label_params(label_ids)
        answers = await self._ask(prompts, [params] * len(prompts))
        return _complete([_or_failure(answer, asking.read_labels, label_ids) for answer in answers])

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        params = [asking.text_params(sampling) for sampling in samplings]
        return _complete([_or_failure(answer, asking.read_text) for answer in await self._ask(prompts, params)])

    def cancel(self, prompt: Prompt) -> None:
        self._abort([request.id for request in self._requests.values() if request.prompt is prompt])

    async def stop(self) -> None:
        self._fall("the judge was stopped")
        while not self._watching.done():  # again and again: what it waits for may lose a cancellation
            self._watching.cancel()
            await asyncio.wait({self._watching}, timeout=0.1)
        await asyncio.gather(*self._aborts, return_exceptions=True)
        # Its processes are killed, and it would call that an error.
        logging.getLogger("vllm").setLevel(logging.CRITICAL)
        await self._life.end()

    async def _ask(self, prompts: Sequence[Prompt], params: Sequence[Any]) -> list[Any]:
        """vLLM's output or a failure for each prompt. However it ends, vLLM holds none of its requests afterwards."""
        if not all(prompt.own for prompt in prompts):
            raise ValueError("a prompt's own part is never empty")
        self._refuse_if_down()
        requests: list[_Request] = []
        try:
            sent = []
            for prompt, wanted in zip(prompts, params, strict=True):
                requests.append(request := _Request(f"{next(self._numbers)}", prompt))
                sent.append(await self._send(request, wanted))
            return [
                await self._answer(request) if failure is None else failure
                for request, failure in zip(requests, sent, strict=True)
            ]
        finally:
            left = [request.id for request in requests if self._requests.pop(request.id, None) is not None]
            self._abort(left)

    async def _send(self, request: _Request, params: Any) -> JudgementError | None:
        """None when vLLM has it."""
        prompt = request.prompt
        if (refused := self._refusal(prompt)) is not None:
            return refused
        tokens = {"type": "token", "prompt_token_ids": [*prompt.shared, *prompt.own]}
        if prompt.salt:
            tokens["cache_salt"] = prompt.salt
        life = self._life
        self._requests[request.id] = request
        try:
            request.queue = await life.llm.add_request(
                request.id, tokens, params, lora_request=life.lora, priority=prompt.priority
            )
        except Exception as error:
            del self._requests[request.id]
            # Its text may quote the prompt.
            return EngineFailed(self._down or f"vLLM refuses the prompt: {type(error).__name__}")
        if life is not self._life or self._down is not None:
            return EngineFailed(self._down or "vLLM was restarted")
        return None

    async def _answer(self, request: _Request) -> Any:
        queue = request.queue
        try:
            output = queue.get_nowait() or await queue.get()
        except EngineFailed as error:
            output = EngineFailed(str(error))
        except Exception as error:
            output = EngineFailed(self._down or f"vLLM failed: {type(error).__name__}")
        del self._requests[request.id]
        return output

    def _refusal(self, prompt: Prompt) -> JudgementError | None:
        if len(prompt) >= self.max_model_len:
            return TooLong(f"{len(prompt)} prompt tokens and one answer token exceed {self.max_model_len}")
        # vLLM lets ids pass that its tokenizer knows and its model does not; they would be the end of its process.
        vocabulary = self._life.vocabulary
        if not (prompt.shared is self._sound or _within(prompt.shared, vocabulary)) or not _within(
            prompt.own, vocabulary
        ):
            return EngineFailed("the prompt holds ids that are not in the judge's vocabulary")
        self._sound = prompt.shared
        return None

    def _abort(self, ids: list[str]) -> None:
        if ids and self._down is None:
            task = asyncio.create_task(_abort(self._life, ids))
            self._aborts.add(task)
            task.add_done_callback(self._aborts.discard)

    def _refuse_if_down(self) -> None:
        if self._down is not None:
            raise EngineFailed(self._down)

    def _fall(self, reason: str) -> None:
        """From here on nothing is asked, and everybody who waits is told. The first reason stays."""
        self._down = self._down or reason
        for request in self._requests.values():
            if request.queue is not None:
                request.queue.put(EngineFailed(self._down))

    async def _watch(self) -> None:
        try:
            await self._watch_lives()
        except Exception:
            _log.exception("the watchdog of vLLM failed")
            self._fall("the watchdog of vLLM failed")

    async def _watch_lives(self) -> None:
        silence = _Silence()
        while True:
            await asyncio.sleep(_POLL_S)
            reason = self._life.death()
            if reason is None and silence.lasts(bool(self._requests), self._life.heard) > self.hang_s:
                reason = f"vLLM hangs: work in flight and nothing heard for {self.hang_s:g} s"
            if reason is not None:
                self._fall(reason)
                _log.error("%s; it is restarted", reason)
                await self._revive()
                silence = _Silence()

    async def _revive(self) -> None:
        began = time.monotonic()
        for pause_s in _pauses():
            await self._life.end()
            try:
                await asyncio.to_thread(self._check_files)
                self._life = await _begin(self._folder, self._options)
                break
            except ConfigurationError as error:
                self._down = str(error)
                _log.error("vLLM was not restarted, next try in %g s: %s", pause_s, error)
                await asyncio.sleep(pause_s)
        self.restarts += 1
        self._down = None
        _log.warning("vLLM is back after %.1f s", time.monotonic() - began)

    def _check_files(self) -> None:
        """Raises where the folder holds another judge than the one that was named at the start."""
        if (files := _files(self._folder)) != self._files:
            if any(self.identity.facts[name] != value for name, value in checkpoint_facts(self._folder).items()):
                raise ConfigurationError("the judge's files have changed since the start: restart the service")
            self._files = files


def _within(ids: tuple[int, ...], vocabulary: int) -> bool:
    return not ids or (min(ids) >= 0 and max(ids) < vocabulary)


def _files(folder: Path) -> set[tuple[str, int, int]]:
    """What changes whenever a file is written."""
    found = ((path.name, path.stat()) for path in folder.iterdir() if path.is_file())
    return {(name, stat.st_size, stat.st_mtime_ns) for name, stat in found}


async def _abort(life: Life, ids: list[str]) -> None:
    # Whatever goes wrong here has ended these requests another way.
    with suppress(Exception):
        await life.llm.abort(ids)


class _Silence:
    """For how long there was work in flight and nothing was heard, in seconds that this event loop saw pass."""

    def __init__(self) -> None:
        self._s = 0.0
        self._heard = 0
        self._at = time.monotonic()

    def lasts(self, busy: bool, heard: int) -> float:
        now = time.monotonic()
        # A step longer than a few polls is this process standing still: what vLLM said meanwhile is not read yet.
        step_s, self._at = min(now - self._at, 3 * _POLL_S), now
        self._s = self._s + step_s if busy and heard == self._heard else 0.0
        self._heard = heard
        return self._s


async def _begin(folder: Path, options: Options) -> Life:
    """A vLLM that has read a prompt."""
    life = await start(folder, options)
    try:
        # Not wait_for, which in Python 3.11 may lose a cancellation.
        async with asyncio.timeout(_FIRST_READ_S):
            await _first_read(life)
    except asyncio.CancelledError:
        await life.end()
        raise
    except Exception as error:
        await life.end()
        raise ConfigurationError(f"vLLM cannot be asked ({type(error).__name__}): {error}") from error
    return life


async def _first_read(life: Life) -> None:
    params = asking.label_params((0,))
    queue = await life.llm.add_request(
        "first", {"type": "token", "prompt_token_ids": [0, 0]}, params, lora_request=life.lora
    )
    outcome = asking.read_labels(await queue.get(), (0,))
    if isinstance(outcome, JudgementError):
        raise outcome


def _pauses() -> Iterator[float]:
    pause_s = 1.0
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _or_failure(answer: Any, read: Any, *more: Any) -> Any:
    return answer if isinstance(answer, JudgementError) else read(answer, *more)


def _complete(outcomes: list[Any]) -> list[Any]:
    """All of them; raises where there are some and the engine failed on every one, as the whole batch failed then."""
    if outcomes and all(isinstance(outcome, EngineFailed) for outcome in outcomes):
        raise EngineFailed(str(outcomes[0]))
    return outcomes
