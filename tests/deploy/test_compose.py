"""deploy/compose.yaml: valid, complete, and of one mind with the files that it mounts."""

import json
import re
import subprocess
import sys
from copy import deepcopy
from math import ceil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema

from service.settings import Settings
from service.tenancy import teams_file
from testkit import dockerfile
from testkit.dockerfile import ROOT, documents
from testkit.sandbox import USER
from testkit.waiting import HUNG_S
from tests.deploy.redis_command import answers
from tools import stand_ins

DEPLOY = ROOT / "deploy"
JUDGES = ("judge-cpu", "judge-gpu")
CHOSEN = {"REDIS_PASSWORD": "abc123", "GRAFANA_PASSWORD": "def456"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    [found] = documents((DEPLOY / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def filled(text: object, chosen: dict[str, str]) -> str:
    """`$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:?error}` as compose fills them in; `$$` is a dollar."""

    def value(found: re.Match[str]) -> str:
        bare, name, how, word = found.groups()
        if found[0] == "$$":
            return "$"
        if how == ":?" and not chosen.get(name):
            raise LookupError(word)
        return chosen.get(bare or name) or word or ""

    return re.sub(r"\$\$|\$(\w+)|\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, str(text))


def check(document: object) -> None:
    jsonschema.Draft202012Validator(get_builtin_schema("vendor.compose-spec")).validate(document)


def test_it_is_valid_and_what_is_wrong_is_seen(compose: dict[str, Any]) -> None:
    check(compose)
    wrong = deepcopy(compose)
    wrong["services"]["redis"]["read_onli"] = True
    with pytest.raises(jsonschema.ValidationError):
        check(wrong)


def test_check_jsonschema_says_the_same() -> None:
    words = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=HUNG_S)
    assert done.returncode == 0, done.stdout


def test_a_profile_is_one_judge_and_what_it_needs(compose: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles", []) for name, service in compose["services"].items()}
    assert profiles.pop("judge-cpu") == ["cpu"] and profiles.pop("judge-gpu") == ["gpu"]
    assert profiles == {"redis": [], "prometheus": [], "alertmanager": [], "grafana": [], "tls": ["tls"]}
    for name, target in zip(JUDGES, ("cpu", "cuda"), strict=True):
        service = compose["services"][name]
        assert service["build"]["target"] == target and dockerfile.stage(target)
        assert (DEPLOY / service["build"]["context"] / "Dockerfile").exists()
        # By one name, whichever it is: Prometheus asks there.
        assert service["networks"]["default"]["aliases"] == ["judge"]
    devices = compose["services"]["judge-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(device["driver"], device["capabilities"]) for device in devices] == [("nvidia", ["gpu"])]


@pytest.mark.parametrize("name", JUDGES)
def test_the_judges_settings_are_the_services(compose: dict[str, Any], name: str) -> None:
    environment = compose["services"][name]["environment"]
    given = {
        variable.removeprefix("RUBRICD_").lower(): filled(value, CHOSEN)
        for variable, value in environment.items()
        if variable.startswith("RUBRICD_")
    }
    settings = Settings.model_validate({key: value for key, value in given.items() if value})
    assert (settings.host, settings.port, settings.judge) == ("0.0.0.0", 8000, None)
    assert settings.redis_url == "redis://:abc123@redis:6379/0"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert filled(environment["RUBRICD_JUDGE"], {"JUDGE": "/models/judge"}) == "/models/judge"


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_is_stopped_slowly_and_writes_nowhere(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    drain_s = Settings.model_fields["drain_s"].default
    assert int(service["stop_grace_period"].removesuffix("s")) > ceil(drain_s) + 5
    assert service["user"] == f"{USER}:{USER}"
    # Docker mounts a tmpfs noexec if not told otherwise, and what Triton compiles is loaded from there.
    [tmp] = service["tmpfs"]
    assert "exec" in tmp.removeprefix("/tmp:").split(",")
    mounts = dict(volume.split(":")[1:] for volume in map(lambda one: filled(one, CHOSEN), service["volumes"]))
    assert mounts == {"/etc/rubricd/teams": "ro", "/models": "ro"}
    assert Path(service["environment"]["RUBRICD_TEAMS"]).parent == Path("/etc/rubricd/teams")


def test_every_container_is_read_only_without_rights_and_for_this_machine(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for port in service.get("ports", ()) if name != "tls" else ():  # which is there for other machines
            assert filled(port, CHOSEN).startswith("127.0.0.1:"), name
        assert ":latest" not in service["image"] and ":" in service["image"], name


def test_what_is_mounted_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    mounts = {
        n: dict(v.split(":")[:2] for v in services[n]["volumes"]) for n in ("prometheus", "alertmanager", "grafana")
    }
    assert mounts["prometheus"] == {"./prometheus": "/etc/prometheus", "prometheus": "/prometheus"}
    assert mounts["alertmanager"] == {"./alertmanager": "/etc/alertmanager", "alertmanager": "/alertmanager"}
    assert mounts["grafana"] == {
        "./grafana/provisioning": "/etc/grafana/provisioning",
        "./grafana/dashboards": "/var/lib/grafana/dashboards",
        "grafana": "/var/lib/grafana",
    }
    for kind, files in {"datasources": 1, "dashboards": 1}.items():
        assert len(list((DEPLOY / "grafana" / "provisioning" / kind).glob("*.yaml"))) == files
    assert len(list((DEPLOY / "grafana" / "dashboards").glob("*.json"))) == 3
    assert {volume for one in mounts.values() for volume in one if not volume.startswith(".")} == set(
        compose["volumes"]
    )


def test_tls_has_a_certificate_and_asks_the_judge(compose: dict[str, Any]) -> None:
    tls = compose["services"]["tls"]
    mounts = {to: here for here, to, _ in (filled(one, CHOSEN).split(":") for one in tls["volumes"])}
    shipped = (DEPLOY / mounts["/etc/nginx/conf.d/tls.conf"]).read_text()
    upstream = (DEPLOY / mounts["/etc/nginx/conf.d/upstream.conf"]).read_text()
    for name in ("tls.crt", "tls.key"):
        assert f"/etc/nginx/certs/{name};" in shipped
    assert mounts["/etc/nginx/certs"] == "./certs"
    assert "default judge:8000;" in upstream and 'map "" $rubricd_plain' in upstream
    assert "proxy_pass http://$rubricd_plain;" in shipped
    [port] = tls["ports"]
    assert f"listen {filled(port, CHOSEN).rsplit(':', 1)[1]} ssl;" in shipped


def test_prometheus_and_grafana_ask_where_the_containers_are(compose: dict[str, Any]) -> None:
    [config] = documents((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = [
        target
        for job in config["scrape_configs"]
        for static in job.get("static_configs", ())
        for target in static["targets"]
    ]
    assert "judge:8000" in targets
    [alerting] = [
        target for one in config["alerting"]["alertmanagers"] for target in one["static_configs"][0]["targets"]
    ]
    assert compose["services"][alerting.split(":")[0]]["ports"][0].endswith(":" + alerting.split(":")[1])
    for rules in config["rule_files"]:
        assert list((DEPLOY / "prometheus").glob(rules)), rules
    [source] = (DEPLOY / "grafana" / "provisioning" / "datasources").glob("*.yaml")
    assert "http://prometheus:9090" in source.read_text()


def test_no_secret_is_in_a_file_and_each_that_is_missing_is_named(compose: dict[str, Any]) -> None:
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / ".env.example").read_text().splitlines()
        if not line.startswith("#") and line
    )
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert example.keys() <= used
    assert {name for name in used if "PASSWORD" in name} == CHOSEN.keys()
    for name in CHOSEN:
        assert example[name] == ""
        with pytest.raises(LookupError):
            filled((DEPLOY / "compose.yaml").read_text(), CHOSEN | {name: ""})
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/.env", "deploy/teams/teams.yaml", "deploy/models/x", "deploy/certs/tls.key"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HUNG_S,
    )
    assert len(ignored.stdout.splitlines()) == 4


def test_the_example_of_teams_can_be_read() -> None:
    raw = (DEPLOY / "teams.example.yaml").read_bytes()
    assert [one.team.name for one in teams_file.parse(raw, Path("teams.yaml"))] == ["medicine", "writing"]


def test_redis_starts_with_its_password_and_keeps_nothing(compose: dict[str, Any], tmp_path: Path) -> None:
    answers([filled(word, CHOSEN) for word in compose["services"]["redis"]["command"]], tmp_path)


def test_something_stands_for_each_image_that_a_registry_would_give(compose: dict[str, Any]) -> None:
    pulled = {name for name, service in compose["services"].items() if "build" not in service}
    assert set(stand_ins.STAND_INS) == pulled - {"grafana"}  # which no package of Debian has
    for name, one in stand_ins.STAND_INS.items():
        volumes = [volume.split(":") for volume in compose["services"][name].get("volumes", [])]
        assert set(one.folders) == {place for source, place, *_ in volumes if source in compose["volumes"]}, name
    over = json.loads(stand_ins.overriding("localhost/rubricd:cpu"))["services"]
    assert set(over) <= set(compose["services"])
    assert all(over[name]["pull_policy"] == "never" for name in (*stand_ins.STAND_INS, "judge-cpu"))
