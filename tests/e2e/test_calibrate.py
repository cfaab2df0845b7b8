"""A judge is calibrated on labels, for real: the command asks it, writes the file, and a service serves that."""

import json
from pathlib import Path

import httpx
import pytest

from miniature.world.cases import evaluation
from testkit.processes import Running, service
from testkit.waiting import HUNG_S
from trainer_client import wire
from trainer_client.cli.main import main

CASES = 60


def test_a_calibration_is_made_loaded_and_another_judge(bundled: Running, tmp_path: Path) -> None:
    labels, out = tmp_path / "labels.jsonl", tmp_path / "calibration.json"
    cases = [evaluation(77, index) for index in range(CASES)]
    labels.write_text("".join(f"{json.dumps({'item': case.wire, 'met': case.truth})}\n" for case in cases))
    assert main(["calibrate", str(labels), "--url", bundled.url, "--out", str(out), "--quiet"]) == 0
    [made] = wire.read_calibrations(out.read_bytes())
    before = httpx.get(f"{bundled.url}/v1/judge", timeout=HUNG_S).json()
    assert made.judge == before["fingerprint"]
    for rates in (made.certificate.positive, made.certificate.negative):
        assert rates.informedness is not None
        assert rates.informedness.low > 0.8  # what it was trained for
    item = {**cases[0].wire, "id": "first"}
    body = {"items": [item], "expect_judge": before["fingerprint"]}
    plain = httpx.post(f"{bundled.url}/v1/score", json=body, timeout=HUNG_S).json()
    with service("--calibration", str(out)) as running:
        after = httpx.get(f"{running.url}/v1/judge", timeout=HUNG_S).json()
        refused = httpx.post(f"{running.url}/v1/score", json=body, timeout=HUNG_S)
        answer = httpx.post(f"{running.url}/v1/score", json={"items": [item], "debias": True}, timeout=HUNG_S).json()
    assert refused.status_code == 409
    assert after["fingerprint"] == answer["judge"]["fingerprint"] != before["fingerprint"]
    assert after["calibration"] == answer["judge"]["calibration"] == made.name
    assert after["calibrations"][0]["certificate"] == made.certificate.model_dump(mode="json")
    raw = [one["p_raw"] for one in plain["results"][0]["criteria"]]
    assert [one["p_raw"] for one in answer["results"][0]["criteria"]] == pytest.approx(raw, abs=1e-6)
    assert answer["results"][0]["score"] is not None
