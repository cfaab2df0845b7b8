"""`python -m loadtests.dashboards.faulty`: the service as it is, with a fake judge that now and then fails in every way
it can. Flags are the service's.
"""

import signal
import socket
import sys
from dataclasses import replace

import uvicorn
from pydantic_settings import CliApp

from service.app import create_app
from service.engine.build import LoadedJudge, build
from service.engine.fake import FakeEngine, Fault, FaultPlan
from service.lifecycle import Lifecycle
from service.settings import Settings

MAX_TOKENS = 4096
"""Of a prompt; a longer one is `too_long`."""
_RATES: dict[Fault, float] = {
    "batch": 0.02,
    "some": 0.03,
    "low_mass": 0.06,
    "nan": 0.02,
    "truncated": 0.04,
    "garbage": 0.04,
}
PLAN = FaultPlan(script=("ok",) * 4, rates=_RATES, batch_s=0.02, token_s=1e-4)
"""The first calls are the start's own."""


async def faulty(settings: Settings) -> LoadedJudge:
    built = await build(settings)
    return replace(built, engine=FakeEngine(plan=PLAN, max_model_len=MAX_TOKENS, remember=0))


def main() -> int:
    settings = CliApp.run(Settings)
    app = create_app(settings, build=faulty, lifecycle=Lifecycle(on_failed=lambda error: sys.exit(str(error))))
    listener = socket.create_server((settings.host, settings.port))
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
