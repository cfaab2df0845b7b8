"""deploy/ray/serve.yaml, read as `serve deploy` reads it."""

from typing import Any

import pytest
from pydantic import ValidationError
from ray._common.utils import import_attr
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.schema import ServeDeploySchema
from ruamel.yaml import YAML

from service.hosting.ray.autoscaling import QueuedTokensPolicy
from service.settings import Settings
from testkit.processes import ROOT

FILE = ROOT / "deploy" / "ray" / "serve.yaml"


@pytest.fixture
def schema() -> ServeDeploySchema:
    return ServeDeploySchema.model_validate(YAML(typ="safe").load(FILE.read_text(encoding="utf-8")))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_ENGINE", "fake")


def test_rays_schema_accepts_it(schema: ServeDeploySchema) -> None:
    [one] = schema.applications
    assert (one.name, one.route_prefix) == ("rubricd", "/")
    assert schema.http_options.host == "127.0.0.1"
    assert schema.http_options.request_timeout_s is None


def test_what_it_names_is_there(schema: ServeDeploySchema) -> None:
    [one] = schema.applications
    built = call_user_app_builder_with_args_if_necessary(import_attr(one.import_path), one.args)
    assert isinstance(built, Application)
    assert [deployment.name for deployment in one.deployments] == [built._bound_deployment.name]


def test_its_settings_are_settings(schema: ServeDeploySchema) -> None:
    named: dict[str, Any] = schema.applications[0].runtime_env["env_vars"]
    assert {name.removeprefix("RUBRICD_").lower() for name in named} <= set(Settings.model_fields)


def test_it_scales_on_queued_tokens(schema: ServeDeploySchema) -> None:
    policy = schema.applications[0].deployments[0].autoscaling_config["policy"]
    made = import_attr(policy["policy_function"])(**policy["policy_kwargs"])
    assert isinstance(made, QueuedTokensPolicy)


def test_arguments_are_refused() -> None:
    with pytest.raises(ValidationError, match="engine"):
        call_user_app_builder_with_args_if_necessary(import_attr("service.hosting.ray.replica:app"), {"engine": "vllm"})


def test_settings_that_make_no_sense_end_it_before_anything_is_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBRICD_MAX_ITEMS", "0")
    with pytest.raises(ValidationError, match="max_items"):
        call_user_app_builder_with_args_if_necessary(import_attr("service.hosting.ray.replica:app"), {})
