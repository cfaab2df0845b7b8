import pytest

from service.engine.local.isolated import process


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge's process runs made_up_worker.py."""
    monkeypatch.setattr(process, "WORKER", "tests.service.engine.local.isolated.made_up_worker")
