"""`python -m testkit.oracle_service serve --engine fake`: the service with a judge whose verdict follows from the marks
that it reads in the prompt's text, so that an oracle outside knows it. Faults are told as to `faulty_service`.

Guarantees: a prompt that has lost a mark, or has another request's, gets another verdict than the oracle expects.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import service.__main__
from service.engine import build, fake
from service.engine.base import Engine, LabelLogprobs
from service.engine.tokenizer import load_tokenizer
from service.settings import EngineSettings
from testkit.faulty_service import FaultyEngine
from testkit.marks import Marks, p_met, read

_MASS = 0.95


def reader(decode: Callable[[list[int]], Any]) -> Callable[..., LabelLogprobs]:
    """What stands in the place of the fake judge's own oracle. `decode` makes text of token ids."""

    def verdict(prompt_ids: Sequence[int], seed: int = 0, labels: int = 2) -> LabelLogprobs:
        share = p_met(read(decode(list(prompt_ids))) or Marks())
        return LabelLogprobs((math.log(share * _MASS), math.log((1 - share) * _MASS)))

    return verdict


async def _marked(settings: EngineSettings, judge: str) -> Engine:
    fake.oracle = reader(load_tokenizer(judge, settings.revision).backend_tokenizer.decode)
    return FaultyEngine(settings.max_model_len or 32_768, settings.revision)


if __name__ == "__main__":
    build.ENGINES = {**build.ENGINES, "fake": _marked}
    sys.exit(service.__main__.main())
