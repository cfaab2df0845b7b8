"""`rubricd perturb` writes rows with worse rubrics, in their own format, and says in each what it did."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from testkit.chat_server import Asked, Raw, chat_server
from testkit.waiting import HUNG_S
from trainer_client.cli.main import main
from trainer_client.data import rows
from trainer_client.data.reader import Law
from trainer_client.perturbation.rubrics import KINDS

Json = dict[str, Any]
ROOT = Path(__file__).parents[3]
CRITERIA: list[Json] = [
    {"criterion": "Names the tea.", "points": 7, "tags": ["axis:accuracy"]},
    {"criterion": "Recommends surgery.", "points": -5, "tags": []},
    {"criterion": "States the dose.", "points": 3, "tags": ["axis:accuracy"]},
]
OTHER: list[Json] = [{"criterion": f"Names city {n}.", "points": n, "tags": []} for n in (1, 2, 3)]
RAR: list[Json] = [
    {"title": "Tea", "description": "Essential Criteria: Names the tea.", "weight": 5},
    {"title": "Knife", "description": "Pitfall Criteria: Recommends surgery.", "weight": -1},
]


def verl(criteria: Any) -> Json:
    model = {"style": "rubric", "ground_truth": "", "rubrics": criteria}
    turns = [{"role": "user", "content": f"hello {criteria[0]}"}]
    return {"prompt": turns, "data_source": "hb", "reward_model": model, "extra_info": {"reward_model": model, "n": 1}}


FORMS: dict[str, Any] = {
    "verl": verl,
    "json text": lambda own: {**verl(own), "reward_model": json.dumps({"rubrics": own}), "extra_info": {"n": 1}},
    "healthbench": lambda own: {"prompt": "p", "rubrics": own, "prompt_id": "x", "canary": "c"},
    "own": lambda own: {"prompt": "p", "response": "r", "rubric": {"criteria": own}, "score": 0.5},
    "rar": lambda own: {"question": "q", "reference_answer": "a", "rubric": RAR},
    "openrubrics": lambda own: {"instruction": "i", "rubric": "1. Names the tea.\n2. Is short. [Hard Rule]"},
}


def _written(path: Path, *found: Json) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in found), encoding="utf-8")
    return path


def _read(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _rubrics(path: Path) -> list[list[tuple[str, float]]]:
    law = Law(pitfalls="met_is_bad")
    found = [row.rubric for row in rows.read_rows(path, law=law)]
    return [[(one.text, one.worth) for one in rubric.criteria] for rubric in found if rubric is not None]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_in_each_format_changes_the_rubric_alone_and_says_how(tmp_path: Path, kind: str, form: str) -> None:
    file = _written(tmp_path / "in.jsonl", FORMS[form](CRITERIA), verl(OTHER))
    out = tmp_path / "out.jsonl"
    command = ["perturb", str(file), "--kind", kind, "--out", str(out), "--pitfalls", "met_is_bad"]
    assert main(command) == 0
    first, second = _read(out)
    was = _read(file)[0]
    told = first.pop("perturbation")
    assert (told["kind"], told["seed"], told["share"]) == (kind, 0, 0.5)
    places = ("rubric", "rubrics", "reward_model", "extra_info")
    assert {name: value for name, value in first.items() if name not in places} == {
        name: value for name, value in was.items() if name not in places
    }
    before, after = _rubrics(file), _rubrics(out)
    assert len(before) == len(after) == 2
    if kind == "shuffled":
        assert after == before[::-1] and (told["from"], second["perturbation"]["from"]) == ("1", "0")
        return
    assert len(after[0]) == len(before[0]) + len(told["added"]) - len(told["removed"])
    kept = [place for place in range(len(before[0])) if place not in told["removed"]]
    pairs = zip(kept, [n for n in range(len(after[0])) if n not in told["added"]], strict=True)
    for origin, n in pairs:
        assert (before[0][origin][0] != after[0][n][0]) == (n in told["text"])
        assert (before[0][origin][1] != after[0][n][1]) == (n in told["points"])
    if form == "verl":
        assert first["extra_info"]["reward_model"]["rubrics"] == first["reward_model"]["rubrics"]
        assert first["extra_info"]["n"] == 1 and first["reward_model"]["style"] == "rubric"


def test_strict_readers_take_the_rows(tmp_path: Path) -> None:
    file, out = _written(tmp_path / "in.jsonl", FORMS["own"](CRITERIA)), tmp_path / "out.jsonl"
    assert main(["perturb", str(file), "--kind", "negated", "--out", str(out)]) == 0
    (row,) = _read(out)
    row.pop("score")
    assert len(list(rows.read_rows(_written(out, row), law=Law(strict=True)))) == 1


def test_the_same_command_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    file = _written(tmp_path / "in.jsonl", *(verl([*CRITERIA, *OTHER[:n]]) for n in range(4)))
    texts = []
    for seed in ("0", "0", "1"):
        out = tmp_path / "out.jsonl"
        command = ["perturb", str(file), "--kind", "half", "--seed", seed, "--out", str(out), "--force"]
        assert main([*command, "--share", "0.4"]) == 0
        texts.append(out.read_bytes())
    assert texts[0] == texts[1] != texts[2]


def test_parquet_stays_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out, summary = tmp_path / "in.parquet", tmp_path / "out.parquet", tmp_path / "summary.json"
    parquet.write_table(pyarrow.Table.from_pylist([verl(CRITERIA), verl(OTHER)]), file)
    command = ["perturb", str(file), "--kind", "ambiguous", "--out", str(out), "--json", str(summary)]
    assert main(command) == 0
    names = parquet.read_schema(file).names
    assert parquet.read_schema(out).names == [*names, "perturbation"]
    assert parquet.read_schema(out).field("reward_model") == parquet.read_schema(file).field("reward_model")
    told = json.loads(summary.read_text())
    assert (told["rows"], told["criteria_before"], told["criteria_after"], told["added"]) == (2, 6, 10, 4)
    assert "6 criteria before and 10 after; 4 added" in capsys.readouterr().out


def test_a_rule_stays_a_rule_where_rubrics_are_exchanged(tmp_path: Path) -> None:
    rule = {"text": "Has tea.", "points": 1, "verifier": {"rule": "contains", "text": "tea"}}
    file = _written(tmp_path / "in.jsonl", FORMS["own"]([rule, CRITERIA[0]]), verl(OTHER))
    out = tmp_path / "out.jsonl"
    assert main(["perturb", str(file), "--kind", "shuffled", "--out", str(out)]) == 0
    second = [row.rubric for row in rows.read_rows(out)][1]
    assert second is not None and second.criteria[0].verifier is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "a.txt"], "whose name ends in"),
        (["--out", "in.jsonl"], "exists; name another file"),
        (["--out", "a.jsonl", "--model-url", "http://x"], "name the model there with --model"),
        (["--out", "a.jsonl", "--model", "m"], "asks no model"),
    ],
)
def test_misuse_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _written(tmp_path / "in.jsonl", verl(CRITERIA))
    assert main(["perturb", "in.jsonl", "--kind", "half", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ({"prompt": "p"}, "half", "no `rubric` to perturb"),
        (verl(CRITERIA), "shuffled", "there is one rubric alone"),
        ({"question": "q", "rubric": RAR}, "half", "--pitfalls"),
    ],
)
def test_rows_that_cannot_be_perturbed_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: Json, kind: str, said: str
) -> None:
    file = _written(tmp_path / "in.jsonl", row)
    assert main(["perturb", str(file), "--kind", kind, "--out", str(tmp_path / "a.jsonl")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "a.jsonl").exists()


def _model(server_url: str) -> list[str]:
    return ["--kind", "paraphrased", "--model-url", server_url, "--model", "m", "--quiet"]


def test_a_model_paraphrases_and_what_it_cannot_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(asked: Asked) -> str:
        text = asked.last.rpartition("Criterion: ")[2]
        return text if "surgery" in text else f'"It is so that the response: {text}"'

    file, out = _written(tmp_path / "in.jsonl", verl(CRITERIA), verl(CRITERIA)), tmp_path / "out.jsonl"
    with chat_server(answer) as server:
        assert main(["perturb", str(file), "--out", str(out), *_model(server.url), "--json", str(out) + ".json"]) == 1
        assert len(server.asked) == 5  # two texts, and one three times
    said = capsys.readouterr()
    assert "2 for which the model gave no other words" in said.out and "5 requests" in said.err
    first, _ = _read(out)
    assert first["perturbation"]["not_paraphrased"] == [1] and first["perturbation"]["text"] == [0, 2]
    texts = [one["criterion"] for one in first["reward_model"]["rubrics"]]
    assert texts == ["It is so that the response: Names the tea.", CRITERIA[1]["criterion"], texts[2]]
    assert json.loads((tmp_path / "out.jsonl.json").read_text())["spending"]["requests"] == 5


def test_a_killed_command_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    """Killed after 6 answers of 20: the second run asks the 14 others, those that were under way included."""
    criteria = [{"criterion": f"Names city {n}.", "points": 1, "tags": []} for n in range(20)]
    file, out = _written(tmp_path / "in.jsonl", verl(criteria)), tmp_path / "out.jsonl"
    enough, killed = threading.Event(), threading.Event()

    def answer(asked: Asked) -> str:
        if asked.number >= 6 and not killed.is_set():
            enough.set()
            killed.wait(HUNG_S)
        return "Says in other words: " + asked.last.rpartition("Criterion: ")[2]

    with chat_server(answer) as server:
        command = ["perturb", str(file), "--out", str(out), *_model(server.url), "--model-concurrency", "1"]
        with subprocess.Popen([sys.executable, "-m", "trainer_client", *command], cwd=ROOT) as child:
            assert enough.wait(HUNG_S)
            child.send_signal(signal.SIGKILL)
        killed.set()
        assert not out.exists()
        assert main(command) == 0
        asked = [one.last for one in server.asked]
    assert len(set(asked)) == 20 and len(asked) == 21  # the one that was under way is asked again
    assert len(_rubrics(out)[0]) == 20


def test_an_endpoint_that_refuses_ends_the_command_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = _written(tmp_path / "in.jsonl", verl(CRITERIA)), tmp_path / "out.jsonl"
    with chat_server(lambda asked: Raw(401, {"error": {"message": "no key"}})) as server:
        assert main(["perturb", str(file), "--out", str(out), *_model(server.url)]) == 2
    said = capsys.readouterr().err
    assert "no key" in said and "goes on from here" in said and not out.exists()
