"""`rubricd audit` reads a file, asks the judge and says what it found, by its exit code too."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Service, answered, problem, scores, served
from tests.trainer_client.audit import judges
from trainer_client import wire
from trainer_client.audit.askings import Asking
from trainer_client.cli.main import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{one.model_dump_json(exclude_none=True)}\n" for one in judges.items()))
    return path


def _service(judge: judges.Judge) -> Service:
    def answer(body: dict[str, Any]) -> httpx.Response:
        whole = scores(body)
        for item, result in zip(body["items"], whole["results"], strict=True):
            asking = Asking(wire.Item.model_validate(item))
            for place, (criterion, one) in enumerate(zip(item["rubric"]["criteria"], result["criteria"], strict=True)):
                p = judge(asking, place, criterion["text"])
                one.update(p=p, p_raw=p, met=p >= 0.5)
        return answered(whole)

    return Service(answer, max_items=7)


def _audit(file: Path, service: Service, *options: str) -> int:
    with served(service) as url:
        return main(["audit", str(file), "--url", url, *options])


def test_a_judge_without_a_fault_passes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = _service(judges.right)
    assert _audit(file, service, "--json", str(file.with_name("found.json"))) == 0
    assert max(len(body["items"]) for body in service.bodies) == 7
    said = capsys.readouterr().out
    assert "repeatability    pass      0.000 (no spread seen) <= 0.01  size of the change of P(met), mean" in said
    assert f"rubricd: pass; report {file.with_name('rows.audit') / 'report.html'}" in said
    assert json.loads(file.with_name("found.json").read_text())["verdict"] == "pass"
    assert "Audit of fake" in (file.with_name("rows.audit") / "report.html").read_text()


def test_a_check_that_fails_is_the_exit_code_and_the_second_run_asks_nothing(file: Path) -> None:
    assert _audit(file, _service(judges.agreeable), "--rows", "12") == 1
    service = _service(judges.agreeable)
    assert _audit(file, service, "--rows", "12") == 1
    assert service.bodies == []


def test_a_second_policy_with_labels_is_compared(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    labelled = [{"item": row, "met": {str(k): k < 4 for k in range(6)}} for row in rows]
    words = " ".join(f"Take w{n}x{k}." for n in range(24) for k in range(1, 6))
    met = {str(k): k >= 1 for k in range(6)}
    other = [{"item": {**row, "response": words}, "met": met} for row in rows]
    for path, lines in ((file, labelled), (file.with_name("other.jsonl"), other)):
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert _audit(file, _service(judges.right), "--against", str(file.with_name("other.jsonl"))) == 0
    assert "self-preference  pass      0.000 (no spread seen)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, said",
    [
        (
            ["--mode", "reasoned"],
            "offers the modes verdict and the layouts rubricd, not reasoned in rubricd",
        ),
        (["--out", "FILE"], "is a file; name a folder with --out"),
    ],
)
def test_a_mistake_is_one_sentence(
    file: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = [one.replace("FILE", str(file)) for one in options]
    assert _audit(file, _service(judges.right), *changed) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "row, said",
    [
        ({"prompt": "a", "response": "b"}, "no `rubric`; mode `verdict` needs one"),
        ({"prompt": "a", "response": "", "rubric": [{"text": "c", "points": 1}]}, "1 an empty response"),
    ],
)
def test_a_file_without_rows_to_audit_is_refused_before_anything_is_asked(
    tmp_path: Path, row: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    service = _service(judges.right)
    assert _audit(path, service) == 2
    assert said in capsys.readouterr().err and service.requests == []
    assert not path.with_name("rows.audit").exists()


def test_a_judge_that_refuses_everything_is_an_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _audit(file, Service(lambda body: problem("invalid_request", 422))) == 2
    assert "about invalid_request" in capsys.readouterr().err


def test_all_criteria_in_one_document_are_audited_as_the_judge_that_they_are(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own fingerprint, and both sides of each pair under the same criteria, on which a verdict depends."""
    service = _service(judges.right)
    service.info = {"judges": [*map(_reasoned, (None, "all"))], "modes": ["reasoned"]}
    assert _audit(file, service, "--mode", "reasoned", "--batch", "all") == 0
    assert {(body["batch"], body["expect_judge"]) for body in service.bodies} == {("all", FINGERPRINT)}
    own = {one.prompt: one.response for one in judges.items()}
    asked = [
        (item["prompt"], item["response"], tuple(one["id"] for one in item["rubric"]["criteria"]))
        for body in service.bodies
        for item in body["items"]
    ]
    empty = [(prompt, ids) for prompt, response, ids in asked if response == ""]
    assert len(empty) == len(own) and {len(ids) for _, ids in empty} == {5}, "a fault is not wanted of an empty answer"
    assert all((prompt, own[prompt], ids) in asked for prompt, ids in empty)
    assert "all criteria in one document" in (file.with_name("rows.audit") / "report.html").read_text()
    capsys.readouterr()
    assert _audit(file, service, "--batch", "all") == 2
    assert "--batch is about --mode reasoned" in capsys.readouterr().err


def test_one_document_for_each_criterion_is_not_taken_for_one_for_all(file: Path) -> None:
    """Whatever the order is in which a service lists its judges."""
    service = _service(judges.right)
    service.info = {"judges": [*map(_reasoned, ("all", None))], "modes": ["reasoned"]}
    assert _audit(file, service, "--mode", "reasoned") == 0
    assert {(body.get("batch"), body["expect_judge"]) for body in service.bodies} == {(None, FINGERPRINT)}


def _reasoned(batch: str | None) -> dict[str, Any]:
    names = {"model": "fake", "revision": "r", "engine": "fake", "mode": "reasoned", "layout": "rubricd"}
    return {**names, "batch": batch, "fingerprint": FINGERPRINT}
