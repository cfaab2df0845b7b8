"""A new judge is served for a moment; what cannot be served or calibrated is said, and no process stays."""

import sys
from pathlib import Path

import pytest

from trainer_client.distillation.served import calibrate
from trainer_client.errors import DataError
from trainer_client.labels import Labels

NOTHING = Labels((), (), "digest")

# A server of /readyz alone, which writes its process id.
READY = """
import http.server, os, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def do_POST(self):
        self.send_response(404)
        self.end_headers()
open(sys.argv[1], "w").write(str(os.getpid()))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), Ready).serve_forever()
"""


def test_a_service_that_ends_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('first'); raise SystemExit('the judge answers nothing')"]
    with pytest.raises(DataError, match="the judge was not served: the judge answers nothing"):
        calibrate(command, NOTHING, tmp_path / "calibration.json", None)
    with pytest.raises(DataError, match="the judge was not served: exit code 3"):
        calibrate([sys.executable, "-c", "raise SystemExit(3)"], NOTHING, tmp_path / "calibration.json", None)
    assert not list(tmp_path.iterdir())


def test_the_process_has_ended_when_nothing_could_be_fitted(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    with pytest.raises(Exception):  # noqa: B017 (what fails first is the client's business)
        calibrate([sys.executable, "-c", READY, str(started)], NOTHING, tmp_path / "calibration.json", None)
    assert not Path(f"/proc/{started.read_text()}").exists() and not (tmp_path / "calibration.json").exists()
