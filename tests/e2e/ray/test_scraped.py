"""A real Prometheus finds every replica by itself, as docs/operate/ray.md has it."""

import re
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from testkit.processes import ROOT
from testkit.prometheus import Prometheus, configured
from testkit.ray.nodes import WAIT_S, Nodes, kill


def documented(url: str) -> dict[str, Any]:
    """The configuration of the page, which looks more often and at this cluster."""
    page = (ROOT / "docs" / "operate" / "ray.md").read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "http_sd_configs" in block)
    config: dict[str, Any] = YAML(typ="safe", pure=True).load(block.replace("http://ray-head:8000", url))
    [job] = config["scrape_configs"]
    job["http_sd_configs"][0]["refresh_interval"] = "1s"
    return {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, **config}


def until_up(three: Nodes, asked: Prometheus) -> None:
    """Every running replica, by its name, and no other."""
    until = time.monotonic() + WAIT_S
    while True:
        names = {one.name for one in three.until(lambda found: len(found) == 3)}
        up = {sample.labels["replica"]: sample.value for sample in asked.query('up{job="rubricd-ray"}')}
        if up == dict.fromkeys(names, 1.0):
            return
        assert time.monotonic() < until, f"Prometheus has {up} of {names}"
        time.sleep(0.5)


def test_prometheus_finds_every_replica_and_forgets_the_dead(three: Nodes, tmp_path: Path) -> None:
    with configured(tmp_path, documented(three.url)) as asked:
        until_up(three, asked)
        kill(three.replicas()[0])
        until_up(three, asked)
        [judges] = asked.query("count(rubricd_judge_info)")
        assert judges.value == 3
