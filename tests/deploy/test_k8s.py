"""deploy/k8s: what kustomize makes of it is valid, and its numbers fit the service's own."""

import subprocess
from collections.abc import Iterator, Mapping
from copy import deepcopy
from inspect import signature
from math import ceil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

from deploy.prometheus.__main__ import RESOURCE, RULES, written
from service.settings import Settings
from service.tenancy import teams_file
from testkit.dockerfile import ROOT, documents
from testkit.sandbox import USER
from testkit.waiting import HUNG_S
from tests.deploy.redis_command import answers
from tests.deploy.rules import loaded
from trainer_client.client import JudgeClient

K8S = ROOT / "deploy" / "k8s"
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
KUBECTL = ROOT / ".venv" / "kubectl" / "usr" / "bin" / "kubectl"
BUILT = ("cpu", "gpu", "gpu-scaled", "models", "monitoring", "ingress", "gateway")
JUDGED = ("cpu", "gpu", "gpu-scaled")
VERSIONS = ("1.29", "1.37")
CUSTOM: Mapping[str, Any] = {
    "PrometheusRule": PrometheusRule,
    "ScaledObject": ScaledObject,
    "ServiceMonitor": ServiceMonitor,
}
GRACE_S = 5
"""Beyond `drain_s` whoever still hangs on is cut off (service/__main__.py)."""

Document = dict[str, Any]


@pytest.fixture(scope="module")
def built() -> dict[str, list[Document]]:
    return {name: build(K8S / name) for name in BUILT}


def build(folder: Path) -> list[Document]:
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=HUNG_S)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def valid(document: Document, release: str) -> None:
    """Raises ValueError with what is wrong. Of custom resources: wrong types, and fields that there are not."""
    if document["apiVersion"].startswith("gateway.networking.k8s.io/"):
        return  # no package has models of it: its places are compared below
    custom = CUSTOM.get(document["kind"])
    if custom is None:
        try:
            kubernetes_validate.validate(document, release, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            raise ValueError(f"{document['kind']}: {error.message}") from None
    elif (known := custom.model_validate(document).model_dump(by_alias=True, exclude_unset=True)) != document:
        raise ValueError(f"{document['kind']}: not all of it is known, only {known}")


def one(every: list[Document], kind: str, name: str = "rubricd") -> Document:
    [found] = [d for d in every if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return found


def pod(every: list[Document], name: str = "rubricd") -> Document:
    spec: Document = one(every, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def pods(every: list[Document]) -> Iterator[Document]:
    return (d["spec"]["template"]["spec"] for d in every if d["kind"] in ("Deployment", "Job"))


def given(container: Document) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in container["env"]}


@pytest.mark.parametrize("release", VERSIONS)
@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_valid(built: Mapping[str, list[Document]], name: str, release: str) -> None:
    assert built[name]
    for document in built[name]:
        valid(document, release)


def test_the_example_of_secrets_is_valid_and_names_a_teams_file_that_can_be_read() -> None:
    secrets = documents((K8S / "secrets.example.yaml").read_text())
    for secret in secrets:
        valid(secret, VERSIONS[-1])
    text = one(secrets, "Secret", "rubricd-teams")["stringData"]["teams.yaml"]
    assert [listed.team.name for listed in teams_file.parse(text.encode(), Path("teams.yaml"))] == [
        "medicine",
        "writing",
    ]


@pytest.mark.parametrize(
    "place, wrong",
    [
        (("Deployment", "spec", "template", "spec", "containers", 0, "readinesProbe"), {}),
        (("Deployment", "spec", "template", "spec", "terminationGracePeriodSeconds"), "long"),
        (("NetworkPolicy", "spec", "podSelektor"), {}),
        (("ScaledObject", "spec", "minReplicas"), 1),
        (("ScaledObject", "spec", "triggers", 0, "metadata", "threshold"), 200000),
    ],
)
def test_what_is_wrong_is_seen(built: Mapping[str, list[Document]], place: tuple[Any, ...], wrong: object) -> None:
    document = deepcopy(next(d for d in built["gpu-scaled"] if d["kind"] == place[0]))
    inner = document
    for step in place[1:-1]:
        inner = inner[step]
    inner[place[-1]] = wrong
    with pytest.raises(ValueError):
        valid(document, VERSIONS[-1])


@pytest.mark.parametrize("name", JUDGED)
def test_a_pod_that_goes_answers_what_it_accepted(built: Mapping[str, list[Document]], name: str) -> None:
    spec = pod(built[name])
    [judge] = spec["containers"]
    [program, seconds] = judge["lifecycle"]["preStop"]["exec"]["command"]
    readiness = judge["readinessProbe"]
    assert (program, int(seconds) >= 5) == ("sleep", True)
    drain_s = float(given(judge).get("RUBRICD_DRAIN_S") or Settings.model_fields["drain_s"].default)
    assert spec["terminationGracePeriodSeconds"] > int(seconds) + ceil(drain_s) + GRACE_S
    assert readiness["periodSeconds"] * readiness["failureThreshold"] <= 10


@pytest.mark.parametrize("name", JUDGED)
def test_probes_ask_what_they_are_for(built: Mapping[str, list[Document]], name: str) -> None:
    [judge] = pod(built[name])["containers"]
    paths = {probe: judge[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/readyz", "liveness": "/healthz", "readiness": "/readyz"}
    startup = judge["startupProbe"]
    allowed_s = startup["periodSeconds"] * startup["failureThreshold"]
    assert allowed_s >= 15 * 60
    assert one(built[name], "Deployment")["spec"]["progressDeadlineSeconds"] > allowed_s


@pytest.mark.parametrize("name", JUDGED)
def test_an_upgrade_and_an_eviction_leave_a_judge(built: Mapping[str, list[Document]], name: str) -> None:
    deployment = one(built[name], "Deployment")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budget = one(built[name], "PodDisruptionBudget")["spec"]
    assert budget["minAvailable"] == 1
    if name == "gpu-scaled":
        assert "replicas" not in deployment
        assert one(built[name], "ScaledObject")["spec"]["minReplicaCount"] > budget["minAvailable"]
    else:
        assert deployment["replicas"] > budget["minAvailable"]


@pytest.mark.parametrize("name", [*JUDGED, "models"])
def test_nothing_has_more_rights_than_it_needs(built: Mapping[str, list[Document]], name: str) -> None:
    for spec in pods(built[name]):
        assert spec["automountServiceAccountToken"] is False
        # Or a Service named rubricd sets RUBRICD_PORT.
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "limits" in container["resources"]
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    if name in JUDGED:
        assert pod(built[name])["securityContext"]["runAsUser"] == USER


@pytest.mark.parametrize("name", JUDGED)
def test_every_setting_is_one_of_the_service(built: Mapping[str, list[Document]], name: str) -> None:
    [judge] = pod(built[name])["containers"]
    variables = [variable for variable in given(judge) if variable.startswith("RUBRICD_")]
    assert {variable.removeprefix("RUBRICD_").lower() for variable in variables} <= Settings.model_fields.keys()
    assert given(judge)["HF_HUB_OFFLINE"] == "1"
    assert judge["ports"] == [{"name": "http", "containerPort": int(given(judge)["RUBRICD_PORT"])}]


@pytest.mark.parametrize("name", JUDGED)
def test_teams_are_mounted_as_a_folder(built: Mapping[str, list[Document]], name: str) -> None:
    """A file mounted by subPath never changes."""
    spec = pod(built[name])
    [judge] = spec["containers"]
    [mount] = [mount for mount in judge["volumeMounts"] if mount["name"] == "teams"]
    assert mount.keys() == {"name", "mountPath", "readOnly"}
    assert given(judge)["RUBRICD_TEAMS"] == f"{mount['mountPath']}/teams.yaml"
    [secret] = [volume["secret"] for volume in spec["volumes"] if volume["name"] == "teams"]
    assert secret == {"secretName": "rubricd-teams", "defaultMode": 0o440}
    assert spec["securityContext"]["fsGroup"] == USER


def test_vllm_has_a_judge_its_gpus_and_memory_to_share(built: Mapping[str, list[Document]]) -> None:
    spec = pod(built["gpu"])
    [judge] = spec["containers"]
    assert judge["image"].endswith(":cuda")
    assert given(judge)["RUBRICD_VLLM_TENSOR_PARALLEL_SIZE"] == judge["resources"]["limits"]["nvidia.com/gpu"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    claim = volumes["models"]["persistentVolumeClaim"]
    assert claim == {"claimName": "rubricd-models", "readOnly": True}
    assert one(built["models"], "PersistentVolumeClaim", claim["claimName"])
    [fill] = one(built["models"], "Job", "rubricd-models")["spec"]["template"]["spec"]["containers"]
    assert f"--local-dir={given(judge)['RUBRICD_JUDGE']}" in fill["args"]
    assert fill["image"] == judge["image"]


@pytest.mark.parametrize("name", JUDGED)
def test_selectors_find_the_judge_and_only_it(built: Mapping[str, list[Document]], name: str) -> None:
    every = [*built[name], *built["monitoring"]]
    labels = one(every, "Deployment")["spec"]["template"]["metadata"]["labels"]
    redis = one(every, "Deployment", "rubricd-redis")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one(every, "Deployment")["spec"]["selector"]["matchLabels"],
        one(every, "Service")["spec"]["selector"],
        one(every, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(every, "NetworkPolicy", "rubricd-judge")["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= redis.items()
    monitor = one(every, "ServiceMonitor")["spec"]
    service = one(every, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert {d["metadata"].get("namespace", d["metadata"]["name"]) for d in every} == {"rubricd"}


def test_a_caller_from_outside_reaches_the_judge_over_tls_and_no_metrics(
    built: Mapping[str, list[Document]],
) -> None:
    """By Ingress and by Gateway: the same host, the same Secret, as long as the client waits."""
    service = one(built["cpu"], "Service")
    ingress = one(built["ingress"], "Ingress")
    [rule] = ingress["spec"]["rules"]
    paths = {path["path"]: path["backend"]["service"] for path in rule["http"]["paths"]}
    assert paths["/"] == {"name": service["metadata"]["name"], "port": {"name": service["spec"]["ports"][0]["name"]}}
    assert paths["/metrics"] == paths["/v1/live"]
    closed = one(built["ingress"], "Service", paths["/metrics"]["name"])["spec"]["selector"]
    for found in built["cpu"]:
        if found["kind"] == "Deployment":
            assert not closed.items() <= found["spec"]["template"]["metadata"]["labels"].items()
    assert "non_idempotent" not in ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-next-upstream"]

    [listener] = one(built["gateway"], "Gateway")["spec"]["listeners"]
    route = one(built["gateway"], "HTTPRoute")["spec"]
    [tls] = ingress["spec"]["tls"]
    assert [rule["host"]] == tls["hosts"] == [listener["hostname"]] == route["hostnames"]
    assert listener["tls"]["certificateRefs"] == [{"name": tls["secretName"]}]
    backends = {at["path"]["value"]: one.get("backendRefs") for one in route["rules"] for at in one["matches"]}
    assert backends == {
        "/metrics": None,
        "/v1/live": None,
        "/": [{"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}],
    }
    waits = [int(one["timeouts"]["request"].removesuffix("s")) for one in route["rules"] if "timeouts" in one]
    waits.append(int(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"]))
    assert min(waits) > signature(JudgeClient).parameters["timeout_s"].default


def test_grafana_gets_the_dashboards_by_their_label() -> None:
    [found] = build(ROOT / "deploy" / "grafana")
    valid(found, VERSIONS[-1])
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    shipped = {f"rubricd-{file.name}": file.read_text() for file in DASHBOARDS.glob("*.json")}
    assert found["data"] == shipped


def test_the_operator_gets_the_rules_of_prometheus(built: Mapping[str, list[Document]]) -> None:
    assert RESOURCE.read_text(encoding="utf-8") == written(), "run `make dashboards`"
    groups = one(built["monitoring"], "PrometheusRule")["spec"]["groups"]
    assert groups == [group for file in RULES for group in loaded(file)["groups"]]


def test_only_who_is_listed_may_talk(built: Mapping[str, list[Document]]) -> None:
    policies = {d["metadata"]["name"]: d["spec"] for d in built["gpu"] if d["kind"] == "NetworkPolicy"}
    assert policies["rubricd-nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    judge, redis = policies["rubricd-judge"], policies["rubricd-redis"]
    assert [port["port"] for rule in judge["egress"] for port in rule["ports"]] == [53, 53, 6379]
    assert [port["port"] for rule in judge["ingress"] for port in rule["ports"]] == [8000]
    assert all(rule.get("to") for rule in judge["egress"])
    assert redis["ingress"][0]["from"] == [{"podSelector": judge["podSelector"]}]
    labels = one(built["gpu"], "Deployment", "rubricd-redis")["spec"]["template"]["metadata"]["labels"]
    assert judge["egress"][1]["to"] == [{"podSelector": {"matchLabels": labels}}]


def test_scaling_is_on_the_tokens_that_wait(built: Mapping[str, list[Document]]) -> None:
    spec = one(built["gpu-scaled"], "ScaledObject")["spec"]
    [trigger] = spec["triggers"]
    assert trigger["type"] == "prometheus"
    assert trigger["metadata"]["query"] == 'sum(rubricd_queued_tokens{namespace="rubricd"})'
    assert int(trigger["metadata"]["threshold"]) < Settings.model_fields["max_queued_tokens"].default
    assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    assert spec["scaleTargetRef"]["name"] == one(built["gpu-scaled"], "Deployment")["metadata"]["name"]


def test_redis_starts_with_its_password_and_keeps_nothing(built: Mapping[str, list[Document]], tmp_path: Path) -> None:
    [redis] = pod(built["gpu"], "rubricd-redis")["containers"]
    answers(redis["command"], tmp_path)
