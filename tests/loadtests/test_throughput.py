"""The parts of the comparison that need no engine: the work, the prompts, the theory, the figures, the guard."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.throughput import figures, models, prefix_cache_bound, workload
from loadtests.throughput.figures import OURS, PEERS, Outcome, Pass
from loadtests.throughput.plot import plot
from loadtests.throughput.requests import AFTER, BEFORE, DECODED, Prompts
from testkit import guard
from testkit.http_client import Client
from testkit.processes import ROOT, Failed, hosted


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return models.train_tokenizer()


@pytest.fixture(scope="module")
def prompts(tokenizer: Any) -> Prompts:
    return Prompts(tokenizer, models.LABELS)


@pytest.fixture(scope="module")
def group(prompts: Prompts) -> workload.Group:
    return workload.group("a test", prompts.cut)


def test_a_group_has_the_sizes_that_it_says(prompts: Prompts, group: workload.Group) -> None:
    def tokens(text: str) -> int:
        return len(prompts.segmenter.encode_untrusted(text))

    assert (tokens(group.conversation), group.verdicts) == (workload.CONVERSATION, 96)
    assert {tokens(response) for response in group.responses} == {workload.RESPONSE}
    assert len(group.responses) == workload.RESPONSES
    lengths = [tokens(criterion) for criterion in group.criteria]
    assert len(lengths) == workload.CRITERIA
    assert workload.CRITERION - workload.SPREAD <= min(lengths) < max(lengths) <= workload.CRITERION + workload.SPREAD


def test_the_same_seed_gives_the_same_text_and_another_one_another_beginning(
    prompts: Prompts, group: workload.Group
) -> None:
    assert workload.group("a test", prompts.cut) == group
    other = workload.group("another", prompts.cut)
    assert other.conversation[:40] != group.conversation[:40]
    assert len({response[:40] for response in group.responses}) == workload.RESPONSES


def test_the_tokenizer_is_the_same_each_time(tokenizer: Any) -> None:
    assert models.train_tokenizer().get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("labels", [("Yes", "No"), ("true", "false"), (" true", " false")])
def test_labels_are_one_token_each_after_the_prompt(tokenizer: Any, labels: tuple[str, str]) -> None:
    assert len(set(Prompts(tokenizer, labels).label_ids)) == 2


def test_a_text_that_is_too_short_is_not_cut(prompts: Prompts) -> None:
    with pytest.raises(ValueError, match="cannot be cut"):
        prompts.cut("short", 50)


def _total(prompts: list[list[tuple[int, ...]]]) -> int:
    return sum(len(ids) for response in prompts for ids in response)


def test_everybody_is_sent_the_service_s_text(tokenizer: Any, prompts: Prompts, group: workload.Group) -> None:
    """Token counts may differ by one where two segments meet; the text may not."""
    ours = [[tokenizer.decode(ids) for ids in response] for response in prompts.token_ids(group)]
    calls = [json.loads(body) for body in prompts.generative_scoring(group)]
    chats = [[json.loads(body)["messages"] for body in bodies] for bodies in prompts.one_token_chat(group)]
    assert [[call["query"] + item for item in call["items"]] for call in calls] == ours
    rendered = [
        [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in response]
        for response in chats
    ]
    assert rendered == ours


def test_the_published_pattern_has_the_published_sizes(prompts: Prompts, group: workload.Group) -> None:
    one = json.loads(prompts.json_per_criterion(group, hot=True)[0][0])
    assert one["max_tokens"] == one["min_tokens"] == DECODED
    content = one["messages"][0]["content"]
    before = content.partition("# Conversation")[0]
    after = content.partition(group.criteria[0])[2]
    assert len(prompts.segmenter.encode_untrusted(before)) == BEFORE
    assert len(prompts.segmenter.encode_untrusted(after)) == pytest.approx(AFTER, abs=2)
    assert all(text in content for text in (group.conversation, group.responses[0]))


def _made(conversation: int, responses: list[int], criteria: int, seed: int) -> list[tuple[int, ...]]:
    """Prompts of these lengths in which nothing else is alike."""
    tokens = iter(range(seed * 10_000_000, (seed + 1) * 10_000_000))
    rng = random.Random(seed)

    def some(count: int) -> tuple[int, ...]:
        return tuple(next(tokens) for _ in range(count))

    begin = some(conversation)
    return [
        shared + some(rng.randint(40, 80))
        for shared in [begin + some(length) for length in responses]
        for _ in range(criteria)
    ]


@pytest.mark.parametrize("block", [1, 16, 128])
@pytest.mark.parametrize("seed", range(5))
def test_the_closed_form_counts_as_a_cache_does(block: int, seed: int) -> None:
    rng = random.Random(seed)
    conversation, criteria = rng.randint(1, 900), rng.randint(1, 13)
    responses = [rng.randint(1, 900) for _ in range(rng.randint(1, 9))]
    counted = prefix_cache_bound.cached(_made(conversation, responses, criteria, seed), block)
    assert prefix_cache_bound.group_cached(conversation, responses, criteria, block) == counted


def test_the_published_figure_for_one_response() -> None:
    """12 criteria of 40 tokens on 1,700: 89.3 % in blocks of 16 (1,696 of 1,740 tokens in 11 of 12 prompts)."""
    assert prefix_cache_bound.group_cached(500, [1200], 12, 16) / (12 * 1740) == pytest.approx(0.893, abs=5e-4)


def test_a_prompt_that_is_known_to_its_end_computes_its_last_token() -> None:
    assert prefix_cache_bound.cached([tuple(range(256))] * 2, 128) == 128
    assert prefix_cache_bound.cached([tuple(range(257))] * 2, 128) == 256


def test_the_theory_holds_for_the_prompts_that_are_sent(prompts: Prompts, group: workload.Group) -> None:
    rendered = prompts.token_ids(group)
    conversation, responses = prompts.lengths(group)
    flat = [ids for response in rendered for ids in response]
    assert prefix_cache_bound.cached(flat, 128) == prefix_cache_bound.group_cached(
        conversation, responses, workload.CRITERIA, 128
    )
    assert 0.85 < prefix_cache_bound.cached(flat, 128) / _total(rendered) < 0.92


def _pass(rate: float, verdicts: int = 96) -> Pass:
    return Pass(
        seconds=verdicts / rate,
        verdicts=verdicts,
        prompt_tokens=1000 * verdicts,
        cached_tokens=900 * verdicts,
        decoded_tokens=0,
        theory=900 * verdicts,
        front_end_cpu=0.096,
        engine_cpu=0.96,
        client_cpu=0.0096,
        latencies=(1.0, 2.0, 3.0, 4.0),
    )


def _outcome(*rates: float) -> Outcome:
    return Outcome(cold=tuple(map(_pass, rates)), warm=(_pass(1000.0),))


def test_a_ratio_is_the_median_over_the_turns() -> None:
    assert figures.ratio(_outcome(10, 10, 1), _outcome(5, 8, 5)) == pytest.approx(1.25)


def test_every_peer_has_a_ratio_or_null() -> None:
    outcomes = {OURS: _outcome(10), "raw": _outcome(8), "library": Outcome(failed="no network\nlog")}
    found = figures.ratios(outcomes)
    assert tuple(found) == PEERS
    assert found["raw"] == pytest.approx(1.25)
    assert [found[peer] for peer in PEERS[1:]] == [None] * 5


def test_no_ratio_without_our_own_figures() -> None:
    assert set(figures.ratios({"raw": _outcome(8), OURS: Outcome(failed="died")}).values()) == {None}


def test_what_is_told_of_passes() -> None:
    told = figures.told([_pass(10.0), _pass(30.0)])
    assert told is not None
    assert told["verdicts_per_s"] == pytest.approx(15.0)
    assert told["prefix_hit"] == told["prefix_hit_theory"] == pytest.approx(0.9)
    assert told["tokens_computed_per_verdict"] == pytest.approx(100)
    assert told["cpu_s_per_1000_verdicts"] == pytest.approx({"front_end": 1.0, "engine": 10.0, "client": 0.1})
    assert told["latency_s"] == {"p50": 2.0, "p95": 4.0}


def test_theory_is_not_told_where_a_pass_has_none() -> None:
    told = figures.told([_pass(10.0), replace(_pass(10.0), theory=None)])
    assert told is not None
    assert told["prefix_hit_theory"] is None


def test_the_table_says_who_failed_and_gives_no_number_for_it() -> None:
    text = figures.table("request", {OURS: _outcome(10), "library": Outcome(failed="no network\nlong log")})
    assert text.splitlines()[-1].split() == ["library", "failed:", "no", "network"]
    assert "90.00%" in text


def test_the_picture_is_drawn_with_a_ratio_missing(tmp_path: Path) -> None:
    ratios = {peer: 2.0 for peer in PEERS} | {"library": None}
    facts = {"ratios": {"request": ratios}, "models": {"request": {"parameters": 500_000}}}
    plot(facts, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_host_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such model'); raise SystemExit(3)"]
    host = hosted(command, log=tmp_path / "log", port=9, ready="/", env={})
    with pytest.raises(Failed, match="it ended; its log ends:\nno such model"), host:
        pass


async def test_the_client_keeps_its_connection_and_refuses_an_error() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for status in (b"200 OK", b"503 Busy"):
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head.split(b"\r\n")[0] + await reader.readexactly(4))
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Client(server.sockets[0].getsockname()[1]) as client:
        assert await client.post("/a", b"body") == b"hello"
        with pytest.raises(Failed, match="/b answered 503: hello"):
            await client.post("/b", b"more")
    assert seen == [b"POST /a HTTP/1.1body", b"POST /b HTTP/1.1more"]


_FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


def _gone(pid: int) -> bool:
    return pid not in guard.descendants(1) and not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("how", ["its pipe closes", "its owner is killed"])
def test_a_guard_leaves_nothing_behind(how: str, tmp_path: Path) -> None:
    guarded = [sys.executable, "-m", guard.__name__, sys.executable, "-c", _FAMILY]
    owner = (
        "import subprocess, sys, time\n"
        "subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "time.sleep(60)\n"
    )  # fmt: skip
    command = guarded if how == "its pipe closes" else [sys.executable, "-c", owner, *guarded]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        os.kill(pids[1], signal.SIGSTOP)
        if how == "its pipe closes":
            process.stdin.close()
        else:
            process.kill()
        deadline = time.monotonic() + 20
        while not all(map(_gone, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert all(map(_gone, pids))
