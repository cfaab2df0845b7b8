"""Tests of what the server writes itself."""

import json

import pytest

from service.http.messages import head_without_upgrade, refusal


def test_a_refusal_is_a_problem_document_and_ends_the_connection() -> None:
    head, _, body = refusal("limit", [(b"date", b"today")]).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert {"date: today", "connection: close", "retry-after: 5", f"content-length: {len(body)}"} < {*lines}
    problem = json.loads(body)
    assert (problem["status"], problem["type"]) == (503, "urn:rubricd:problem:overloaded")
    assert f"x-request-id: {problem['request_id']}" in lines


def test_who_reads_nothing_is_told_nothing() -> None:
    assert refusal("answer_unread") == b""


@pytest.mark.parametrize(
    ("connection", "kept"),
    [(b"Upgrade, HTTP2-Settings", b""), (b"close,upgrade", b"connection: close\r\n"), (b"upgrade", b"")],
)
def test_a_head_loses_its_upgrade_and_nothing_else(connection: bytes, kept: bytes) -> None:
    headers = [(b"host", b"x"), (b"connection", connection), (b"upgrade", b"h2c"), (b"http2-settings", b"AAMA")]
    head = head_without_upgrade(b"POST", b"/a?b", "1.1", [*headers, (b"content-length", b"3")])
    assert head == b"POST /a?b HTTP/1.1\r\nhost: x\r\n" + kept + b"content-length: 3\r\n\r\n"
