"""`python -m testkit.faulty_service serve FLAGS`: the service, its fake judge told by a file what goes wrong, so that a
test causes it in a real process and ends it again. `FAULTS` names the file, which is looked at all the time.

Guarantees: Without the file everything is well, but for two bugs: a request with an item of id `bug` ends in a
RuntimeError that nobody expects, and one of id `poison` ends the process, as one does that needs too much memory.
"""

import ast
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import service.__main__
from service.api import translate
from service.engine import build
from service.engine.base import Engine, LabelLogprobs, Outcome, Prompt
from service.engine.fake import FakeEngine, Fault, FaultPlan
from service.rubrics.rubric import Candidate, Criterion
from service.settings import EngineSettings
from trainer_client.wire import ScoreRequest

_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Faults:
    """`loading`: the judge does not come. `held`: no batch is answered. `seed`: another judge under the same name.
    `shares`: prompts share what they have in common. `restarts`: how often the engine came back by itself. `lost`: the
    judges of this `revision` do not answer."""

    rates: Mapping[Fault, float] = field(default_factory=dict)
    batch_s: float = 0.0
    loading: bool = False
    held: bool = False
    seed: int = 0
    shares: bool = True
    restarts: int = 0
    lost: str = ""

    def tell(self, file: Path) -> None:
        """At once for whoever looks."""
        part = file.with_suffix(".part")
        part.write_text(repr(asdict(self)))
        part.replace(file)


def told() -> Faults:
    file = Path(os.environ["FAULTS"])
    return Faults(**ast.literal_eval(file.read_text())) if file.exists() else Faults()


class FaultyEngine(FakeEngine):
    """Whatever the file says now; its name stays that of seed 0."""

    def __init__(self, max_model_len: int, revision: str | None) -> None:
        super().__init__(max_model_len=max_model_len, sleep=self._slept, remember=0)
        self._revision = revision
        self._shares = True
        self._following = asyncio.create_task(self._follow(), name="faults")

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        outcomes = await super().read_labels(prompts, label_ids)
        if not self._shares:
            return outcomes
        return [
            replace(outcome, cached_tokens=len(prompt.shared)) if isinstance(outcome, LabelLogprobs) else outcome
            for prompt, outcome in zip(prompts, outcomes, strict=True)
        ]

    async def _follow(self) -> None:
        while True:
            now = told()
            self.plan = FaultPlan(rates=now.rates, batch_s=max(now.batch_s, 1e-6))
            self._seed, self._shares, self.restarts = now.seed, now.shares, now.restarts
            self.down = "its server does not answer" if now.lost and now.lost == self._revision else None
            await asyncio.sleep(_LOOK_S)

    async def _slept(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while told().held:
            await asyncio.sleep(_LOOK_S)


async def _faulty(settings: EngineSettings, judge: str) -> Engine:
    while told().loading:
        await asyncio.sleep(_LOOK_S)
    return FaultyEngine(settings.max_model_len or 32_768, settings.revision)


_candidates = translate.candidates


def _buggy(
    request: ScoreRequest, stored: Mapping[str, tuple[Criterion, ...]] = MappingProxyType({})
) -> list[Candidate]:
    if any(item.id == "bug" for item in request.items):
        raise RuntimeError("a bug")
    if any(item.id == "poison" for item in request.items):
        os.kill(os.getpid(), signal.SIGKILL)
    return _candidates(request, stored)


if __name__ == "__main__":
    build.ENGINES = {**build.ENGINES, "fake": _faulty}
    translate.candidates = _buggy
    sys.exit(service.__main__.main())
