"""Tests of the one command line: its commands, their help, and what it refuses."""

import json
import subprocess
import sys

import pytest

from service.__main__ import main
from service.settings import Settings
from testkit.waiting import HUNG_S


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "service", *words], capture_output=True, text=True, timeout=HUNG_S)


def test_without_a_command_it_prints_help_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert all(f"\n    {command} " in said.err for command in ("serve", "doctor", "keys"))


@pytest.mark.parametrize("words", [["nope"], ["--port", "1"], ["serve", "--prot", "1"], ["keys"], ["keys", "nope"]])
def test_what_it_does_not_know_is_refused_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: python -m service" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_help_lists_every_setting_with_its_sentence(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in said, name
        assert field.description is not None and " ".join(field.description.split()) in said, name
    assert "RUBRICD_MAX_BATCH_TOKENS" in said


@pytest.mark.parametrize("action", ["new", "revoke", "list"])
def test_keys_has_help_for_each_action(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["keys", action, "--help"])
    said = capsys.readouterr().out
    assert "--teams FILE" in said and "TEAM" in said


def test_a_wrong_setting_is_named_and_its_value_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUBRICD_REDIS_TIMEOUT_S", "hidden")
    assert main(["serve", "--max-items", "0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("rubricd does not start: ")
    assert "`max_items`: Input should be greater than 0" in said and "`redis_timeout_s`" in said
    assert "hidden" not in said


@pytest.mark.parametrize("key", ["sk hidden", "sk-hidden\n", "\tsk-hidden", "hidden-schlüssel"])
def test_a_key_that_no_header_can_carry_is_named_and_not_shown(
    key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUBRICD_REMOTE_KEY", key)
    assert main(["serve"]) == 2
    said = capsys.readouterr().err
    assert "`remote_key`" in said and "white space" in said and "hidden" not in said


def test_flags_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def serve(settings: Settings) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr("service.server.serve", serve)
    monkeypatch.setenv("RUBRICD_MAX_BATCH_TOKENS", "7")
    monkeypatch.setenv("RUBRICD_PORT", "9001")
    assert (
        main(
            [
                "serve",
                "--port",
                "9000",
                "--labels",
                "A,B",
                "--chat-template-kwargs",
                '{"a": 1}',
                "--vllm-enforce-eager",
                "true",
            ]
        )
        == 0
    )
    [settings] = seen
    assert (settings.port, settings.max_batch_tokens, settings.labels) == (9000, 7, ("A", "B"))
    assert settings.vllm_enforce_eager is True
    assert settings.chat_template_kwargs == {"a": 1}


def test_doctor_takes_the_settings_of_serve_and_exits_with_1() -> None:
    done = run("doctor", "--engine", "fake", "--host", "0.0.0.0")
    assert (done.returncode, done.stderr) == (1, "")
    assert "error    Port" in done.stdout and done.stdout.endswith("The service cannot start: 1 error(s).\n")


def test_doctor_says_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--engine", "fake", "--host", "0.0.0.0", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["starts"] is False
    assert [one["subject"] for one in found["findings"] if one["level"] == "error"] == ["Port"]


def test_help_does_not_wait_for_the_web_framework() -> None:
    code = (
        "import contextlib, sys; from service.__main__ import main\n"
        "with contextlib.suppress(SystemExit): main(['serve', '--help'])\n"
        "print({'fastapi', 'torch', 'uvicorn'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HUNG_S, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
