"""The settings are read once: from flags (`--port 9000`), then from the environment (`RUBRICD_PORT=9000`).

Each floor has a frozen model of its own, and `Settings` is all of them: a floor is given the settings as its own model,
so that no field is copied and a floor's code cannot name what belongs to another.
"""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from service.settings.judge import EngineName, EngineSettings, Label, LabelSettings, ModeSettings
from service.settings.process import DeploymentSettings, LedgerSettings, ObservabilitySettings, ServerSettings
from service.settings.requests import ApiSettings, TeamsFileSettings, TenancySettings
from service.settings.variables import PREFIX, unknown_variables
from service.settings.work import CacheSettings, RuleSettings, SchedulingSettings

__all__ = [
    "ApiSettings",
    "CacheSettings",
    "DeploymentSettings",
    "EngineName",
    "EngineSettings",
    "KeysSettings",
    "Label",
    "LabelSettings",
    "LedgerSettings",
    "ModeSettings",
    "ObservabilitySettings",
    "PrometheusSettings",
    "RuleSettings",
    "SchedulingSettings",
    "ServerSettings",
    "Settings",
    "TeamsFileSettings",
    "TenancySettings",
    "unknown_variables",
]


class Settings(
    ServerSettings,  # the top floor; pydantic lists the fields of the last base first
    ObservabilitySettings,
    LedgerSettings,
    ApiSettings,
    TenancySettings,
    RuleSettings,
    CacheSettings,
    SchedulingSettings,
    DeploymentSettings,
    ModeSettings,
    EngineSettings,
    BaseSettings,
):
    """Every setting of the service."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # a URL or a key may be in it
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        env_ignore_empty=True,
    )


class KeysSettings(TeamsFileSettings, BaseSettings):
    """The one setting that `python -m service keys` reads from the environment. The others may be wrong."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)


class PrometheusSettings(BaseSettings):
    """Prometheus' client shares metrics among processes through the folder of this variable. The service has no use for
    it; where the variable is set the folder has to be there."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    prometheus_multiproc_dir: Path | None = None
