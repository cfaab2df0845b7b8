"""Whatever a newcomer does wrong with `rubricd` is answered in a few lines that name what to change."""

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from testkit.scripted_judge import Service, items, problem, served
from tests.trainer_client.training import runs
from trainer_client.cli.main import main

MOST_LINES = 5


@dataclass(frozen=True)
class Mistake:
    """A command line and what it says. `{folder}` has the files below, `{url}` is a judge's, `{down}` nobody's, and
    `{other}` that of a web page; `hidden` packages are not installed."""

    name: str
    command: str
    said: str
    hidden: str = ""


MISTAKES = [
    Mistake("file missing", "score {folder}/rows.json --url {url}", "did you mean rows.jsonl?"),
    Mistake("folder missing", "score {folder}/data --url {url}", "data: No such file or directory"),
    Mistake("kind of file unknown", "score {folder}/rows.txt --url {url}", "its name must end in one of .jsonl"),
    Mistake("damaged file", "score {folder}/damaged.parquet --url {url}", "damaged.parquet: not readable as parquet"),
    Mistake("not JSON", "score {folder}/broken.jsonl --url {url}", "broken.jsonl, line 2: not JSON"),
    Mistake("field misspelt", "score {folder}/misspelt.jsonl --url {url}", "line 1: no `response` or `responses`; add"),
    Mistake("points as text", "score {folder}/text.jsonl --url {url}", "`rubric[0].points`: is the text '7'; write a"),
    Mistake("no rubric", "score {folder}/bare.jsonl --url {url}", "no `rubric`; mode `verdict` needs one"),
    Mistake("no rows", "score {folder}/empty.jsonl --url {url}", "holds no items"),
    Mistake("service down", "score {folder}/rows.jsonl --url {down}", "; start the service there, or correct its url"),
    Mistake("URL with /v1", "score {folder}/rows.jsonl --url {url}/v1", "leave `/v1` off its url"),
    Mistake("URL of a route", "score {folder}/rows.jsonl --url {url}/v1/score", "leave `/v1/score` off its url"),
    Mistake("URL without a scheme", "score {folder}/rows.jsonl --url judge:8000", "must look like http://host:port"),
    Mistake(
        "another server", "score {folder}/rows.jsonl --url {other}", "no rubric judge at this address; write the url"
    ),
    Mistake("no key", "score {folder}/rows.jsonl --url {closed}", "RUBRICD_KEY is not set, so no key was sent"),
    Mistake(
        "mode not there", "score {folder}/rows.jsonl --url {url} --mode reasoned", "--mode: this judge has verdict"
    ),
    Mistake("mode misspelt", "score {folder}/rows.jsonl --mode verdicts", "did you mean verdict?"),
    Mistake("argument misspelt", "score {folder}/rows.jsonl --treshold 1", "did you mean --threshold?"),
    Mistake("command misspelt", "scor {folder}/rows.jsonl", "did you mean score?"),
    Mistake(
        "results there", "score {folder}/rows.jsonl --url {url} --out {folder}/broken.jsonl", "--resume, or overwrite"
    ),
    Mistake(
        "no folder of results", "score {folder}/rows.jsonl --url {url} --out {folder}/no/x", "make it, or name another"
    ),
    Mistake("no folder of figures", "audit {folder}/rows.jsonl --url {url} --json {folder}/no/x", "make it, or name"),
    Mistake("a folder for figures", "audit {folder}/rows.jsonl --url {url} --json {folder}/old", "is a folder; name a"),
    Mistake("pyarrow missing", "score {folder}/damaged.parquet --url {url}", "pip install 'rubricd[cli]'", "pyarrow"),
    Mistake("run file missing", "train {folder}/rum.yaml", "rum.yaml: No such file"),
    Mistake("not YAML", "train {folder}/broken.jsonl", "line 2: not YAML"),
    Mistake("field of a run misspelt", "train {folder}/run.yaml --set group_=3", "did you mean `group`?"),
    Mistake("field of TRL's", "train {folder}/run.yaml --set learning_rat=1", "did you mean `trl.learning_rate`?"),
    Mistake("preset misspelt", "train {folder}/run.yaml --set preset=ruscar", "did you mean ruscarl?"),
    Mistake("policy's folder missing", "train {folder}/run.yaml --set policy=./none", "`policy`: no folder"),
    Mistake("rows missing", "train {folder}/run.yaml --set data=row.jsonl", "did you mean rows.jsonl?"),
    Mistake("judge down", "train {folder}/run.yaml --set judging.url={down}", "start the service there, or correct"),
    Mistake("judge's URL with /v1", "train {folder}/run.yaml --set judging.url={url}/v1", "leave `/v1` off its url"),
    Mistake("key refused", "train {folder}/run.yaml --set judging.url={closed}", "that `judging.token_env` names"),
    Mistake("toy judge", "train {folder}/run.yaml --set judging.url={toy}", "or say --toy-judge for a demonstration"),
    Mistake("run there", "train {folder}/run.yaml --set out=old", "continue it with --resume, or name another folder"),
    Mistake("batch", "train {folder}/run.yaml --set mini_batch=3", "must be a multiple of `mini_batch` (3)"),
    Mistake("trl missing", "train {folder}/run.yaml", "pip install 'rubricd[train]'", "trl"),
    Mistake("wandb missing", "train {folder}/run.yaml --set trl.report_to=wandb", "pip install 'wandb'", "wandb"),
    Mistake("no run", "report {folder}", "holds no run"),
    Mistake("GPU unknown", "size --gpu H1000", "--gpu H1000 is not known: H200, H100"),
]


class Page(Service):
    """A web page."""

    def respond(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, text="<html>hello</html>", headers={"content-type": "text/html"})


class Closed(Service):
    """It lets nobody in."""

    def respond(self, request: httpx.Request) -> httpx.Response:
        return problem("unauthorized", 401)


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, str]]:
    toy = Service()
    toy.toy = True
    with socket.create_server(("127.0.0.1", 0)) as free:
        down = f"http://127.0.0.1:{free.getsockname()[1]}"
    with served(Service()) as url, served(Page()) as other, served(Closed()) as closed, served(toy) as toy_url:
        yield {"url": url, "other": other, "closed": closed, "toy": toy_url, "down": down}


@pytest.fixture
def folder(tmp_path: Path, places: dict[str, str]) -> Path:
    good = json.dumps(items(1)[0])
    for name, text in {
        "rows.jsonl": good,
        "rows.txt": good,
        "broken.jsonl": f"{good}\n{{broken: [\n",
        "misspelt.jsonl": good.replace('"response"', '"respons"'),
        "text.jsonl": good.replace('"points": 5', '"points": "7"'),
        "bare.jsonl": json.dumps({"prompt": "p", "response": "r"}),
        "empty.jsonl": "",
        "damaged.parquet": "no table",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.yaml").touch()
    runs.run_file(tmp_path, places["url"])
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_is_told_in_a_few_lines_that_name_the_fix(
    mistake: Mistake,
    folder: Path,
    places: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RUBRICD_KEY", raising=False)
    if mistake.hidden:
        monkeypatch.setitem(sys.modules, mistake.hidden, None)
    before = sorted(folder.rglob("*"))
    try:
        code = main([word.format(folder=folder, **places) for word in mistake.command.split()])
    except SystemExit as ended:
        code = int(str(ended.code))
    said = capsys.readouterr()
    assert code == 2 and said.out == ""
    assert mistake.said in said.err
    assert said.err.count("\n") <= MOST_LINES and "Traceback" not in said.err and "pydantic" not in said.err
    assert sorted(folder.rglob("*")) == before, "nothing is left behind"


def test_there_are_thirty_of_them() -> None:
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 30
