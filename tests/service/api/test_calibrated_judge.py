"""A calibrated judge, from the file to the answer."""

from pathlib import Path

import httpx
import pytest

from service.app import lifecycle_of
from service.engine.fake import FakeEngine
from testkit.apps import CANARIES, app_of, client_of, fake_settings, item, serving
from testkit.calibrations import calibration, line, sign_rates
from trainer_client import wire

HALVED = line(0.5, 0.25)


async def judge_of(client: httpx.AsyncClient) -> wire.JudgeInfo:
    return wire.JudgeInfo.model_validate_json((await client.get("/v1/judge")).content)


async def score(client: httpx.AsyncClient, *items: object, **options: object) -> wire.ScoreResponse:
    answer = await client.post("/v1/score", json={"items": items, **options})
    assert answer.status_code == 200, answer.text
    return wire.ScoreResponse.model_validate_json(answer.content)


async def written(folder: Path, *curves: wire.CalibrationCurve, **changes: object) -> Path:
    """A calibration file for the fake judge of `serving`."""
    async with serving() as client:
        judge = (await judge_of(client)).judges[0]
    file = folder / "calibration.json"
    made = calibration(judge.fingerprint, *curves, prompt=judge.prompt, **changes)
    file.write_text(wire.write_calibrations([made]))
    return file


async def test_p_is_calibrated_beside_p_raw_and_decides(tmp_path: Path) -> None:
    file = await written(tmp_path, line(0.5, 0.25, sign="negative"), line(1.0, 20.0))
    async with serving() as client:
        plain = (await score(client, item())).results[0].criteria
    async with serving(settings=fake_settings(calibration=file)) as client:
        answer = await score(client, item())
        strict = await score(client, item(), threshold=plain[1].p)
    wanted, fault = answer.results[0].criteria
    assert [wanted.p_raw, fault.p_raw] == [one.p for one in plain] == [one.p_raw for one in plain]
    assert wanted.p is not None and wanted.p_raw is not None and fault.p is not None and fault.p_raw is not None
    assert wanted.p > 0.999 and wanted.met
    odds = (fault.p_raw / (1 - fault.p_raw)) ** 0.5 * 2.718281828459045**0.25
    assert fault.p == pytest.approx(odds / (1 + odds))
    assert fault.met is (fault.p >= 0.5)
    [named] = wire.read_calibrations(file.read_bytes())
    assert answer.judge.calibration == named.name
    assert strict.results[0].criteria[1].met is (fault.p >= (plain[1].p or 0))


async def test_a_job_that_names_the_judge_without_its_calibration_gets_409(tmp_path: Path) -> None:
    file = await written(tmp_path, HALVED)
    async with serving() as client:
        before = (await judge_of(client)).fingerprint
    async with serving(settings=fake_settings(calibration=file)) as client:
        info = await judge_of(client)
        refused = await client.post("/v1/score", json={"items": [item()], "expect_judge": before})
        served = await client.post("/v1/score", json={"items": [item()], "expect_judge": info.fingerprint})
    assert (refused.status_code, served.status_code) == (409, 200)
    assert info.fingerprint in refused.json()["detail"]
    assert info.fingerprint != before == info.judges[0].uncalibrated


async def test_the_judge_is_described_with_its_calibration_and_certificate(tmp_path: Path) -> None:
    file = await written(tmp_path, HALVED)
    [made] = wire.read_calibrations(file.read_bytes())
    async with serving(settings=fake_settings(calibration=file)) as client:
        info = await judge_of(client)
    assert info.calibration == made.name
    assert info.calibrations == [made]
    assert [one.calibration for one in info.judges] == [made.name] + [None] * (len(info.judges) - 1)
    async with serving() as client:
        info = await judge_of(client)
    assert (info.calibration, info.calibrations) == (None, [])


async def test_a_calibration_of_another_judge_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(wire.write_calibrations([calibration("0123456789abcdef", HALVED)]))
    async with serving(settings=fake_settings(calibration=file)) as client:
        assert lifecycle_of(app_of(client)).state == "failed"
        assert (await client.get("/readyz")).status_code == 503


@pytest.mark.parametrize(("of", "text", "queries"), [("criterion", "N/A", 2 * 3), ("response", "", 2 * 2 + 2)])
async def test_a_prior_is_judged_once_and_kept(tmp_path: Path, of: str, text: str, queries: int) -> None:
    """Two criteria on two responses: one prior a response, or one a criterion."""
    prior = {"of": of, "text": text}
    file = await written(tmp_path, line(1.0, 0.0, 1.0), prior=prior, method="contextual")
    asked = item(responses=["Rest it.", "Run."])
    del asked["response"]
    content_free = [
        item(response=response, rubric=[{"text": text or one["text"], "points": 1}])
        for response in (["Rest it.", "Run."] if of == "criterion" else [""] * 2)
        for one in item()["rubric"]
    ]
    async with serving() as client:
        raw = await score(client, *content_free)
    priors = [result.criteria[0].p for result in raw.results]
    if of == "response":
        priors = priors[:2] * 2
    engine = FakeEngine()
    async with serving(engine, settings=fake_settings(calibration=file)) as client:
        answer = await score(client, asked)
        again = await score(client, asked)
    assert engine.prompts == CANARIES + queries
    assert (answer.usage.judgements, again.usage.cache_hits) == (queries, queries)
    criteria = [one for result in answer.results for one in result.criteria]
    for one, bias in zip(criteria, priors, strict=True):
        assert one.p is not None and one.p_raw is not None and bias is not None
        odds = one.p_raw / (1 - one.p_raw) / (bias / (1 - bias))
        assert one.p == pytest.approx(odds / (1 + odds))
    assert [one.p for result in again.results for one in result.criteria] == [one.p for one in criteria]


async def test_rules_and_votes_are_not_calibrated(tmp_path: Path) -> None:
    rule = [{"text": "Has rest.", "points": 1, "verifier": {"rule": "contains", "text": "rest"}}]
    async with serving() as client:
        info = await judge_of(client)
    reasoned = next(one.fingerprint for one in info.judges if (one.mode, one.layout) == ("reasoned", "rubricd"))
    file = tmp_path / "calibration.json"
    first = calibration(info.fingerprint, HALVED, prompt=info.judges[0].prompt)
    made = first, calibration(reasoned, HALVED, mode="reasoned")
    file.write_text(wire.write_calibrations(made))
    async with serving(settings=fake_settings(calibration=file)) as client:
        [ruled] = (await score(client, item(rubric=rule))).results[0].criteria
        voted = (await score(client, item(), mode="reasoned", votes=4)).results[0].criteria
        alone = (await score(client, item(), mode="reasoned")).results[0].criteria
    assert (ruled.source, ruled.p, ruled.met) == ("rule", 1.0, True)
    assert [one.p for one in voted] == [one.p_raw for one in voted]
    assert all(one.p != one.p_raw for one in alone if one.p is not None)


async def test_a_score_is_corrected_by_the_certificate(tmp_path: Path) -> None:
    """Of 10 % false positives and 20 % false negatives."""
    file = await written(tmp_path)
    async with serving(settings=fake_settings(calibration=file)) as client:
        plain = (await score(client, item())).results[0]
        found = (await score(client, item(), debias=True)).results[0]
    value = sum(one.points * (bool(one.met) - 0.1) / 0.7 for one in found.criteria) / 5
    assert found.score == pytest.approx(value)
    assert [one.met for one in found.criteria] == [one.met for one in plain.criteria]
    assert found.score_bounds is not None and plain.score is not None
    assert found.score_bounds[0] <= plain.score <= found.score_bounds[1]


WEAK = calibration("any").certificate.model_copy(update={"negative": sign_rates(0.5, 0.4)})


@pytest.mark.parametrize(
    ("changes", "options", "why"),
    [
        (None, {}, "needs a judge with a certificate"),
        ({}, {"threshold": 0.6}, "threshold of 0.5"),
        ({}, {"soft": True}, "without `soft`"),
        ({}, {"aggregation": "min"}, "weighted sum"),
        ({"certificate": WEAK}, {}, "with negative points"),
    ],
)
async def test_what_cannot_be_corrected_is_refused_before_anything_is_judged(
    tmp_path: Path, changes: dict[str, object] | None, options: dict[str, object], why: str
) -> None:
    file = None if changes is None else await written(tmp_path, **changes)
    engine = FakeEngine()
    async with serving(engine, settings=fake_settings(calibration=file)) as client:
        refused = await client.post("/v1/score", json={"items": [item()], "debias": True, **options})
        positive = item(rubric=item()["rubric"][:1])
        other = await client.post("/v1/score", json={"items": [positive], "debias": True})
    assert refused.status_code == 422
    assert why in refused.text
    assert engine.prompts == CANARIES + (other.status_code == 200)
    assert other.status_code == (422 if changes is None else 200)


async def test_nothing_is_calibrated_in_the_app_of_another_file() -> None:
    async with serving() as client, client_of(app_of(client)) as second:
        answer = await score(second, item())
    assert answer.judge.calibration is None
    assert [one.p for one in answer.results[0].criteria] == [one.p_raw for one in answer.results[0].criteria]


async def test_two_askings_are_not_calibrated_and_ask_for_no_prior(tmp_path: Path) -> None:
    prior = {"of": "criterion", "text": "N/A"}
    file = await written(tmp_path, line(1.0, 0.0, 1.0), prior=prior, method="contextual")
    engine = FakeEngine()
    async with serving(engine, settings=fake_settings(calibration=file)) as client:
        answer = await score(client, item(), consistency=2)
    assert engine.prompts == CANARIES + 2 * 2
    criteria = answer.results[0].criteria
    assert [one.p for one in criteria] == [one.p_raw for one in criteria]
