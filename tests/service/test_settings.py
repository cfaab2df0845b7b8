"""Tests of the settings: each floor's model is a part of them, frozen, and each field is there once."""

import inspect

import pytest
from pydantic import BaseModel, ValidationError

from service import settings
from service.settings import (
    EngineSettings,
    KeysSettings,
    LabelSettings,
    ModeSettings,
    PrometheusSettings,
    Settings,
    TeamsFileSettings,
)
from tools.settings_table import FLOORS


def floors() -> set[type[BaseModel]]:
    return {floor for _, floor in FLOORS}


def test_the_settings_are_every_floors_model_and_nothing_else() -> None:
    assert all(isinstance(Settings(), floor) for floor in floors())
    assert {name for floor in floors() for name in floor.model_fields} == Settings.model_fields.keys()
    ours = [
        one for _, one in inspect.getmembers(settings, inspect.isclass) if one.__module__.startswith(settings.__name__)
    ]
    assert set(ours) == floors() | {
        Settings, KeysSettings, LabelSettings, PrometheusSettings, TeamsFileSettings
    }  # fmt: skip


def test_two_floors_have_a_field_in_common_only_through_a_shared_model() -> None:
    names = [name for floor in floors() for name in floor.model_fields]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == set(LabelSettings.model_fields) == {"labels"}
    assert issubclass(EngineSettings, LabelSettings) and issubclass(ModeSettings, LabelSettings)


def test_a_floors_model_alone_has_the_same_defaults_and_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_MAX_BATCH_TOKENS", "7")
    assert Settings().max_batch_tokens == 7
    assert settings.SchedulingSettings().max_batch_tokens == Settings.model_fields["max_batch_tokens"].default
    for floor in floors():
        for name, field in floor.model_fields.items():
            assert field.default == Settings.model_fields[name].default, name


@pytest.mark.parametrize("floor", [settings.SchedulingSettings, Settings])
def test_they_are_frozen_and_know_their_own_fields_only(floor: type[BaseModel]) -> None:
    with pytest.raises(ValidationError):
        floor().max_batch_tokens = 1  # type: ignore[attr-defined]
    with pytest.raises(ValidationError):
        floor(max_batch_token=1)


def test_arguments_of_the_chat_template_are_a_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_CHAT_TEMPLATE_KWARGS", '{"reasoning_effort": "low", "enable_thinking": false}')
    assert Settings().chat_template_kwargs == {"reasoning_effort": "low", "enable_thinking": False}
    monkeypatch.setenv("RUBRICD_CHAT_TEMPLATE_KWARGS", "low")
    with pytest.raises(Exception, match="chat_template_kwargs"):
        Settings()


def test_labels_are_words_whatever_white_space_is_around_them() -> None:
    """The space that a tokenizer wants before one is found in its place."""
    assert Settings(labels=(" True", "False ")).labels == ("True", "False")
    with pytest.raises(ValidationError):
        Settings(labels=(" ", "No"))


def test_every_setting_has_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description is not None and field.description.rstrip(")`").endswith("."), name


def test_secrets_are_not_shown() -> None:
    shown = repr(Settings(redis_url="redis://u:hidden@h", remote_key="hidden"))
    assert "hidden" not in shown
    with pytest.raises(ValidationError) as wrong:
        Settings(redis_url="redis://u:hidden@h", remote_key=7)  # type: ignore[arg-type]
    assert "hidden" not in str(wrong.value)


def test_keys_need_the_teams_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_PORT", "not a port")
    monkeypatch.setenv("RUBRICD_TEAMS", "/etc/rubricd/teams.yaml")
    assert str(KeysSettings().teams) == "/etc/rubricd/teams.yaml"
    monkeypatch.setenv("RUBRICD_TEAMS", "")
    assert KeysSettings().teams is None
