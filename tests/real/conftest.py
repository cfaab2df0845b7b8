"""A real judge, SmolLM2-135M-Instruct, and the service as `make serve JUDGE=smollm2` starts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.processes import Running, service
from tools.real_judge import build_if_missing


@pytest.fixture(scope="session")
def real_judge() -> Path:
    """Built where `make real-judge` has not done it. Where it cannot be built the tests fail and are not skipped."""
    return build_if_missing()


@pytest.fixture(scope="session")
def served(real_judge: Path) -> Iterator[Running]:
    """With the default settings, but for the longest prompt, and without the exam: its 80 questions in twelve ways
    would take many minutes here. (It is right in 20 of 40 pairs: unproven.)"""
    with service("--judge", str(real_judge), "--max-model-len", "2048", "--exam", "false") as running:
        yield running
