"""Real clients and the real process: curl and Java asking for HTTP/2, IPv6, a port for metrics, what keeps it from
listening in one line, and too few descriptors."""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from testkit.free_port import free_port
from testkit.processes import ROOT, Running, refused, service
from testkit.teams_file import auth, team, write
from testkit.waiting import HUNG_S, wait_until

BODY = {
    "items": [{"prompt": "My knee hurts.", "response": "Rest it.", "rubric": [{"text": "Says rest.", "points": 1}]}]
}
JAVA = """
import java.net.URI;
import java.net.http.*;

class Ask {
    public static void main(String[] given) throws Exception {
        var client = HttpClient.newHttpClient();
        var asked = HttpRequest.newBuilder(URI.create(given[0])).header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(given[1])).build();
        for (int n = 0; n < 3; n++) {
            var answer = client.send(asked, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body());
        }
    }
}
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    metrics = free_port()
    with service(
        "--engine", "fake", "--host", "::1", "--metrics-port", str(metrics), "--metrics-host", "127.0.0.1"
    ) as one:
        yield one


def metrics_of(running: Running) -> str:
    told = running.log.read_text()
    return told.partition("metrics on ")[2].split()[0]


def test_it_listens_with_ipv6_and_says_so(running: Running) -> None:
    assert running.url.startswith("http://[::1]:")
    assert httpx.post(f"{running.url}/v1/score", json=BODY, timeout=HUNG_S).status_code == 200
    page = httpx.get(f"{running.url}/", headers={"Origin": running.url}, timeout=HUNG_S)
    assert page.status_code == 200


def test_metrics_have_a_port_of_their_own(running: Running) -> None:
    assert httpx.get(f"{running.url}/metrics", timeout=HUNG_S).status_code == 404
    page = httpx.get(metrics_of(running), timeout=HUNG_S)
    assert page.status_code == 200 and "rubricd_open_connections " in page.text
    assert httpx.get(metrics_of(running).replace("/metrics", "/healthz"), timeout=HUNG_S).status_code == 404


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("framing", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]])
def test_curl_that_asks_for_http_2_is_answered(running: Running, framing: list[str]) -> None:
    command = [
        "curl",
        "-sS",
        "--http2",
        "--max-time",
        "20",
        "-d",
        json.dumps(BODY),
        *framing,
        f"{running.url}/v1/score",
    ]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S, check=True).stdout
    assert json.loads(printed)["results"][0]["status"] == "ok"


@pytest.mark.skipif(shutil.which("javac") is None, reason="needs Java")
def test_javas_http_client_is_answered(running: Running, tmp_path: Path) -> None:
    """It asks for HTTP/2 with its first request."""
    (tmp_path / "Ask.java").write_text(JAVA)
    command = ["java", "Ask.java", f"{running.url}/v1/score", json.dumps(BODY)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HUNG_S)
    assert done.returncode == 0, done.stderr
    assert [line[:13] for line in done.stdout.splitlines()] == ["200 HTTP_1_1 "] * 3


def test_half_a_connection_still_gets_its_answer(running: Running) -> None:
    body = json.dumps(BODY).encode()
    head = f"POST /v1/score HTTP/1.1\r\nHost: [::1]\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("::1", urlsplit(running.url).port or 0), timeout=HUNG_S) as connection:
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while data := connection.recv(4096):
            found += data
    assert b'"status":"ok"' in found


# What keeps it from listening.


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags in (["--port", port], ["--metrics-port", port]):
            code, said = refused("--engine", "fake", *flags)
            assert code == 2
            assert said.splitlines()[-1].startswith(f"rubricd does not start: 127.0.0.1:{port} cannot be listened on: ")
            assert "Traceback" not in said and f"`{flags[0][2:].replace('-', '_')}`" in said


@pytest.mark.parametrize("kind", ["missing", "a file", "unwritable"])
def test_a_folder_for_shared_metrics_that_cannot_be_used_is_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    if kind == "a file":
        folder.touch()
    elif kind == "unwritable":
        folder.mkdir(mode=0o500)
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    code, said = refused("--engine", "fake")
    assert code == 2 and "Traceback" not in said
    assert f"PROMETHEUS_MULTIPROC_DIR is {folder}" in said.splitlines()[-1]


# Too few descriptors.


def test_with_few_descriptors_there_are_few_connections_and_a_revoked_key_dies(tmp_path: Path) -> None:
    """600 connections come to a process that may open 300 descriptors; the teams file is read again meanwhile."""
    teams = write(tmp_path / "teams.json", team("a"), team("b"))
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--engine", "fake", "--port", str(port), "--teams", str(teams)]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=ROOT, stderr=stderr, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))
        )
    try:
        url = f"http://127.0.0.1:{port}"
        until_answers(f"{url}/readyz", process)
        assert "this process may open 300 descriptors, so it takes 44 connections" in log.read_text()
        held = [
            socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.1.{n % 200}", 0)) for n in range(600)
        ]
        assert scored(url, "a") == 200
        write(teams, team("b"))
        wait_until(lambda: scored(url, "a") == 401)
        assert scored(url, "b") == 200
        for one in held:
            one.close()
    finally:
        process.terminate()
        process.wait(HUNG_S)


def scored(url: str, name: str) -> int:
    """The status that a team gets."""
    return httpx.post(f"{url}/v1/score", json=BODY, headers=auth(name), timeout=HUNG_S).status_code


def until_answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            if httpx.get(url, timeout=HUNG_S).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("it ended")
