"""A real nginx with deploy/nginx/rubricd.conf, before replicas of a test."""

import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from testkit import guard
from testkit.free_port import free_port
from testkit.processes import ROOT, hosted
from testkit.waiting import HUNG_S

SHIPPED = ROOT / "deploy" / "nginx" / "rubricd.conf"
_PROGRAM = ROOT / ".venv" / "nginx" / "usr" / "sbin" / "nginx"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def nginx(folder: Path, replicas: Sequence[str]) -> Iterator[str]:
    """Its URL, once a replica's `/healthz` is answered through it. `replicas` are URLs, as many as the file names."""
    port = free_port()
    (folder / "rubricd.conf").write_text(_with(SHIPPED.read_text(encoding="utf-8"), port, replicas))
    (folder / "nginx.conf").write_text(_around(folder))
    command = [str(_PROGRAM), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with hosted(command, log=folder / "nginx.log", port=port, ready="/healthz", env={}) as host:
        yield host.url


@contextmanager
def tls_nginx(folder: Path, plain: str, upstream: str = "") -> Iterator[tuple[str, Path]]:
    """Its URL with `deploy/nginx/tls.conf` in front of the service at `plain`, or of what the text `upstream` names in
    place of tls-upstream-local.conf, and the certificate to trust."""
    port, certificate = free_port(), folder / "tls.crt"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(
        [*made, *names, "-keyout", folder / "tls.key", "-out", certificate],
        check=True,
        capture_output=True,
        timeout=HUNG_S,
    )
    shipped = SHIPPED.with_name("tls.conf").read_text(encoding="utf-8")
    if not upstream:
        local = SHIPPED.with_name("tls-upstream-local.conf").read_text(encoding="utf-8")
        assert "127.0.0.1:8080" in local
        upstream = local.replace("127.0.0.1:8080", urlsplit(plain).netloc)
    for place, here in {"listen 8443": f"listen 127.0.0.1:{port}", "/etc/nginx/certs": str(folder)}.items():
        assert place in shipped, place
        shipped = shipped.replace(place, here)
    (folder / "rubricd.conf").write_text(upstream + shipped)
    (folder / "nginx.conf").write_text(_around(folder))
    command = [str(_PROGRAM), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with subprocess.Popen([sys.executable, "-m", guard.__name__, *command], stdin=subprocess.PIPE) as process:
        try:
            _until_tls(f"https://127.0.0.1:{port}/healthz", certificate)
            yield f"https://127.0.0.1:{port}", certificate
        finally:
            process.communicate()


def _until_tls(url: str, certificate: Path) -> None:
    """Raises AssertionError where it never answers."""
    trusted, end = ssl.create_default_context(cafile=certificate), time.monotonic() + HUNG_S
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            if httpx.get(url, verify=trusted, trust_env=False, timeout=HUNG_S).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def _with(shipped: str, port: int, replicas: Sequence[str]) -> str:
    """The file with other addresses."""
    places = {"127.0.0.1:8080": f"127.0.0.1:{port}"}
    places |= {f"127.0.0.1:{8001 + n}": urlsplit(url).netloc for n, url in enumerate(replicas)}
    for place, address in places.items():
        assert place in shipped, place
        shipped = shipped.replace(place, address)
    return shipped


def _around(folder: Path) -> str:
    """Returns what Debian's /etc/nginx/nginx.conf is on a machine: here without a daemon, and with places of the test's
    own."""
    temporary = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in _TEMPORARY)
    return (
        f"daemon off;\nuser root;\npid {folder}/nginx.pid;\nerror_log stderr warn;\n"
        "events { worker_connections 1024; }\n"
        f"http {{\n    access_log off;\n{temporary}    include {folder}/rubricd.conf;\n}}\n"
    )
