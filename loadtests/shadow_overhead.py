"""Measures what a shadow costs the requests whose judgements it sees: latency with and without one, side by side.

One service has a judge, and the same judge with a shadow; engines answer from constants, so that what is measured is
the service. Rounds of requests to the one and to the other take turns, so that what else the machine does meets both
alike. A request is begun each `--every` seconds by another process, whatever has been answered.

    python -m loadtests.shadow_overhead [--share 0.05] [--rounds 20] [--requests 40] [--every 0.1]
"""

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray

from loadtests.overhead import body, build
from service.app import create_app
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.server import spare_the_collector
from service.settings import Settings
from testkit.metrics_page import Page, page_of

_FILE = """\
judges:
  plain: {{engine: fake}}
  second: {{engine: fake, prompt: bare}}
  watched: {{shadow: second, of: plain, share: {share}}}
"""
_REST_S = 1.0
"""Between rounds: what a shadow has left to do is not to meet the other judge's requests."""
Seconds = NDArray[np.float64]


def ask(url: str, requests: int, every_s: float, rounds: Connection) -> None:
    """The client's process: for each judge that comes it sends its requests, and then their latencies. None ends it."""

    async def run() -> None:
        sent = 0
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=8)) as client:

            async def one(number: int, judge: str) -> float:
                asked = {**body(number), "judge": judge}
                began_s = time.perf_counter()
                answer = await client.post(f"{url}/v1/score", json=asked)
                answer.raise_for_status()
                return time.perf_counter() - began_s

            while (judge := await asyncio.to_thread(rounds.recv)) is not None:
                tasks = []
                for _ in range(requests):
                    tasks.append(asyncio.create_task(one(sent, judge)))
                    sent += 1
                    await asyncio.sleep(every_s)
                rounds.send(list(await asyncio.gather(*tasks)))

    asyncio.run(run())


async def measure(share: float, rounds: int, requests: int, every_s: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "judges.yaml"
        file.write_text(_FILE.format(share=share), encoding="utf-8")
        lifecycle = Lifecycle[Judges](on_ready=spare_the_collector)
        settings = Settings(engine="fake", exam=False, canary_every_s=0, judges=file)
        app = create_app(settings, build=build, lifecycle=lifecycle)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
        serving = asyncio.create_task(server.serve())
        while not server.started or lifecycle.state != "ready":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        found: dict[str, list[list[float]]] = {"plain": [], "watched": []}
        here, there = multiprocessing.Pipe()
        arguments = (url, requests, every_s, there)
        process = multiprocessing.get_context("spawn").Process(target=ask, args=arguments)
        process.start()
        for round in range(-1, rounds):  # the first is for warming up
            for judge in ("plain", "watched") if round % 2 else ("watched", "plain"):
                here.send(judge)
                latencies = await asyncio.to_thread(here.recv)
                await asyncio.sleep(_REST_S)
                if round >= 0:
                    found[judge].append(latencies)
        here.send(None)
        await asyncio.to_thread(process.join)
        async with httpx.AsyncClient(base_url=url) as client:
            page = await page_of(client)
        server.should_exit = True
        await serving
    report({judge: np.array(latencies) for judge, latencies in found.items()}, page, share)


def report(found: dict[str, Seconds], page: Page, share: float) -> None:
    """`found` has the latencies of each judge by round (R, N)."""
    draw = np.random.default_rng(0)
    rounds = found["plain"].shape[0]
    picked = draw.integers(0, rounds, (1000, rounds))
    for quantile in (0.5, 0.95):
        plain, watched = (np.quantile(found[judge], quantile) for judge in ("plain", "watched"))
        drawn = [
            np.quantile(found["watched"][one], quantile) / np.quantile(found["plain"][one], quantile) for one in picked
        ]
        low, high = np.quantile(drawn, [0.025, 0.975])
        print(
            f"p{100 * quantile:.0f}: {1000 * plain:.2f} ms without a shadow, {1000 * watched:.2f} ms with one of "
            f"{share:.0%}; ratio {watched / plain:.3f} [{low:.3f}, {high:.3f}] over {rounds} rounds"
        )
    compared = page("rubricd_shadow_judgements_total", shadow="second")
    print(f"the shadow judged {compared:.0f}, and {page('rubricd_shadow_dropped_total'):.0f} responses were dropped")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--every", type=float, default=0.1)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    asyncio.run(measure(options.share, options.rounds, options.requests, options.every))
