"""`make check-compose`: compose is brought up for real, a request is judged over TLS, and everything is taken down.

Guarantees: it works on a copy of `deploy/` with passwords, a key and a certificate of its own, under a project name of
its own, so that nothing that runs already is touched. Needs a Docker engine and its compose plugin.
"""

import json
import secrets
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from testkit import dockerfile
from testkit.free_port import free_port
from testkit.one_team import ITEM, KEYS, rotate

PORTS = ("JUDGE_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT", "TLS_PORT")
TIMEOUT_S = 900.0


def engine_missing() -> str | None:
    """Why compose cannot be brought up here; None where it can."""
    for words in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        except FileNotFoundError:
            return "there is no `docker`"
        if done.returncode != 0:
            return f"`{' '.join(words)}` fails: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
    return None


def prepare(deploy: Path) -> dict[str, str]:
    """The folder as its guide prepares it. Returns what `.env` names."""
    teams, certs = deploy / "teams", deploy / "certs"
    for folder in (teams, certs, deploy / "models"):
        folder.mkdir(mode=0o755)
    rotate(teams, KEYS[0])
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*made, *names, "-keyout", certs / "tls.key", "-out", certs / "tls.crt"], check=True)
    (certs / "tls.key").chmod(0o644)  # user 101 reads it
    chosen = {"REDIS_PASSWORD": secrets.token_hex(16), "GRAFANA_PASSWORD": secrets.token_hex(16)}
    chosen |= {"TLS_BIND": "127.0.0.1", **{name: str(free_port()) for name in PORTS}}
    (deploy / ".env").write_text("".join(f"{name}={value}\n" for name, value in chosen.items()))
    return chosen


def until(what: str, url: str, trusted: ssl.SSLContext | bool = True) -> Any:
    """The answer, once it is 200. Raises TimeoutError."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        try:
            answer = httpx.get(url, verify=trusted, timeout=10)
            if answer.status_code == 200:
                print(f"{what} answers")
                return answer
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise TimeoutError(f"{what} does not answer at {url}")


def check(chosen: dict[str, str], certificate: Path) -> None:
    """Raises AssertionError, TimeoutError."""
    trusted, judge = ssl.create_default_context(cafile=certificate), f"https://127.0.0.1:{chosen['TLS_PORT']}"
    until("the judge, over TLS,", f"{judge}/readyz", trusted)
    answer = httpx.post(
        f"{judge}/v1/score",
        json={"items": [ITEM]},
        headers={"Authorization": f"Bearer {KEYS[0]}"},
        verify=trusted,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    print(f"judged: {[(one['status'], one['met']) for one in answer.json()['results'][0]['criteria']]}")
    until("Alertmanager", f"http://127.0.0.1:{chosen['ALERTMANAGER_PORT']}/-/ready")
    until("Grafana", f"http://127.0.0.1:{chosen['GRAFANA_PORT']}/api/health")
    prometheus = f"http://127.0.0.1:{chosen['PROMETHEUS_PORT']}"
    until("Prometheus", f"{prometheus}/-/ready")
    end = time.monotonic() + 60
    while True:  # it scrapes every 15 s
        targets = until("its list of targets", f"{prometheus}/api/v1/targets").json()["data"]["activeTargets"]
        if [one["health"] for one in targets] == ["up"]:
            break
        assert time.monotonic() < end, json.dumps(targets)
        time.sleep(2)
    print("Prometheus scrapes the judge")


def main() -> int:
    if (reason := engine_missing()) is not None:
        print(f"compose cannot be brought up here: {reason}")
        return 2
    with tempfile.TemporaryDirectory(prefix="rubricd-compose-") as scratch:
        root = Path(scratch, "rubricd")
        for step in ("packages", "program"):
            dockerfile.lay_out(dockerfile.stage(step), root)
        for name in ("Dockerfile", ".dockerignore"):
            shutil.copy(dockerfile.ROOT / name, root)
        shutil.copytree(dockerfile.ROOT / "deploy", root / "deploy", ignore=shutil.ignore_patterns("models", ".env"))
        chosen = prepare(root / "deploy")
        words = ["docker", "compose", "--project-name", f"rubricd-check-{secrets.token_hex(4)}"]
        words += ["--file", str(root / "deploy" / "compose.yaml"), "--profile", "cpu", "--profile", "tls"]
        try:
            subprocess.run([*words, "up", "--detach", "--build"], check=True)
            check(chosen, root / "deploy" / "certs" / "tls.crt")
        except BaseException:
            subprocess.run([*words, "logs", "--tail", "50"], check=False)
            raise
        finally:
            subprocess.run([*words, "down", "--volumes"], check=False)
    print("compose works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
