"""Measures what a stored rubric saves: bytes on the wire, and the service's CPU for a request whose verdicts are known.

One item has a rubric of 40 criteria, inline or by its reference; verdicts come from memory, so that what is left is
reading, translating, looking up, aggregating and writing. The app is called in this process, without a socket; both
kinds of request take turns, so that a busy machine slows both.

    python -m loadtests.stored_rubrics [--rounds 300]
"""

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

import httpx

from testkit.apps import serving

CRITERIA = 40
_TEXT = "Criterion {n}: states clearly that the user should see a doctor if the pain lasts longer than {n} days."


def rubric() -> list[dict[str, Any]]:
    """About as long as HealthBench's criteria, with their tags."""
    return [
        {"text": _TEXT.format(n=n), "points": n % 11 - 3, "tags": ["level:example", "axis:completeness"]}
        for n in range(CRITERIA)
    ]


def _body(rubric: Any, responses: int) -> bytes:
    answers = [f"Rest it for {n} days and see a doctor." for n in range(responses)]
    return json.dumps({"items": [{"prompt": "My knee hurts.", "responses": answers, "rubric": rubric}]}).encode()


async def measure(rounds: int, responses: int) -> dict[str, tuple[int, float]]:
    """Bytes of the body and median CPU milliseconds of a request, for each kind."""
    async with serving() as client:
        ref = (await client.put("/v1/rubrics/knee", json=rubric())).json()["ref"]
        bodies = {"inline": _body(rubric(), responses), "by reference": _body({"ref": ref}, responses)}
        took: dict[str, list[float]] = {kind: [] for kind in bodies}
        for body in bodies.values():
            await _post(client, body)
        for _ in range(rounds):
            for kind, body in bodies.items():
                started = time.process_time()
                await _post(client, body)
                took[kind].append((time.process_time() - started) * 1000)
    return {kind: (len(body), statistics.median(took[kind])) for kind, body in bodies.items()}


async def _post(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/score", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    for responses in (1, 8):
        for kind, (size, milliseconds) in asyncio.run(measure(rounds, responses)).items():
            print(f"{responses} response(s), {CRITERIA} criteria, {kind}: {size:,} bytes, {milliseconds:.2f} ms of CPU")


if __name__ == "__main__":
    main()
