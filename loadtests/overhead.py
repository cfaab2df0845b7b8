"""Measures the service's own cost: CPU microseconds per uncached verdict over HTTP, engine and tokenizer excluded.

The engine answers from a constant, so what is left is parsing, rendering, queueing, reading, aggregating and writing.
The tokenizer's time is taken where it is called and shown apart. Requests are GRPO groups of 8 responses with 12
criteria of about 60 tokens on about 1,200 shared; every text is new. The client is another process.

    python -m loadtests.overhead [--requests 100]
    py-spy record --output overhead.svg -- python -m loadtests.overhead    # where the time goes, as a flame graph
"""

import argparse
import asyncio
import math
import multiprocessing
import os
import random
import time
from collections.abc import Iterable, Sequence

import httpx
import uvicorn

from service.app import create_app
from service.engine.base import LabelLogprobs, Outcome, Prompt
from service.engine.build import MINIATURE, LoadedJudge
from service.engine.fake import FakeEngine
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.prompting.tokenization import Segmenter
from service.server import spare_the_collector
from service.settings import Settings

GROUP, CRITERIA = 8, 12
WORDS = [
    f"{a}{b}" for a in ("re", "un", "de", "co", "in") for b in ("st", "low", "tain", "pose", "vert", "duce", "fer")
]


class Constant(FakeEngine):
    """Answers at once, whatever is asked."""

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        return [LabelLogprobs(logprobs=(math.log(0.7), math.log(0.2)))] * len(prompts)


class Stopwatch:
    """CPU seconds of the tokenizer, which is not the service's own cost."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._encode_untrusted_all = Segmenter.encode_untrusted_all

    def install(self) -> None:
        watch, tokenise = self, self._encode_untrusted_all

        def timed(self: Segmenter, texts: Iterable[str]) -> list[tuple[int, ...]]:
            started = time.thread_time()
            try:
                return tokenise(self, texts)
            finally:
                watch.seconds += time.thread_time() - started

        Segmenter.encode_untrusted_all = timed  # type: ignore[method-assign]


def body(number: int) -> dict[str, object]:
    """One group: texts of random words, so that nothing is known before."""
    rng = random.Random(number)

    def text(words: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(words))

    rubric = [{"text": text(20), "points": rng.randint(1, 9)} for _ in range(CRITERIA)]
    return {"items": [{"prompt": text(200), "responses": [text(200) for _ in range(GROUP)], "rubric": rubric}]}


def ask(url: str, first: int, requests: int, at_once: int) -> None:
    """The client's process."""

    async def run() -> None:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=at_once)) as client:
            slots = asyncio.Semaphore(at_once)

            async def one(number: int) -> None:
                async with slots:
                    answer = await client.post(f"{url}/v1/score", json=body(number))
                    if answer.status_code != 200 or answer.json()["results"][0]["score"] is None:
                        raise SystemExit(answer.text[:300])

            await asyncio.gather(*(one(number) for number in range(first, first + requests)))

    asyncio.run(run())


async def ask_from_elsewhere(url: str, first: int, requests: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=ask, args=(url, first, requests, 4))
    process.start()
    await asyncio.to_thread(process.join)
    if process.exitcode:
        raise SystemExit("the client failed")


async def build(settings: Settings) -> LoadedJudge:
    from service.engine.tokenizer import load_tokenizer

    return LoadedJudge(Constant(), load_tokenizer(str(MINIATURE), None))


async def measure(requests: int) -> None:
    watch = Stopwatch()
    watch.install()
    lifecycle = Lifecycle[Judges](on_ready=spare_the_collector)
    app = create_app(Settings(engine="fake", canary_every_s=0), build=build, lifecycle=lifecycle)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started or lifecycle.state != "ready":  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    await ask_from_elsewhere(url, 1_000_000, 10)
    cpu, watch.seconds = time.process_time(), 0.0
    await ask_from_elsewhere(url, 0, requests)
    cpu = time.process_time() - cpu
    verdicts = requests * GROUP * CRITERIA
    print(f"{verdicts} verdicts in {requests} requests of {GROUP} responses x {CRITERIA} criteria")
    print(f"{'all of the service':<24}{cpu / verdicts * 1e6:8.1f} us CPU a verdict")
    print(f"{'tokenizer':<24}{watch.seconds / verdicts * 1e6:8.1f} us")
    print(f"{'the rest, its own cost':<24}{(cpu - watch.seconds) / verdicts * 1e6:8.1f} us")
    server.should_exit = True
    await serving


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=100)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    asyncio.run(measure(options.requests))
