"""Writes the rules as a PrometheusRule for the Prometheus operator (`python -m deploy.prometheus`)."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RULES = (FOLDER / "recording.yml", FOLDER / "alerts.yml")
RESOURCE = FOLDER.parent / "k8s" / "monitoring" / "rules.yaml"
_HEAD = """\
# Written by `make dashboards` from deploy/prometheus: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: rubricd
  labels:
    app.kubernetes.io/name: rubricd
spec:
  groups:
"""


def written() -> str:
    """The manifest with the groups of all rule files, unchanged."""
    groups = [
        line for file in RULES for line in file.read_text(encoding="utf-8").partition("\ngroups:\n")[2].splitlines()
    ]
    return _HEAD + "".join(f"  {line}".rstrip() + "\n" for line in groups)


def main() -> int:
    RESOURCE.write_text(written(), encoding="utf-8")
    print(f"{RESOURCE}: {written().count('- alert:')} alerts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
