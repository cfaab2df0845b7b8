"""`rubricd rubrics`: what it stores, prints and refuses, in a folder and at a service."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, served
from trainer_client import wire
from trainer_client.cli import rubrics
from trainer_client.cli.main import main
from trainer_client.client import JudgeClient

RUBRIC = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3}]


class Store:
    """The routes of a service's store of rubrics."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def answer(self, request: httpx.Request) -> httpx.Response:
        about = request.url.path.removeprefix("/v1/rubrics").strip("/")
        if request.method == "PUT":
            ref = f"{about}@{wire.version_of(request.content)}"
            created = self.contents.setdefault(ref, request.content) is not request.content
            return httpx.Response(
                200, json={**_version(ref), "digest": wire.rubric_digest(request.content), "created": not created}
            )
        if request.method == "DELETE":
            return httpx.Response(204 if self.contents.pop(about, None) is not None else 404)
        if "@" not in about:
            versions = [_version(ref) for ref in self.contents]
            room = {"stored": len(versions), "stored_bytes": 9, "max_stored": 1000, "max_stored_bytes": 10_000}
            return httpx.Response(200, json={"versions": versions, **room})
        if about not in self.contents:
            problem = {"type": "urn:rubricd:problem:rubric_not_found", "title": "t", "status": 404}
            return httpx.Response(404, json={**problem, "detail": "no such rubric", "request_id": "r", "errors": []})
        return httpx.Response(200, json={**json.loads(self.contents[about]), "ref": about})


def _version(ref: str) -> dict[str, Any]:
    name, _, version = ref.partition("@")
    return {"name": name, "version": version, "ref": ref, "bytes": 9, "stored_at": 0.0}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "knee.json"
    path.write_text(json.dumps(RUBRIC))
    return str(path)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    transport = httpx.MockTransport(store.answer)
    monkeypatch.setattr(rubrics, "_client", lambda args: JudgeClient(args.url, transport=transport))
    return store


def test_a_service_stores_lists_gives_and_removes(
    file: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rubrics", "put", "knee", file]) == 0
    ref = capsys.readouterr().out.strip()
    assert list(store.contents) == [ref]
    assert main(["rubrics", "get", ref]) == 0
    assert wire.Rubric.model_validate_json(capsys.readouterr().out) == wire.Rubric.model_validate(RUBRIC)
    assert main(["rubrics", "get", ref, "--into", str(tmp_path / "folder")]) == 0
    assert (tmp_path / "folder" / f"{ref}.json").read_bytes() == store.contents[ref]
    assert main(["rubrics", "list"]) == 0
    listed = capsys.readouterr().out
    assert f"{ref}          9 bytes  1970-01-01 00:00:00+00:00" in listed
    assert "1 of 1,000 versions" in listed
    assert main(["rubrics", "list", "knee", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"][0]["ref"] == ref
    assert main(["rubrics", "remove", ref]) == 0
    assert main(["rubrics", "get", ref]) == 1
    assert "no such rubric" in capsys.readouterr().err


def test_a_folder_does_the_same_without_a_service(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--folder", str(tmp_path / "rubrics")]
    assert main(["rubrics", "put", "knee", file, *folder]) == 0
    ref = capsys.readouterr().out.strip()
    assert main(["rubrics", "list", *folder]) == 0
    assert capsys.readouterr().out.split() == [ref]
    assert main(["rubrics", "get", ref, *folder]) == 0
    assert wire.Rubric.model_validate_json(capsys.readouterr().out) == wire.Rubric.model_validate(RUBRIC)
    assert main(["rubrics", "remove", ref, *folder]) == 0
    assert main(["rubrics", "get", ref, *folder]) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[", "this is not valid JSON"),
        ("[]", "criteria: List should have at least 1 item"),
        ('[{"text": "a"}]', "criteria.0.points: it is missing; write it"),
        ("[1]", "criteria.0: a criterion is an object like {text, points}"),
        ('{"a": 1}', "a: there is no such field; leave it out"),
        ('{"rubric": [{"text": "a", "points": 1, "pionts": 2}]}', "criteria.0.pionts"),
    ],
)
def test_a_file_without_a_rubric_is_refused_in_a_sentence(
    tmp_path: Path, content: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(content)
    assert main(["rubrics", "put", "knee", str(file), "--folder", str(tmp_path / "rubrics")]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert not (tmp_path / "rubrics").exists()


def test_a_missing_file_and_a_bad_name_are_refused(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rubrics", "put", "knee", str(tmp_path / "none.json")]) == 2
    assert main(["rubrics", "put", "a/b", file]) == 2
    assert main(["rubrics", "get", "knee"]) == 2
    assert "there is no latest one" in capsys.readouterr().err


def test_what_a_pitfall_means_is_written_into_the_rubric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "rar.json", tmp_path / "rubrics"
    file.write_text(json.dumps([*RUBRIC, {"description": "Pitfall Criteria: Runs.", "weight": -1}]))
    put = ["rubrics", "put", "rar", str(file), "--folder", str(folder)]
    assert main(put) == 2 and "`criteria[2]` is a pitfall with negative points" in capsys.readouterr().err
    assert main([*put, "--pitfalls", "met_is_bad"]) == 0
    assert main(["rubrics", "get", capsys.readouterr().out.strip(), "--folder", str(folder)]) == 0
    criteria = json.loads(capsys.readouterr().out)["criteria"]
    assert [one.get("polarity") for one in criteria] == [None, None, "negative"]


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RUBRICD_KEY", "")
    with served(Service()) as url:
        assert main(["rubrics", "list", "--url", url]) == 1
    assert "there is no rubric judge at this address" in capsys.readouterr().err
