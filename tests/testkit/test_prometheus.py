"""A test's own Prometheus: rules made faster, real answers, and what it says where it will not start."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testkit.processes import Failed
from testkit.prometheus import Sample, divided, faster, program, prometheus, retarget
from testkit.waiting import HUNG_S, wait_until

RULES = """
groups:
  - name: g
    interval: 30s
    rules:
      - record: job:pages:rate5m
        expr: sum by (job) (rate(pages_total[5m])) > 60
      - alert: PagesAreServed
        expr: job:pages:rate5m > {limit}
        for: 1m
        labels: {{severity: info}}
        annotations: {{summary: "{{{{ $labels.job }}}} in [5m]"}}
"""


@contextmanager
def pages() -> Iterator[str]:
    """A target that counts how often it was read, by a thousand."""
    served = 0

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal served
            served += 1000
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(f"# TYPE pages_total counter\npages_total {served}\nnot_a_number NaN\n".encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("duration", "speed", "expected"),
    [("5m", 60, "5000ms"), ("1h30m", 60, "90000ms"), ("15s", 60, "250ms"), ("1ms", 60, "1ms"), ("0s", 60, "0s")],
)
def test_a_duration_is_divided(duration: str, speed: float, expected: str) -> None:
    assert divided(duration, speed) == expected


@pytest.mark.parametrize("text", ["", "5", "5 m", "m5", "1.5m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        divided(text, 60)


def test_every_duration_of_a_rule_is_divided_and_nothing_else() -> None:
    alert = {
        "alert": "A5m",
        "expr": 'rate(a_total{x="5m"}[5m]) > 300 and max_over_time(b:rate10m[1h:1m] offset 10m) > 60',
        "for": "15m",
        "keep_firing_for": "1m",
        "labels": {"severity": "page"},
        "annotations": {"summary": "in 5m, see [5m] offset 5m"},
    }
    group = {"name": "g", "interval": "1m", "rules": [alert, {"record": "a:rate5m", "expr": 1}]}
    assert faster({"groups": [group]}, 60) == {
        "groups": [
            {
                "name": "g",
                "interval": "1000ms",
                "rules": [
                    alert
                    | {
                        "expr": 'rate(a_total{x="5m"}[5000ms]) > 300 '
                        "and max_over_time(b:rate10m[60000ms:1000ms] offset 10000ms) > 60",
                        "for": "15000ms",
                        "keep_firing_for": "1000ms",
                    },
                    {"record": "a:rate5m", "expr": "1"},
                ],
            }
        ]
    }


def test_it_scrapes_records_and_alerts_for_real(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES.format(limit=100))
    began = time.time()
    with (
        pages() as target,
        prometheus(tmp_path / "run", {"some-job": [target]}, rules=[rules], scrape_s=0.1, speed=120) as asked,
    ):
        up = {"__name__": "up", "instance": target, "job": "some-job"}
        assert asked.query("up") == [Sample(up, 1.0)]
        assert asked.query("scalar(vector(2))") == [Sample({}, 2.0)]
        assert [str(sample.value) for sample in asked.query("not_a_number")] == ["nan"]
        deadline, seen = began + HUNG_S, set()
        while time.time() < deadline and "firing" not in seen:
            alerts = asked.alerts()
            seen |= {alert.state for alert in alerts}
            time.sleep(0.05)
        assert seen == {"pending", "firing"}
        (alert,) = alerts
        assert (alert.name, alert.labels) == ("PagesAreServed", {"job": "some-job", "severity": "info"})
        assert alert.annotations == {"summary": "some-job in [5m]"}
        assert 100 < alert.value < 20_000
        (series,) = asked.query_range("job:pages:rate5m", time.time() - 1, time.time(), 0.25)
        assert 1 <= len(series.points) <= 5 and all(value > 100 for _, value in series.points)
        with pytest.raises(Failed, match="Prometheus refused pages_total\\[: bad_data"):
            asked.query("pages_total[")
        retarget(tmp_path / "run", "some-job", [])
        wait_until(lambda: not asked.query("up"))


def test_a_rule_that_does_not_load_is_said(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES.format(limit="(("))
    with (
        pytest.raises(Failed, match=r'rule 2, \\"PagesAreServed\\": could not parse expression'),
        prometheus(tmp_path / "run", [], rules=[rules]),
    ):
        pass


def test_where_there_is_none_it_says_what_to_make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("testkit.prometheus._PROGRAMS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failed, match=r"there is no promtool: make \.venv/prometheus"):
        program("promtool")
