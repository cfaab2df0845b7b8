"""Whatever a newcomer does wrong with `python -m service` is answered in a few lines that name what to change."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.__main__ import main
from service.engine.build import MINIATURE
from testkit.processes import refused, service

MOST_LINES = 5


@dataclass(frozen=True)
class Mistake:
    """A command line and what it says, in so many lines at most where its judge is loaded. `{folder}` has the files
    below, `{port}` is in use. `variable` is NAME=value."""

    name: str
    command: str
    said: str
    variable: str = ""
    lines: int = 1


EARLY = [
    Mistake("variable misspelt", "serve", "did you mean RUBRICD_MAX_BATCH_TOKENS?", "RUBRICD_MAX_BATCH_TOKEN=1"),
    Mistake("variable cut short", "serve", "did you mean RUBRICD_REDIS_URL?", "RUBRICD_REDIS=redis://r"),
    Mistake("variable misspelt for the doctor", "doctor", "did you mean RUBRICD_TEAMS?", "RUBRICD_TEAM=t"),
    Mistake("flag misspelt", "serve --max-batch-token 1", "did you mean --max-batch-tokens?"),
    Mistake("command misspelt", "server", "choose from 'serve'"),
    Mistake("port in use", "serve --engine fake --port {port}", "end the program that listens there, or set another"),
    Mistake(
        "metrics on a port in use", "serve --engine fake --port 0 --metrics-port {port}", "set another `metrics_port`"
    ),
    Mistake("port is no number", "serve --port http", "`port`: Input should be a valid integer"),
    Mistake(
        "engine misspelt",
        "serve --engine vlm",
        "`engine`: Input should be 'auto', 'chat', 'decisions', 'fake', 'local'",
    ),
    Mistake("open to all without keys", "serve --host 0.0.0.0", "name one with `teams` (`python -m service keys new"),
    Mistake("teams file missing", "serve --teams {folder}/none.yaml", "`python -m service keys new TEAM` makes one"),
    Mistake("teams file wrong", "serve --teams {folder}/teams.yaml", "line 2: not YAML 1.2 of plain values"),
    Mistake("Redis by a web address", "serve --redis-url http://redis", "write redis://, rediss:// or unix://"),
    Mistake("collector without a scheme", "serve --otlp-endpoint collector:4318", "such as http://collector:4318"),
    Mistake("path with a slash at its end", "serve --root-path /judge/", "`root_path`: write a path such as /judge"),
    Mistake(
        "key of the metrics with a line break",
        "serve",
        "of a file comes along",
        "RUBRICD_METRICS_KEY=0123456789abcdef\n",
    ),
    Mistake("ledger in a file", "serve --engine fake --port 0 --ledger {folder}/teams.yaml", "choose another folder"),
    Mistake("rubrics in a file", "serve --engine fake --port 0 --rubrics {folder}/teams.yaml", "choose another folder"),
    Mistake(
        "password with a hash sign", "serve", "of a password as %2F %23", "RUBRICD_REDIS_URL=redis://:a#b@redis:6379/0"
    ),
    Mistake("one label", "serve --labels Yes", "`labels`: must be two labels, such as Yes,No"),
]
LATE = [
    Mistake("judge's folder missing", "--judge ./none", "neither a folder here nor a model that the hub gives"),
    Mistake("hub judge that cannot be had", "--judge nobody/none", "look at the network and HF_TOKEN"),
    Mistake("judge without a tokenizer", "--judge {folder}", "download the whole model, with its tokenizer.json"),
    Mistake(
        "labels that are not tokens",
        """--engine fake --labels ["Unquestionably","No"]""",
        "is not one token after the judge's prompt",
        lines=3,
    ),
    Mistake("no adapter", "--engine vllm --vllm-lora /no/such/adapter", "is no LoRA adapter in safetensors", lines=2),
    Mistake("no server of engine remote", "--engine remote", "needs `remote_url` (the server) and `judge`"),
    Mistake(
        "server down", "--engine remote --remote-url http://127.0.0.1:9/v1 --judge {judge}", "start the judge's server"
    ),
]


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, str]]:
    (tmp_path / "teams.yaml").write_text("a: [1\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        yield {"folder": str(tmp_path), "port": port, "judge": str(MINIATURE)}


@pytest.mark.parametrize("mistake", EARLY, ids=lambda one: one.name)
def test_a_mistake_is_told_before_anything_is_loaded(
    mistake: Mistake, places: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = mistake.variable.partition("=")
    if name:
        monkeypatch.setenv(name, value)
    try:
        code = main([word.format(**places) for word in mistake.command.split()])
    except SystemExit as ended:
        code = int(str(ended.code))
    said = capsys.readouterr()
    assert code == 2 and said.out == ""
    assert mistake.said in said.err and "Traceback" not in said.err
    assert _told(said.err) <= MOST_LINES


@pytest.mark.parametrize("mistake", LATE, ids=lambda one: one.name)
def test_a_judge_that_cannot_be_had_ends_the_service_in_a_line_or_a_few(
    mistake: Mistake, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, said = refused(*(word.format(**places) for word in mistake.command.split()))
    assert code == 1
    assert mistake.said in said and "Traceback" not in said
    assert 1 <= _told(said) <= mistake.lines


def test_what_does_not_keep_it_from_serving_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUBRICD_COLOUR", "RUBRICD_KEY", "RUBRICD_SERVICE_HOST", "RUBRICD_JUDGE_PORT_8000_TCP_ADDR"):
        monkeypatch.setenv(name, "blue")
    log = tmp_path / "log"
    with service("--engine", "fake", "--redis-url", "redis://127.0.0.1:9", log=log):
        pass
    said = log.read_text(encoding="utf-8")
    assert said.count("WARNING service.redis_client: Redis cannot be used") == 1
    assert "(connection): start Redis, or correct `redis_url`" in said and "Traceback" not in said
    told = [line for line in said.splitlines() if "changes nothing" in line]
    assert len(told) == 1 and "RUBRICD_COLOUR" in told[0] and "blue" not in told[0]


def _told(text: str) -> int:
    """The lines of a text besides those of a log about what goes well."""
    return sum(" INFO " not in line for line in text.splitlines())
