"""The doctor names each thing that stands between a caller and its judge, and what to do."""

import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import judge_info, problem
from trainer_client.cli.doctor_checks import Asked, Finding, examine
from trainer_client.cli.main import main

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


class Judge:
    """A service as it should be; a test changes what is wrong with it."""

    def __init__(self) -> None:
        self.healthz = httpx.Response(200, json={"status": "alive", "version": "1.0"})
        self.readyz = httpx.Response(200, json={"status": "ready"})
        self.info: dict[str, Any] = judge_info()
        self.key: str | None = None
        self.ahead_s: float | None = 0.0
        self.fails: Exception | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.fails is not None:
            raise self.fails
        answer = {"/healthz": self.healthz, "/readyz": self.readyz}.get(request.url.path)
        if answer is None:
            known = self.key is None or request.headers.get("authorization") == f"Bearer {self.key}"
            answer = httpx.Response(200, json=self.info) if known else problem("unauthorized", 401)
        if self.ahead_s is not None:
            answer.headers["date"] = format_datetime(datetime.now(UTC) + timedelta(seconds=self.ahead_s), usegmt=True)
        return answer


def _found(judge: Judge, url: str = "http://127.0.0.1:8000", key: str | None = None) -> dict[str, Finding]:
    asked = Asked(httpx.URL(url), key, "RUBRICD_KEY", "1.0")
    found = list(examine(asked, httpx.MockTransport(judge)))
    assert all(bool(one.advice) is (one.level != "ok") for one in found), found
    return {one.check: one for one in found}


def _trust(judge: Judge, trust: str | None, *, toy: bool = False) -> None:
    own = {"model": "m", "revision": "r", "engine": "e", "mode": "verdict", "layout": "rubricd", "trust": trust}
    judge.info |= {"toy": toy, "judges": [own | {"fingerprint": judge.info["fingerprint"]}]}


def test_all_is_well() -> None:
    judge = Judge()
    _trust(judge, "proven")
    found = _found(judge)
    assert list(found) == ["reach", "clock", "versions", "ready", "key", "judge", "trust"]
    assert {one.level for one in found.values()} == {"ok"}


@pytest.mark.parametrize(
    ("error", "check", "said"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "reach", "nothing answers at 127.0.0.1:8000"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "reach", "the name 127.0.0.1 is not known"),
        (httpx.ReadTimeout("timed out"), "reach", "did not answer within 10 s"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "tls", "is not accepted"),
        (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "tls", "does not speak TLS"),
    ],
)
def test_what_does_not_answer_is_named_and_nothing_else_is_said(error: Exception, check: str, said: str) -> None:
    judge = Judge()
    judge.fails = error
    found = _found(judge)
    assert list(found) == [check] and found[check].level == "error" and said in found[check].detail


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>hello</html>"), httpx.Response(404, json={"detail": "Not Found"})]
)
def test_another_server_is_not_taken_for_the_service(answer: httpx.Response) -> None:
    judge = Judge()
    judge.healthz = answer
    found = _found(judge)
    assert list(found) == ["reach"] and "not as rubricd does" in found["reach"].detail


def test_a_dead_judge_and_one_that_is_loading() -> None:
    judge = Judge()
    judge.healthz = problem("unavailable", 503)
    assert "its judge is dead" in _found(judge)["reach"].detail
    judge = Judge()
    judge.readyz = problem("unavailable", 503)
    assert _found(judge)["ready"].level == "error" and "about unavailable" in _found(judge)["ready"].detail


@pytest.mark.parametrize(("key", "said"), [(None, "wants a key"), ("wrong", "is not known"), ("right", "accepted")])
def test_keys(key: str | None, said: str) -> None:
    judge = Judge()
    judge.key = "right"
    found = _found(judge, key=key)
    assert said in found["key"].detail
    assert ("judge" in found) is (key == "right"), "of a judge that could not be asked nothing is said"
    assert all(key is None or key not in f"{one.detail}{one.advice}" or key == "right" for one in found.values())


@pytest.mark.parametrize(("ahead_s", "said"), [(60.0, "ahead of"), (-60.0, "behind"), (2.0, "agree"), (-3.0, "agree")])
def test_clocks(ahead_s: float, said: str) -> None:
    judge = Judge()
    judge.ahead_s = ahead_s
    assert said in _found(judge)["clock"].detail


def test_nothing_is_said_of_a_clock_that_was_not_seen() -> None:
    judge = Judge()
    judge.ahead_s = None
    assert "clock" not in _found(judge)


def test_versions_that_differ() -> None:
    judge = Judge()
    judge.healthz = httpx.Response(200, json={"status": "alive", "version": "0.9"})
    assert _found(judge)["versions"] == Finding(
        "versions", "warning", "client 1.0, service 0.9",
        "read CHANGELOG.md between the two, and upgrade the service before its clients",
    )  # fmt: skip
    judge.healthz = httpx.Response(200, json={"status": "alive"})
    assert _found(judge)["versions"].level == "ok"


@pytest.mark.parametrize(
    ("trust", "toy", "said"),
    [("unproven", False, "no better"), (None, False, "does not say"), ("proven", True, "a toy")],
)
def test_a_judge_that_is_not_to_be_believed_is_a_warning(trust: str | None, toy: bool, said: str) -> None:
    judge = Judge()
    _trust(judge, trust, toy=toy)
    assert _found(judge)["trust"].level == "warning" and said in _found(judge)["trust"].detail


def test_proxies_and_clear_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy.example:3128")
    found = _found(Judge(), "http://judge.example:8000", key="k")
    assert "proxy.example" in found["proxy"].detail and "secret" not in str(found)
    assert found["tls"].level == "warning" and "the key" in found["tls"].detail
    assert _found(Judge())["proxy"].level == "warning", "a proxy for this machine's own loopback"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "proxy" not in _found(Judge())


def test_the_command_prints_json_and_ends_with_1_for_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert main(["doctor", "--url", f"http://me:secret@127.0.0.1:{port}", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False and said["url"] == f"http://127.0.0.1:{port}"
    assert [one["check"] for one in said["findings"]] == ["reach"]
    assert main(["doctor", "--url", f"http://127.0.0.1:{port}"]) == 1
    assert "-> start the service" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["ftp://x", "judge:8000", "http://"])
def test_what_is_no_address_is_misuse(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--url", url]) == 2
    assert capsys.readouterr().err.startswith("rubricd: --url: ")
