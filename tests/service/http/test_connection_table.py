"""Tests of the limits on connections: counted by client, given up where they wait, refused where all work."""

import asyncio
import json
import logging
import math
import socket
import time
from collections import Counter

import pytest

from service.http.connection_table import ConnectionTable, network_of, summary
from testkit.waiting import wait_until
from tests.service.http.serving import LIMITS, UNHURRIED, connected, head, read_all, read_answer, served, statuses


class Fake:
    """A connection that records what is done to it."""

    def __init__(self, host: str = "10.0.0.1", due_s: float = math.inf) -> None:
        self.host = host
        self.due_s = due_s
        self.done: list[str] = []

    def expire(self) -> None:
        self.done.append("expired")

    def abort(self) -> None:
        self.done.append("aborted")

    def check_writing(self, now_s: float) -> None:
        self.done.append("writing")

    def check_caller(self) -> None:
        self.done.append("caller")


def table_of(connections: int = 10, per_client: int = 6) -> tuple[ConnectionTable, Counter[str]]:
    import dataclasses

    counted: Counter[str] = Counter()
    limits = dataclasses.replace(LIMITS, connections=connections, connections_per_client=per_client)
    return ConnectionTable(limits, lambda reason: counted.update([reason])), counted


def test_a_client_at_its_limit_is_refused_and_others_are_not() -> None:
    table, counted = table_of()
    assert [table.admit(Fake()) for _ in range(8)] == [None] * 6 + ["client_limit"] * 2
    assert table.admit(Fake("10.0.0.2")) is None
    assert counted == {"client_limit": 2}


def test_a_connection_that_waits_gives_its_place_to_the_clients_next() -> None:
    table, counted = table_of()
    waiting = [Fake() for _ in range(6)]
    for one in waiting:
        assert table.admit(one) is None
        table.waits(one)
    table.works(waiting[0])
    assert table.admit(Fake()) is None
    assert [one.done for one in waiting] == [[], ["aborted"], [], [], [], []]
    assert (len(table), counted) == (6, {"evicted": 1})


async def test_when_all_are_taken_the_largest_client_gives_one_up() -> None:
    table, counted = table_of()
    large, small = [Fake() for _ in range(6)], [Fake("10.0.0.2") for _ in range(4)]
    for one in small + large:
        assert table.admit(one) is None
        table.waits(one)
    await table.check(0.0)
    assert [table.admit(Fake("10.0.0.3")) for _ in range(3)] == [None] * 3
    assert [one.done for one in large] == [["aborted"]] * 3 + [[]] * 3
    assert [one.done for one in small] == [[]] * 4
    assert (len(table), counted) == (10, {"evicted": 3})


def test_a_flood_of_clients_keeps_no_other_out_between_two_passes() -> None:
    table, counted = table_of()
    for n in range(500):
        one = Fake(f"10.0.{n // 256}.{n % 256}")
        assert table.admit(one) is None
        table.waits(one)
    assert (len(table), counted) == (10, {"evicted": 490})


async def test_when_all_work_a_new_one_is_refused() -> None:
    table, counted = table_of()
    for n in range(10):
        assert table.admit(Fake(f"10.0.0.{n % 2}")) is None
    await table.check(0.0)
    assert table.admit(Fake("10.0.0.3")) == "limit"
    assert counted == {"limit": 1}


def test_without_a_free_descriptor_a_new_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoneLeft:
        exhausted = True

    monkeypatch.setattr("service.http.connection_table.SpareDescriptors", NoneLeft)
    table, counted = table_of()
    assert table.admit(Fake()) == "descriptors"
    assert counted == {"descriptors": 1}


def test_of_those_that_are_refused_a_few_may_stay_to_read_why() -> None:
    table, _ = table_of()
    refused = [Fake() for _ in range(100)]
    assert sum(table.may_linger(one) for one in refused) == 64


async def test_a_pass_ends_what_is_late_and_gives_the_loop_back() -> None:
    table, _ = table_of(1000, 1000)
    late, early = [Fake(due_s=5.0) for _ in range(500)], Fake(due_s=5.1)
    for one in [*late, early]:
        table.admit(one)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await table.check(5.0)
    counting.cancel()
    assert {tuple(one.done) for one in late} == {("expired",)}
    assert early.done == []
    assert turns >= 500 // 32


def test_what_is_gone_is_not_counted_and_can_go_twice() -> None:
    table, _ = table_of()
    one = Fake()
    table.admit(one)
    table.remove(one)
    table.remove(one)
    table.waits(one)
    assert len(table) == 0
    assert [table.admit(Fake()) for _ in range(6)] == [None] * 6


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("2001:db8::1", "20010db800000000"),
        ("2001:db8:0:0:ffff::2", "20010db800000000"),
        ("2001:db8:0:1::1", "20010db800000001"),
        ("fe80::1%eth0", "fe80000000000000"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("no:address", "no:address"),
    ],
)
def test_an_ipv6_network_is_one_client(host: str, network: str) -> None:
    assert network_of(host) == network


# With sockets.


def test_the_log_says_which_limit_it_was_and_what_to_raise() -> None:
    assert summary({"headers_too_slow": 2, "evicted": 1}, 7) == (
        "connections refused or closed: 1 evicted, 2 headers_too_slow; 7 are open"
    )
    for reason, setting in (
        ("client_limit", "`max_connections_per_client`"),
        ("limit", "`max_connections`"),
        ("descriptors", "LimitNOFILE"),
    ):
        said = summary({reason: 300}, 2048)
        assert said.startswith(f"connections refused or closed: 300 {reason}; 2048 are open; ") and setting in said


def test_too_many_connections_are_told_so_and_one_that_waits_is_given_up() -> None:
    with served(connections_per_client=3, **UNHURRIED) as server:
        with connected(server) as first, connected(server) as second, connected(server) as third:
            for connection in (first, second, third):
                connection.sendall(head("GET", "/hold"))
            wait_until(lambda: server.held == 3)
            with connected(server) as fourth, connected(server, "127.0.0.2") as other:
                answer = read_all(fourth)
                assert statuses(answer) == [503] and b"retry-after: 5" in answer
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"].startswith("your address has too many")
                other.sendall(head())
                assert read_answer(other)[0] == 200
            server.go.set()
            assert [read_answer(one) for one in (first, second, third)] == [(200, b"held")] * 3
            with connected(server) as fifth:
                fifth.sendall(head())
                assert read_answer(fifth)[0] == 200
                assert first.recv(1) == b""
        assert server.closed == {"client_limit": 1, "evicted": 1}


def test_a_flood_of_connections_never_holds_more_than_the_limit() -> None:
    with served(connections=30, connections_per_client=25, **UNHURRIED) as server:
        held = [
            socket.create_connection(("127.0.0.1", server.port), source_address=(f"127.0.0.{2 + n % 3}", 0))
            for n in range(300)
        ]
        time.sleep(0.3)
        assert len(server.table) <= 30 + 64
        with connected(server, "127.0.0.9") as victim:
            victim.sendall(head())
            assert read_answer(victim)[0] == 200
        for connection in held:
            connection.close()


async def test_a_connection_at_fault_keeps_no_other_open(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.http.connection_table._LOG_EVERY_S", 0.0)
    monkeypatch.setattr("service.http.connection_table._EVERY_S", 0.0)

    class Broken(Fake):
        def expire(self) -> None:
            self.due_s = math.inf
            raise OSError(107, "Transport endpoint is not connected")

    table, other = table_of()[0], Fake(due_s=0.0)
    for one in (Broken(due_s=0.0), other):
        table.admit(one)
    watching = asyncio.create_task(table.watch())
    while not other.done and not watching.done():
        await asyncio.sleep(0)
    watching.cancel()
    assert other.done[0] == "expired"
    assert [record.getMessage() for record in caplog.records] == ["the connections could not be looked through"]


def test_what_was_closed_is_logged_together(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.connection_table._LOG_EVERY_S", 0.2)
    with caplog.at_level(logging.WARNING, "rubricd"), served() as server:
        for _ in range(5):
            with connected(server) as connection:
                connection.sendall(b"GET")
                read_all(connection)
        wait_until(lambda: "headers_too_slow" in caplog.text)
    assert "127.0.0.1" not in " ".join(record.getMessage() for record in caplog.records)
