"""The service's ledger: every verdict that was answered, off the request's path, or counted as lost."""

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.verdict_ledger import VerdictLedger
from service.clock import ManualClock
from service.errors import ConfigurationError
from service.rubrics.judgement import Judgement
from testkit.apps import fake_settings, item, serving
from testkit.teams_file import auth, team, write
from testkit.waiting import HUNG_S
from trainer_client.ledger import checking, entries
from trainer_client.ledger.writing import LedgerWriter


def lines_in(folder: Path) -> list[dict[str, Any]]:
    return [line for file in checking.files_of([folder]) for line in checking.entries(file)]


async def counted(client: httpx.AsyncClient, outcome: str, verdicts: int) -> str:
    """The metrics once so many were counted."""
    async with asyncio.timeout(HUNG_S):
        while f'rubricd_ledger_verdicts_total{{outcome="{outcome}"}} {verdicts}.0' not in (
            page := (await client.get("/metrics")).text
        ):
            await asyncio.sleep(0.001)
    return page


async def test_every_verdict_has_a_line_and_no_line_has_a_text(tmp_path: Path) -> None:
    teams = write(tmp_path / "teams.json", team("a"))
    settings = fake_settings(teams=teams, ledger=tmp_path / "ledger")
    rule = {"text": "Says rest.", "points": 1, "verifier": {"rule": "contains", "text": "rest"}}
    rubric = [{"text": "Says to rest.", "points": 5}, {"text": "Says to run.", "points": -3}, rule]
    body = {"items": [{"prompt": "My knee hurts.", "responses": ["Rest it.", "Run on."], "rubric": rubric}]}
    async with serving(settings=settings) as client:
        page = (await client.get("/metrics")).text
        assert 'rubricd_ledger_verdicts_total{outcome="lost"} 0.0' in page
        first = await client.post("/v1/score", json=body, headers=auth("a"))
        lines = {"accept": "application/x-ndjson", **auth("a")}
        second = await client.post("/v1/score", json=body, headers=lines)
        assert (first.status_code, second.status_code) == (200, 200)
    found = lines_in(tmp_path / "ledger")
    assert checking.check([tmp_path / "ledger"]).problems == []
    answered = [one for result in first.json()["results"] for one in result["criteria"]]
    assert [(one["met"], one["p"], one["p_raw"], one["status"], one["source"]) for one in found[:6]] == [
        (one["met"], one["p"], one["p_raw"], one["status"], one["source"]) for one in answered
    ]
    assert Counter(one["source"] for one in found) == {"judge": 4, "cache": 4, "rule": 4}
    assert {one["team"] for one in found} == {"a"}
    assert {one["judge"] for one in found} == {first.json()["judge"]["fingerprint"]}
    assert {one["prompt"] for one in found} == {entries.turns_digest("My knee hurts.")}
    assert {one["response"] for one in found} == {entries.digest("Rest it."), entries.digest("Run on.")}
    assert found[0]["criterion"] == entries.digest("Says to rest.")
    text = "".join(path.read_text() for path in checking.files_of([tmp_path / "ledger"]))
    assert not any(word in text for word in ("knee", "Rest", "Says", "Run on", "rbd_"))


async def test_a_graded_criterion_has_its_level(tmp_path: Path) -> None:
    levels = [{"text": "none", "value": 0}, {"text": "some", "value": 0.5}, {"text": "all", "value": 1}]
    rubric = [{"text": "Says when.", "points": 4, "levels": levels}, {"text": "Says to run.", "points": -3}]
    async with serving(settings=fake_settings(ledger=tmp_path / "ledger")) as client:
        answer = await client.post("/v1/score", json={"items": [item(rubric=rubric)]})
    graded, plain = lines_in(tmp_path / "ledger")
    assert graded["level"] == answer.json()["results"][0]["criteria"][0]["level"]
    assert not {"level", "extracted"} & plain.keys()
    value = entries.of_criterion("Gives it.", Judgement("ok", "judge", met=True, extracted="42"))
    assert value["extracted"] == entries.digest("42")


async def test_a_criterion_without_a_verdict_and_a_rating_are_what_they_are(tmp_path: Path) -> None:
    async with serving(settings=fake_settings(ledger=tmp_path)) as client:
        broken = {"text": "a", "points": 1, "verifier": {"rule": "regex", "pattern": "("}}
        await client.post("/v1/score", json={"items": [item(rubric=[broken])]})
        await client.post("/v1/score", json={"items": [item()], "mode": "implicit"})
        await counted(client, "written", 2)
    failed, rating = lines_in(tmp_path)
    assert (failed["status"], failed["met"], failed["p"]) == ("verifier_error", None, None)
    assert (rating["mode"], rating["criterion"], rating["met"]) == ("implicit", None, None)


async def test_a_disk_that_fails_costs_no_request_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*about: Any) -> int:
        raise OSError(28, "No space left on device")

    async with serving(settings=fake_settings(ledger=tmp_path)) as client:
        with monkeypatch.context() as patched:
            patched.setattr("trainer_client.ledger.writing.LedgerWriter.write", full)
            assert (await client.post("/v1/score", json={"items": [item()]})).status_code == 200
            await counted(client, "lost", 2)
        assert (await client.post("/v1/score", json={"items": [item()]})).status_code == 200
        await counted(client, "written", 2)
    assert len(lines_in(tmp_path)) == 2


def test_a_bug_costs_the_verdicts_of_one_answer_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Scored:
        judgements = (None,) * 4
        criteria = ()
        rating = None

    write, faults, counts = LedgerWriter.write, [KeyError("rest"), ValueError("rest")], Counter[str]()

    def broken(writer: LedgerWriter, entries: Any, now_s: float) -> int:
        if faults:
            raise faults.pop()
        return write(writer, [{"n": 1}] * 4, now_s)

    monkeypatch.setattr(LedgerWriter, "write", broken)
    ledger = VerdictLedger(tmp_path, 100_000, ManualClock(), lambda outcome, n: counts.update({outcome: n}))
    ledger.start()
    for _ in range(3):
        ledger.record("a", "judge", "verdict", [], [Scored()])  # type: ignore[list-item]
    ledger.stop()
    assert counts == {"lost": 8, "written": 4}
    assert [line.getMessage() for line in caplog.records] == [
        f"the ledger in {tmp_path} cannot be written (ValueError) and lacks verdicts: make room there, or correct its "
        "rights"
    ]


def test_what_does_not_fit_the_queue_is_lost_and_counted_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, counts = threading.Event(), Counter[str]()
    monkeypatch.setattr("service.api.verdict_ledger._MOST_QUEUED", 10)

    class Scored:
        judgements = (None,) * 4
        criteria = ()
        rating = None

    ledger = VerdictLedger(tmp_path, 100_000, ManualClock(), lambda outcome, n: counts.update({outcome: n}))

    def slow(writer: LedgerWriter, entries: Any, now_s: float) -> int:
        held.wait(HUNG_S)
        return 4

    monkeypatch.setattr(LedgerWriter, "write", slow)
    ledger.start()
    for _ in range(5):
        ledger.record("a", "judge", "verdict", [], [Scored()])  # type: ignore[list-item]
    assert counts == {"lost": 12}  # two of them fit
    held.set()
    ledger.stop()
    assert counts == {"lost": 12, "written": 8}
    ledger.record("a", "judge", "verdict", [], [Scored()])  # type: ignore[list-item]
    assert counts["lost"] == 16


async def test_a_restart_follows_the_files_that_are_there(tmp_path: Path) -> None:
    for _ in range(2):
        async with serving(settings=fake_settings(ledger=tmp_path)) as client:
            await client.post("/v1/score", json={"items": [item()]})
    report = checking.check([tmp_path])
    assert (report.files, report.entries, report.problems) == (2, 4, [])
    heads = [json.loads(path.read_bytes().splitlines()[0]) for path in checking.files_of([tmp_path])]
    assert sum(head["previous"] is None for head in heads) == 1


async def test_a_folder_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="`ledger` is"):
        async with serving(settings=fake_settings(ledger=tmp_path / "file" / "ledger")):
            pass
