"""A real nginx with deploy/nginx/rubricd.conf, before replicas of a test."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from testkit.free_port import free_port
from testkit.processes import ROOT, hosted

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
