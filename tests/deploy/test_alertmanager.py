"""deploy/alertmanager: Alertmanager's own tool reads it, and each severity of an alert has a receiver."""

import subprocess

import pytest

from testkit.dockerfile import ROOT, documents
from testkit.waiting import HUNG_S
from tests.deploy.rules import ALERTS, loaded

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
AMTOOL = ROOT / ".venv" / "alertmanager" / "usr" / "bin" / "amtool"
SEVERITIES = sorted({rule["labels"]["severity"] for group in loaded(ALERTS)["groups"] for rule in group["rules"]})


def amtool(*words: str) -> str:
    done = subprocess.run([AMTOOL, *words], capture_output=True, text=True, timeout=HUNG_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_valid() -> None:
    found = amtool("check-config", str(CONFIG))
    [config] = documents(CONFIG.read_text())
    assert f"{len(config['receivers'])} receivers" in found
    assert f"{len(config['inhibit_rules'])} inhibit rules" in found


@pytest.mark.parametrize("severity", SEVERITIES)
def test_each_severity_goes_to_its_receiver(severity: str) -> None:
    """Whoever fills a receiver in gets these alerts, and no others."""
    found = amtool("config", "routes", "test", f"--config.file={CONFIG}", f"severity={severity}", "alertname=Any")
    assert found.split() == [severity]


def test_what_is_no_alert_of_ours_notifies_nobody() -> None:
    assert amtool("config", "routes", "test", f"--config.file={CONFIG}", "alertname=Any").split() == ["nobody"]
