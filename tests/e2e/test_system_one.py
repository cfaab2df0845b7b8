"""System One's conformance suite and its own SDK against a real process of the service, with keys."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typesafe_sdk import Noul, NoulAnswer, TypeSafeClient, TypeSafeUnprocessableEntityError

from testkit.processes import Running, service
from testkit.teams_file import key, team, write

JEVCOMPAT = str(Path(sys.executable).with_name("jevcompat"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    teams = write(tmp_path_factory.mktemp("teams") / "teams.json", team("a"))
    with service("--teams", str(teams)) as running:
        yield running


def test_every_requirement_of_the_conformance_suite_is_kept(judge: Running, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [JEVCOMPAT, "test", judge.url, "--key", key("a"), "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "conformant to spec 0.1: MUST 32/32, SHOULD 14/14" in done.stdout, done.stdout
    assert json.loads(report.read_text())


@pytest.mark.parametrize("length", [100, 1_500])
def test_its_sdk_is_answered_whether_it_compresses_or_not(judge: Running, length: int) -> None:
    """Bodies of 1 KiB and more come as zstd."""
    with TypeSafeClient(api_key=key("a"), base_url=judge.url) as client:
        state = {"input": "My knee hurts.", "submission": "Rest it. " * (length // 9)}
        answer = client.system_one(state=state, questions={"rest": Noul(instructions="Says to rest.")})
        rest = answer.answers["rest"]
        assert isinstance(rest, NoulAnswer) and 0.0 <= rest.noul <= 1.0 and answer.model == "miniature"
        with pytest.raises(TypeSafeUnprocessableEntityError, match="must say something"):
            client.system_one(state=state, questions={"rest": Noul(instructions=" ")})
