"""What a newcomer does, for real: start the service, post the README's example, stop it."""

import asyncio
import os
import re
import shlex
import subprocess
import sys

import httpx

from testkit.processes import ROOT, Running, service
from testkit.waiting import HUNG_S
from trainer_client import wire
from trainer_client.client import JudgeClient, Scored, reward


def _readme_curl(url: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```bash\n(.*?)```", readme, re.S) if block.startswith("curl"))
    return [part.replace("http://127.0.0.1:8000", url) for part in shlex.split(block.replace("\\\n", " "))]


def test_the_readmes_curl_prints_a_score(bundled: Running) -> None:
    printed = subprocess.run(
        _readme_curl(bundled.url), capture_output=True, text=True, timeout=HUNG_S, check=True
    ).stdout
    answer = wire.ScoreResponse.model_validate_json(printed)
    assert answer.results[0].score is not None
    assert all(criterion.status == "ok" for criterion in answer.results[0].criteria)
    assert answer.judge.engine.startswith("local")


async def test_the_client_scores_a_group_over_http(bundled: Running) -> None:
    item = {
        "prompt": "What should I do about a headache?",
        "responses": ["Get some rest.", "Get some rest.", ""],
        "rubric": [{"text": "Tells the user to get some rest.", "points": 1}],
    }
    async with JudgeClient(bundled.url) as client:
        assert await client.ready()
        outcomes = await client.score([item], soft=True)
        info = await client.judge()
    assert [outcome for outcome in outcomes if not isinstance(outcome, Scored)] == []
    assert {outcome.judge.fingerprint for outcome in outcomes if isinstance(outcome, Scored)} == {info.fingerprint}
    rewards = [reward(outcome) for outcome in outcomes]
    assert rewards[0] is not None
    assert rewards[0] == rewards[1]


async def test_a_connection_that_was_idle_for_a_while_is_still_there(bundled: Running) -> None:
    """Five seconds, after which clients give theirs up, are not enough: both ends would close it at the same time."""
    async with httpx.AsyncClient(
        base_url=bundled.url, limits=httpx.Limits(keepalive_expiry=None), timeout=HUNG_S
    ) as client:

        async def port() -> int:
            address = (await client.get("/healthz")).extensions["network_stream"].get_extra_info("client_addr")
            return int(address[1])

        before = await port()
        await asyncio.sleep(6)
        assert await port() == before


def test_the_fingerprint_is_the_same_after_a_restart(bundled: Running) -> None:
    with service() as again:
        first, second = (httpx.get(f"{running.url}/v1/judge", timeout=HUNG_S).json() for running in (bundled, again))
    assert first == second


def test_the_log_says_what_serves_where_and_what_to_try_next(bundled: Running) -> None:
    log = bundled.log.read_text(encoding="utf-8")
    assert re.search(r"ready: judge \S+ on local", log)
    assert "the bundled judge is a toy; `make serve JUDGE=smollm2`" in log
    command = re.search(r"Try next: open (\S+)/ in a browser.*`\.venv/bin/rubricd (doctor --url \S+)`", log)
    assert command is not None and command[1] == bundled.url
    done = subprocess.run([sys.executable, "-m", "trainer_client", *command[2].split()], capture_output=True, text=True)
    assert done.returncode == 0 and "the judge is a toy" in done.stdout, done.stdout + done.stderr


def test_the_version_and_a_misspelt_variable() -> None:
    command = [sys.executable, "-m", "service"]
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=HUNG_S).stdout
    assert re.fullmatch(r"rubricd \d+\.\d+\.\d+\n", said)
    environment = {**os.environ, "RUBRICD_MAX_BATCH_TOKEN": "1"}
    done = subprocess.run([*command, "serve"], capture_output=True, text=True, timeout=HUNG_S, env=environment)
    assert done.returncode == 2 and "did you mean RUBRICD_MAX_BATCH_TOKENS?" in done.stderr


def test_the_command_is_installed() -> None:
    command = f"{sys.prefix}/bin/rubricd"
    printed = subprocess.run(
        [command, "score", "--help"], capture_output=True, text=True, timeout=HUNG_S, check=True
    ).stdout
    assert "usage: rubricd score" in printed
