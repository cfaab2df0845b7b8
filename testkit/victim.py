"""A caller that means no harm, in a process of its own: how long its requests take while others attack the service.

    python -m testkit.victim PORT

It asks until its stdin closes, and then prints what it saw as one line of JSON. Being another process, it does not wait
for what the attackers do in theirs.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

from testkit.http_client import Client
from testkit.processes import ROOT, Failed

_PAUSE_S = 0.02
_BODY = json.dumps(
    {"items": [{"prompt": "My knee hurts.", "response": "Rest it.", "rubric": [{"text": "Says rest.", "points": 1}]}]}
).encode()


@dataclass(slots=True)
class Seen:
    """Seconds of each request, in order, and what failed."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@asynccontextmanager
async def victim(port: int) -> AsyncIterator[Seen]:
    """It asks while inside; what it saw is there afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(port), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    seen = Seen()
    try:
        assert process.stdin is not None and process.stdout is not None
        await process.stdout.readline()  # it has had its first answer
        yield seen
        process.stdin.close()
        said, _ = await process.communicate()
        told = json.loads(said)
        seen.seconds, seen.failures = told["seconds"], told["failures"]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ask(port: int) -> Seen:
    seen = Seen()
    async with Client(port) as client:
        await client.post("/v1/score", _BODY)
        print(flush=True)
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        while not ended.done():
            began_s = time.perf_counter()
            try:
                await client.post("/v1/score", _BODY)
                seen.seconds.append(time.perf_counter() - began_s)
            except Failed as error:
                seen.failures.append(str(error))
            await asyncio.sleep(_PAUSE_S)
    return seen


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_ask(int(sys.argv[1]))))))
