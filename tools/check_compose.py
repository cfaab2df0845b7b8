"""`make check-compose`: compose is brought up for real, a request is judged over TLS, and everything is taken down.

It works on a copy of `deploy/` with passwords, a key and a certificate of its own, under a project name of its own. By
default it needs a Docker engine with the compose plugin, and a registry. With `--stand-ins` it needs neither, but root,
a Debian mirror and a package index: it runs an engine of its own, buildah builds the judge's image as in `make
check-image`, and programs of Debian's packages stand for the other images (`tools/stand_ins.py`).

Guarantees: nothing that runs already is touched.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from testkit import dockerfile
from testkit.docker_engine import docker_engine
from testkit.free_port import free_port
from testkit.one_team import ITEM, KEYS, rotate
from tools import check_image, stand_ins

PORTS = ("JUDGE_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT", "TLS_PORT")
TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Bringing:
    """How compose is brought up: in which environment, with which files beside `compose.yaml`, and `up` with which
    options."""

    environment: Mapping[str, str]
    files: Sequence[Path]
    options: Sequence[str]
    grafana: bool


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


def engine_runs() -> bool:
    """Whether a Docker engine answers here."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=60).returncode == 0
    except FileNotFoundError:
        return False


def prepare(deploy: Path) -> dict[str, str]:
    """The folder as its guide prepares it. Returns what `.env` names."""
    teams, certs = deploy / "teams", deploy / "certs"
    for folder in (teams, certs, deploy / "models"):
        folder.mkdir(mode=0o755)
    rotate(teams, KEYS[0])
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(
        [*made, *names, "-keyout", certs / "tls.key", "-out", certs / "tls.crt"], check=True, capture_output=True
    )
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


def check(chosen: dict[str, str], certificate: Path, *, grafana: bool) -> None:
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
    if grafana:
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


@contextmanager
def with_stand_ins(store: Path, scratch: Path) -> Iterator[Bringing]:
    """Builds what is not in the store, and starts an engine with the images."""
    buildah = check_image.Buildah(store)
    if not stand_ins.present(buildah, check_image.BASE):
        check_image.bare(scratch / "root")
        check_image.prepare(scratch / "root")
        check_image.base_image(buildah, scratch / "root")
    if not stand_ins.present(buildah, check_image.IMAGE):
        check_image.build(buildah)
    for one in stand_ins.STAND_INS.values():
        stand_ins.make(buildah, one, scratch)
    with docker_engine(scratch / "engine") as environment:
        for image in (check_image.IMAGE, *(one.image for one in stand_ins.STAND_INS.values())):
            stand_ins.load(buildah, image, environment, scratch)
        file = scratch / "stand_ins.yaml"
        file.write_text(stand_ins.overriding(check_image.IMAGE))
        yield Bringing(environment, [file], ["--no-build"], grafana=False)


@contextmanager
def with_registry() -> Iterator[Bringing]:
    yield Bringing(os.environ, [], ["--build"], grafana=True)


def bring_up(how: Bringing, root: Path) -> None:
    """On a copy of what compose needs. Raises what `check` raises, and CalledProcessError."""
    for step in ("packages", "program"):
        dockerfile.lay_out(dockerfile.stage(step), root)
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(dockerfile.ROOT / name, root)
    shutil.copytree(dockerfile.ROOT / "deploy", root / "deploy", ignore=shutil.ignore_patterns("models", ".env"))
    chosen = prepare(root / "deploy")
    files = [root / "deploy" / "compose.yaml", *how.files]
    words = ["docker", "compose", "--project-name", f"rubricd-check-{secrets.token_hex(4)}"]
    words += [f"--project-directory={root / 'deploy'}", *(f"--file={file}" for file in files)]
    words += ["--profile=cpu", "--profile=tls"]
    try:
        subprocess.run([*words, "up", "--detach", *how.options], env=how.environment, check=True)
        check(chosen, root / "deploy" / "certs" / "tls.crt", grafana=how.grafana)
    except BaseException:
        subprocess.run([*words, "logs", "--tail", "50"], env=how.environment, check=False)
        raise
    finally:
        subprocess.run([*words, "down", "--volumes"], env=how.environment, check=False)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Brings compose up, judges a request over TLS, and takes it down.")
    parser.add_argument("--stand-ins", action="store_true", help="without a Docker engine and a registry; needs root")
    parser.add_argument("--store", type=Path, help="keep the images of --stand-ins here, and use what is there")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="rubricd-compose-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)  # the containers' users read what is mounted from there
        if args.stand_ins:
            if os.geteuid() != 0:
                print("--stand-ins needs root: debootstrap, buildah and dockerd mount file systems", file=sys.stderr)
                return 2
            if engine_runs():
                print(
                    "a Docker engine runs here, and a second one would change its rules in iptables; stop it, or leave "
                    "--stand-ins out",
                    file=sys.stderr,
                )
                return 2
            bringing = with_stand_ins(args.store or scratch / "store", scratch)
        elif (reason := engine_missing()) is not None:
            instead = "`make check-compose ARGS=--stand-ins` needs no Docker"
            print(f"compose cannot be brought up here: {reason}; {instead}", file=sys.stderr)
            return 2
        else:
            bringing = with_registry()
        with bringing as how:
            bring_up(how, scratch / "rubricd")
    print("compose works")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # takes down what is up
    sys.exit(main())
