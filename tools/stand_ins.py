"""Makes images of Debian's packages that stand for those of deploy/compose.yaml where no registry can be reached.

Each has the program, the user, the folders and the way to start that the real one has. Versions differ. Grafana is in
no package of Debian, so nothing stands for it.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.check_image import BASE, Buildah

NOBODY = 65534
NGINX = """\
worker_processes 1;
pid /tmp/nginx.pid;
events {}
http {
    client_body_temp_path /tmp/client;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    access_log off;
    error_log stderr;
    include /etc/nginx/conf.d/*.conf;
}
"""
"""As nginx-unprivileged has it: whatever it writes is below /tmp."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """`package` of Debian; `folders` are the user's, and what a volume there begins with."""

    package: str
    entrypoint: tuple[str, ...]
    user: int = NOBODY
    folders: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()

    @property
    def image(self) -> str:
        return f"localhost/rubricd-{self.package}:debian"


STAND_INS: Mapping[str, StandIn] = {
    "redis": StandIn("redis-server", ()),
    "prometheus": StandIn("prometheus", ("prometheus",), folders=("/prometheus",)),
    "alertmanager": StandIn("prometheus-alertmanager", ("prometheus-alertmanager",), folders=("/alertmanager",)),
    "tls": StandIn(
        "nginx-light",
        ("nginx", "-g", "daemon off;"),
        user=101,
        files=(("/etc/nginx/nginx.conf", NGINX),),
    ),
}
"""By service of compose.yaml."""


def overriding(judge: str) -> str:
    """A second file for compose, in JSON, which is YAML: the images by these names, and no Grafana."""
    services: dict[str, dict[str, object]] = {
        name: {"image": one.image, "pull_policy": "never"} for name, one in STAND_INS.items()
    }
    services["judge-cpu"] = {"image": judge, "pull_policy": "never"}
    services["grafana"] = {"profiles": ["registry"]}
    return json.dumps({"services": services}, indent=1)


def make(buildah: Buildah, one: StandIn, scratch: Path) -> None:
    """The image in buildah's store, unless it is there. Raises CalledProcessError."""
    if present(buildah, one.image):
        return
    print(f"{one.image} of Debian's {one.package}", flush=True)
    container = buildah.run("from", BASE)
    # Nothing is started while packages are installed.
    script = [
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d",
        f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {one.package} > /dev/null",
        *(f"install -d -o {one.user} -g {one.user} {folder}" for folder in one.folders),
    ]
    buildah.run("run", "--isolation=chroot", "--network=host", container, "--", "sh", "-ec", "\n".join(script))
    for place, text in one.files:
        source = scratch / "file"
        source.write_text(text)
        buildah.run("copy", "--quiet", container, str(source), place)
    buildah.run("config", f"--user={one.user}:{one.user}", f"--entrypoint={json.dumps(one.entrypoint)}", container)
    buildah.run("config", "--cmd=", container)
    buildah.run("commit", "--quiet", "--format=docker", "--rm", container, one.image)


def present(buildah: Buildah, image: str) -> bool:
    return (
        subprocess.run(buildah.command("inspect", "--type=image", image), capture_output=True, check=False).returncode
        == 0
    )


def load(buildah: Buildah, image: str, environment: Mapping[str, str], scratch: Path) -> None:
    """Gives the image to the Docker engine of this environment."""
    archive = scratch / "image.tar"
    buildah.run("push", "--quiet", image, f"docker-archive:{archive}:{image}")
    subprocess.run(["docker", "load", "--quiet", "--input", archive], env=environment, check=True)
    archive.unlink()
