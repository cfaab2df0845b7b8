"""The shipped rules are what Prometheus takes, fire when they should by its own tester, and are all documented."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from testkit.processes import ROOT
from testkit.prometheus import EVALUATION_S, divided, program
from testkit.waiting import HUNG_S
from tests.deploy.rules import ALERTS, FOLDER, RECORDING, loaded, names, rules

DOCS = ROOT / "docs" / "operate"
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
METRIC = re.compile(r"\brubricd_[a-z0-9_]+")
SERIES_OF = ("_bucket", "_count", "_sum")
NO_LOG_LINES = {"Out of memory", "rubricd ledger verify"}
"""The kernel's, and a command."""
SEVERITIES = {"page", "ticket", "info"}


def promtool(*words: str | Path) -> None:
    done = subprocess.run([program("promtool"), *map(str, words)], capture_output=True, text=True, timeout=HUNG_S)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid_with_all_its_rules() -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")
    promtool("check", "rules", RECORDING, ALERTS)
    config = loaded(FOLDER / "prometheus.yml")
    assert config["rule_files"] == [RECORDING.name, ALERTS.name]
    assert config["global"] == {"scrape_interval": "15s", "evaluation_interval": "15s"}
    assert divided(config["global"]["evaluation_interval"], 1) == f"{1000 * EVALUATION_S:.0f}ms"


def test_what_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    """But for Kubernetes' own discovery, which Debian's build leaves out."""
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    lines = text[text.index("scrape_configs:") :].splitlines()
    file = tmp_path / "prometheus.yml"
    file.write_text("\n".join(re.sub(r"^(\s*)# (?=\s|- |alerting:)", r"\1", line) for line in lines))
    config = loaded(file)
    assert [job["job_name"] for job in config["scrape_configs"]] == ["rubricd", "rubricd-ray", "rubricd-k8s"]
    assert config["alerting"]["alertmanagers"]
    assert config["scrape_configs"][2].pop("kubernetes_sd_configs") == [{"role": "pod"}]
    file.write_text(json.dumps(config))
    promtool("check", "config", file)


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_exactly_when_they_should(file: Path) -> None:
    promtool("test", "rules", file)


def checked(fires: bool) -> set[str]:
    """Alerts of which a test says that they fire, or that they do not."""
    return {
        check["alertname"]
        for file in TESTS
        for test in loaded(file)["tests"]
        for check in test["alert_rule_test"]
        if bool(check["exp_alerts"]) == fires
    }


def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    assert checked(True) == checked(False) == set(names(ALERTS, "alert"))


def test_every_alert_has_a_test_in_which_it_never_fires() -> None:
    quiet = set[str]()
    for file in TESTS:
        for test in loaded(file)["tests"]:
            checks = test["alert_rule_test"]
            fired = {check["alertname"] for check in checks if check["exp_alerts"]}
            quiet |= {check["alertname"] for check in checks} - fired
    assert quiet == set(names(ALERTS, "alert"))


def sections(file: Path) -> dict[str, str]:
    parts = re.split(r"^## (.*)\n", file.read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_runbook_has_an_entry_for_every_alert_and_no_other() -> None:
    found = sections(DOCS / "runbook.md")
    assert list(found) == names(ALERTS, "alert")
    for alert in rules(ALERTS):
        entry = found[alert["alert"]]
        assert entry.lstrip().startswith(f"**{alert['labels']['severity']}**: "), alert["alert"]
        for part in ("*Impact*: ", "*Diagnosis*: ", "*Mitigation*: ", "*Resolved*: "):
            assert entry.count(f"\n- {part}") == 1, (alert["alert"], part)


def test_operations_has_a_row_for_every_alert_and_no_other() -> None:
    rows = re.findall(
        r"^\| \[`(\w+)`\]\(runbook\.md#(\w+)\) \| (\w+) \| ", sections(DOCS / "operations.md")["Alerts"], re.M
    )
    assert rows == [(rule["alert"], rule["alert"].lower(), rule["labels"]["severity"]) for rule in rules(ALERTS)]


@pytest.mark.parametrize("alert", rules(ALERTS), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_where_and_how_to_go_on(alert: dict[str, Any]) -> None:
    assert set(alert["labels"]) == {"severity"} and alert["labels"]["severity"] in SEVERITIES
    told = alert["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    url = "https://github.com/rubricd/rubricd/blob/main/docs/operate/runbook.md"
    assert told["runbook_url"] == f"{url}#{alert['alert'].lower()}"
    if "absent" not in alert["expr"]:
        assert "$labels." in told["summary"] + told["description"]


def test_rules_and_runbook_ask_for_metrics_that_there_are() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", sections(DOCS / "operations.md")["Metrics"], re.M))
    assert len(described) > 40
    asked = METRIC.findall("\n".join(rule["expr"] for file in (RECORDING, ALERTS) for rule in rules(file)))
    recorded = {part for name in names(RECORDING, "record") for part in name.split(":")}
    runbook = METRIC.findall((DOCS / "runbook.md").read_text(encoding="utf-8"))
    for metric in {*asked, *runbook} - recorded:
        base = next((metric.removesuffix(end) for end in SERIES_OF if metric.endswith(end)), metric)
        assert base in described or metric in described, metric


def test_log_lines_in_the_runbook_are_in_the_code() -> None:
    """A phrase of three words or more between backticks is a log line, or its part that does not vary."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "service").rglob("*.py"))
    phrases = [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", (DOCS / "runbook.md").read_text("utf-8"))]
    lines = [phrase.strip("…;: ") for phrase in phrases if re.fullmatch(r"[\w…][\w ,:;'…]+", phrase)]
    lines = [line for line in lines if len(line.split()) >= 3 and line not in NO_LOG_LINES]
    assert len(lines) > 8
    assert not [line for line in lines if line not in code]


def test_recorded_names_are_used_and_say_level_metric_operation() -> None:
    recorded = names(RECORDING, "record")
    asked = "\n".join(rule["expr"] for file in (RECORDING, ALERTS) for rule in rules(file))
    for name in recorded:
        assert re.fullmatch(
            r"(job|job_outcome|job_shadow|job_team_class|instance):rubricd_\w+:(ratio_|p99_)?\w+", name
        ), name
        assert name in asked, f"{name} is asked for nowhere"
    used = set(re.findall(r"\b\w+:rubricd_\w+:\w+", asked))
    assert used == set(recorded)


def test_what_a_rule_uses_is_recorded_before_it() -> None:
    """One group, in order: a rule sees what those before it recorded a moment ago."""
    (group,) = loaded(RECORDING)["groups"]
    for place, rule in enumerate(group["rules"]):
        later = [other["record"] for other in group["rules"][place:]]
        assert not [name for name in later if name in rule["expr"]], rule["record"]
