import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Service, answered, expected_score, problem, scores, served
from testkit.waiting import HUNG_S
from tests.trainer_client.cli.scoring import results_in, scored_by
from trainer_client.cli.main import main

Json = dict[str, Any]


def test_every_response_gets_a_line_and_a_person_a_table(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scored_by(file, Service()) == 0
    lines = results_in(file.with_name("in.results.jsonl"))
    assert [(line["index"], line["id"]) for line in lines] == [(n, str(n)) for n in range(50)]
    assert [line["score"] for line in lines] == [expected_score(f"answer {n}") for n in range(50)]
    assert {line["judge"] for line in lines} == {FINGERPRINT}
    said = capsys.readouterr().out
    mean = sum(expected_score(f"answer {n}") for n in range(50)) / 50
    assert "the judge made 0 judgements and 0 were known; 0 of its tokens, 0 of them computed before; 0 retries" in said
    assert "Is kind." in said and f"50 responses; 50 scored; mean score {mean:.3f} (as HealthBench" in said
    assert f"clipped to 0..1: {mean:.3f}); judge fake judge-1" in said


def test_options_reach_the_service(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "rbd_1")
    options = "--limit 7 --batch-items 3 --aggregation min --soft --threshold 0.25 --min-coverage 0.5 --deadline 60"
    options += " --unjudged lower --reasoning <plan>...</plan> --quiet"
    service = Service()
    assert scored_by(file, service, *options.split(), "--token-env", "MY_KEY") == 0
    assert sorted(len(body["items"]) for body in service.bodies) == [1, 3, 3]
    assert {request.headers["authorization"] for request in service.requests} == {"Bearer rbd_1"}
    body = service.bodies[0]
    assert (body["aggregation"], body["soft"], body["threshold"], body["min_coverage"]) == ("min", True, 0.25, 0.5)
    assert body["unjudged"] == "lower"
    assert body["reasoning"] == {"open": "<plan>", "close": "</plan>"}
    assert 50_000 < body["deadline_ms"] < 60_000


def test_an_aggregation_with_options_reaches_the_service(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = Service()
    chosen = {"name": "rar_explicit", "category_weights": {"pitfall": 0.8}}
    assert scored_by(file, service, "--quiet", "--limit", "1", "--aggregation", json.dumps(chosen)) == 0
    weights = {"essential": 1.0, "important": 0.7, "optional": 0.3, "pitfall": 0.8}
    assert service.bodies[0]["aggregation"] == {"name": "rar_explicit", "category_weights": weights}
    with pytest.raises(SystemExit) as ended:
        scored_by(file, service, "--aggregation", '{"name": "caps", "capp": 0.5}')
    assert ended.value.code == 2
    assert "did you mean `cap`?" in capsys.readouterr().err


def test_the_mean_is_clipped_after_averaging_where_healthbench_says_so(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        for result in whole["results"]:
            result["score"] = -23 / 7 if result["id"] != "0" else 1.0
        return answered(whole)

    options = ("--quiet", "--limit", "2", "--force")
    assert scored_by(file, Service(answer), *options) == 0
    assert "mean score -1.143 (as HealthBench reports it, clipped to 0..1: 0.000); judge" in capsys.readouterr().out
    assert scored_by(file, Service(answer), *options, "--aggregation", "weighted_abs") == 0
    assert "mean score -1.143; judge" in capsys.readouterr().out


def test_the_norm_of_a_rating_reaches_the_service(file: Path) -> None:
    service = Service()
    service.info = {"modes": ["verdict", "likert"]}
    options = ("--quiet", "--limit", "1", "--mode", "likert")
    assert scored_by(file, service, *options, "--rating-norm", "r/10") == 1, "the scripted judge gives no rating"
    assert service.bodies[0]["rating_norm"] == "r/10"
    assert scored_by(file, service, *options, "--resume") == 2, "a result of another norm is not continued"


def test_one_document_for_all_criteria_is_asked_for_and_is_not_continued_one_by_one(file: Path) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["judge"]["fingerprint"] = body.get("batch") or "one"
        return answered(whole)

    service = Service(answer)
    service.info = {"modes": ["verdict", "reasoned"]}
    options = ("--quiet", "--limit", "1", "--mode", "reasoned")
    assert scored_by(file, service, *options, "--batch", "all") == 0
    assert service.bodies[0]["batch"] == "all"
    assert scored_by(file, service, "--quiet", "--mode", "reasoned", "--resume") == 2, "that is another judge"


def test_requests_fit_what_the_service_takes(file: Path) -> None:
    service = Service(max_items=5)
    assert scored_by(file, service, "--quiet") == 0
    assert max(len(body["items"]) for body in service.bodies) == 5


def test_reasoning_that_was_judged_is_a_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        for code, result in zip(("reasoning_kept", "reasoning_unfinished"), whole["results"], strict=False):
            result["warnings"] = [{"code": code, "detail": ""}]
        return answered(whole)

    assert scored_by(file, Service(answer), "--batch-items", "10", "--quiet") == 0
    said = capsys.readouterr().err
    assert "5 of 50 responses begin with reasoning" in said and "--reasoning remove" in said
    assert "5 of 50 responses have reasoning without an end" in said
    assert results_in(file.with_name("in.results.jsonl"))[0]["warnings"][0]["code"] == "reasoning_kept"


@pytest.mark.parametrize("how", ["drop", "<think>", "...</think>", "a...b...c"])
def test_a_wrong_choice_of_reasoning_is_refused(how: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scored_by(file, Service(), "--reasoning", how)
    assert "OPEN...CLOSE" in capsys.readouterr().err


def test_what_has_no_score_is_counted_with_its_reason(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(body: Json) -> httpx.Response:
        if body["items"][0]["id"] == "0":
            return problem("judge_mismatch", 409)
        whole = scores(body)
        whole["results"][0].update(score=None, status="partial", coverage=0.5)
        whole["results"][0]["criteria"][0].update(status="timeout", met=None, p=None)
        return answered(whole)

    assert scored_by(file, Service(answer), "--batch-items", "10", "--quiet") == 1
    said = capsys.readouterr()
    assert "50 responses; 36 scored" in said.out
    assert "4 without a score (4 timeout); 10 failed (10 judge_mismatch)" in said.out
    assert said.err == "rubricd: the first judge_mismatch: about judge_mismatch (request req-9)\n"
    lines = results_in(file.with_name("in.results.jsonl"))
    error = {"code": "judge_mismatch", "message": "about judge_mismatch (request req-9)"}
    line = {name: value for name, value in lines[3].items() if name not in ("digest", "item")}
    assert line == {"index": 3, "id": "3", "error": error, "attempts": 1, "metadata": None}
    assert lines[3]["item"]["response"] == "answer 3"
    assert lines[10]["score"] is None and lines[11]["score"] is not None
    assert [line["index"] for line in lines] == list(range(50))


def test_different_judges_are_warned_of(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["judge"]["fingerprint"] = f"judge-{body['items'][0]['id']}"
        return answered(whole)

    assert scored_by(file, Service(answer), "--batch-items", "25", "--quiet") == 0
    assert "WARNING: 2 different judges" in capsys.readouterr().out


def test_results_are_not_overwritten_unasked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.with_name("mine.jsonl")
    out.write_text("precious\n")
    service = Service()
    assert scored_by(file, service, "--out", str(out)) == 2
    assert out.read_text() == "precious\n" and service.requests == []
    assert "--force" in capsys.readouterr().err
    assert scored_by(file, service, "--out", str(out), "--force", "--quiet") == 0
    assert len(results_in(out)) == 50


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threshold", "2"], "--threshold: Input should be less than or equal to 1"),
        (["--votes", "3"], "`votes` has a meaning in mode `reasoned` only"),
        (["--response-column", "mine"], "in.jsonl, line 1: no `mine`"),
    ],
)
def test_misuse_is_told_before_anything_is_sent(
    file: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    service = Service()
    assert scored_by(file, service, *options) == 2
    assert said in capsys.readouterr().err
    assert service.requests == [] and not file.with_name("in.results.jsonl").exists()


def test_a_broken_line_stops_everything_before_anything_is_sent(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text() + "{broken\n")
    service = Service()
    assert scored_by(file, service) == 2
    assert "line 51: not JSON" in capsys.readouterr().err and service.requests == []
    assert scored_by(file, service, "--limit", "50", "--quiet") == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "holds no items"), ('{"prompt": "p", "response": "r"}', "item 0 (the first is 0): no `rub")],
)
def test_a_file_that_cannot_be_scored(file: Path, capsys: pytest.CaptureFixture[str], content: str, said: str) -> None:
    file.write_text(content)
    assert scored_by(file, Service()) == 2
    assert said in capsys.readouterr().err


class Closed(Service):
    """Lets nobody in, for one reason."""

    def __init__(self, code: str, status: int, retry_after: str | None = None) -> None:
        super().__init__()
        self.refusal = problem(code, status, retry_after=retry_after)

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.refusal


def test_the_key_comes_from_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_KEY", "rbd_7")
    service = Service()
    assert scored_by(file, service, "--quiet") == 0
    assert {request.headers["authorization"] for request in service.requests} == {"Bearer rbd_7"}


@pytest.mark.parametrize("key", [None, "rbd_7"])
def test_a_wrong_key_or_address_is_told_before_any_work(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.delenv("RUBRICD_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("RUBRICD_KEY", key)
    assert scored_by(file, Closed("unauthorized", 401), "--quiet") == 2
    said = capsys.readouterr().err
    held = "is not set, so no key was sent" if key is None else "holds the key that was sent"
    assert f"about unauthorized (request req-9) (the environment variable RUBRICD_KEY {held}) [unauthorized]" in said
    assert "rbd_7" not in said
    assert main(["score", str(file), "--url", "judge:8000", "--quiet"]) == 2
    assert "http://host:port" in capsys.readouterr().err
    assert not file.with_name("in.results.jsonl").exists()


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            ("forbidden", 403),
            "about forbidden (request req-9) (the key is known; the operator of the service decides what it may do)",
        ),
        # More than the client waits for by itself.
        (("quota_exceeded", 429, "90"), "about quota_exceeded (request req-9) (come back in 90 s)"),
        (("unavailable", 503, "120"), "about unavailable (request req-9) (come back in 120 s)"),
    ],
)
def test_who_is_not_served_learns_what_to_do(
    file: Path, capsys: pytest.CaptureFixture[str], refusal: Any, said: str
) -> None:
    assert scored_by(file, Closed(*refusal), "--quiet") == 2
    assert f"{said} [{refusal[0]}]" in capsys.readouterr().err
    told = problem(refusal[0], refusal[1], retry_after=refusal[2] if len(refusal) > 2 else None)
    assert scored_by(file, Service(lambda body: told), "--quiet") == 1
    later = "" if refusal[0] == "forbidden" else "; --resume scores the rest"
    assert capsys.readouterr().err == f"rubricd: the first {refusal[0]}: {said}{later}\n"


def test_without_rich_and_in_a_pipe_the_table_is_plain_text(file: Path) -> None:
    code = (
        "import sys; sys.modules.update({'rich': None, 'rich.console': None})\n"
        "from trainer_client.cli.main import main; sys.exit(main())"
    )
    with served(Service()) as url:
        command = [sys.executable, "-c", code, "score", str(file), "--url", url, "--limit", "3"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert "response 0" in done.stdout and "P(met)" in done.stdout and "\x1b" not in done.stdout


def test_a_summary_as_json_has_what_was_scored(file: Path, tmp_path: Path) -> None:
    assert scored_by(file, Service(), "--quiet", "--json", str(tmp_path / "s.json")) == 0
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["responses"], summary["scored"], summary["failed"]) == (50, 50, {})
    assert summary["judges"][0]["model"] == "fake" and 0 <= summary["mean_score"] <= 1


def test_a_summary_of_nothing_scored_has_no_mean(file: Path, tmp_path: Path) -> None:
    service = Service(lambda body: problem("overloaded", 503, retry_after="0"))
    assert scored_by(file, service, "--quiet", "--deadline", "0.2", "--json", str(tmp_path / "s.json")) == 1
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["mean_score"] is None and summary["scored"] == 0 and sum(summary["failed"].values()) == 50


def test_numbers_that_make_no_sense_are_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (("--batch-items", "0"), ("--deadline", "nan"), ("--limit", "-1"), ("--mode", "guess")):
        with pytest.raises(SystemExit) as caught:
            main(["score", str(file), option, value])
        assert caught.value.code == 2
    capsys.readouterr()
