"""The doctor's look at each judge of `judges.yaml`: one listing, the start's own words, and a line for each mistake."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.doctor.findings import Finding, report
from service.doctor.judges import check_judges, settings_of_judges
from service.errors import ConfigurationError
from service.judge_preparing import prepare, read_plan
from service.settings import Settings
from service.settings.judges_file import read_judges
from tests.service.judges.rubricd.test_judge import INFO
from tests.trainer_client.wire.test_cascade_plan import plan_document

FILE = """
judges:
  both: {panel: [small, large]}
  small: {engine: fake}
  large: {engine: decisions, decisions_url: "http://user.example/v1", decisions_model: jev, decisions_key_env: JEV_KEY}
  elsewhere: {engine: rubricd, url: "http://judge.example:8000", judge: big, key_env: OTHER_KEY}
  careful: {cascade: [elsewhere, small], plan: PLAN}
  quiet: {shadow: small, of: elsewhere, share: 0.1}
"""


def _plan(first: str) -> dict[str, Any]:
    plan = plan_document()
    for one, fingerprint in zip(plan["judges"], (first, "beef"), strict=True):
        one |= {"fingerprint": fingerprint, "mode": "verdict", "layout": "rubricd", "prompt": None}
    return plan


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("JEV_KEY", "jev-secret")
    monkeypatch.setenv("OTHER_KEY", "other-secret")
    (tmp_path / "judges.yaml").write_text(FILE.replace("PLAN", str(tmp_path / "plan.json")))
    (tmp_path / "plan.json").write_text(json.dumps(_plan("f00d")))

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer other-secret"
        assert request.url.host == "judge.example", "no judge is asked a question"
        return httpx.Response(200, json=INFO)

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: httpx.MockTransport(answer))
    return Settings(judges=tmp_path / "judges.yaml")


def _by_subject(found: list[Finding]) -> dict[str, Finding]:
    assert len({one.subject for one in found}) == len(found)
    return {one.subject: one for one in found}


async def test_each_judge_is_looked_at_in_one_listing(settings: Settings) -> None:
    found = await check_judges(settings)
    subjects = ["Judges", "small: judge", "small: files", "large: judge", "large: files", "both", "elsewhere"]
    assert [one.subject for one in found] == [*subjects, "careful", "quiet"]
    by = _by_subject(found)
    assert "6 judges, of which `both` judges where a request names none" in by["Judges"].text
    assert by["both"].text == "panel of `small`, `large`" and by["quiet"].text == "shadow of `elsewhere`, `small`"
    assert by["large: judge"].text.startswith("jev at http://user.example, which is asked at the start")
    assert by["elsewhere"].text == "m of http://judge.example:8000, fingerprint f00d"
    assert "secret" not in report(found)
    assert [one.engine for one in settings_of_judges(settings)] == ["fake", "decisions"]


async def test_what_the_doctor_refuses_the_start_refuses_in_the_same_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.judges is not None
    file = read_judges(settings.judges)
    (settings.judges.parent / "plan.json").write_text("{}")
    careful = _by_subject(await check_judges(settings))["careful"]
    with pytest.raises(ConfigurationError) as started:
        read_plan("careful", file.judges["careful"])  # type: ignore[arg-type]
    assert careful.level == "error" and careful.text == str(started.value) and "is no plan of a cascade" in careful.text
    monkeypatch.delenv("JEV_KEY")
    monkeypatch.delenv("OTHER_KEY")
    by = _by_subject(await check_judges(settings))
    with pytest.raises(ConfigurationError) as refused:
        prepare(settings, "large", file.judges["large"])  # type: ignore[arg-type]
    assert (
        str(refused.value) == f"judge `large`: {by['large'].text}" and "JEV_KEY, which is not set" in by["large"].text
    )
    assert by["elsewhere"].level == "error" and "OTHER_KEY, which is not set" in by["elsewhere"].text


async def test_a_plan_of_another_judge_is_found_before_an_engine_runs(settings: Settings) -> None:
    assert settings.judges is not None
    well = _by_subject(await check_judges(settings))["careful"]
    assert well.level == "ok" and "whether it is of `small` the start says" in well.text
    (settings.judges.parent / "plan.json").write_text(json.dumps(_plan("0000")))
    careful = _by_subject(await check_judges(settings))["careful"]
    assert careful.level == "error" and "made with judge 0000 as number 1, and `elsewhere` is f00d" in careful.text
    (settings.judges.parent / "plan.json").write_text(json.dumps({**_plan("f00d"), "format": "x"}))
    assert _by_subject(await check_judges(settings))["careful"].level == "error"


async def test_another_service_that_is_not_there_is_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: httpx.MockTransport(away))
    elsewhere = _by_subject(await check_judges(settings))["elsewhere"]
    assert elsewhere.level == "error" and "http://judge.example:8000 does not answer (ConnectError)" in elsewhere.text
    assert elsewhere.remedy


async def test_each_mistake_of_the_file_is_a_finding_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "judges.yaml"
    file.write_text("judges:\n  a: {engin: fake}\n  b: {engine: fake, lable: x}\nrequired: [c]\n")
    found = await check_judges(Settings(judges=file))
    assert [(one.level, one.text) for one in found] == [
        ("error", f"{file}, line 2, `judges.a.engin`"),
        ("error", f"{file}, line 3, `judges.b.lable`"),
    ]
    assert "did you mean `engine`?" in found[0].remedy and "did you mean `labels`?" in found[1].remedy
    assert settings_of_judges(Settings(judges=file)) == []
    [missing] = await check_judges(Settings(judges=tmp_path / "none.yaml"))
    assert missing.level == "error" and "cannot be read" in missing.text and missing.remedy


async def test_without_a_file_it_is_the_one_judge() -> None:
    found = await check_judges(Settings(engine="fake"))
    assert [one.subject for one in found] == ["Judge", "Files"]
