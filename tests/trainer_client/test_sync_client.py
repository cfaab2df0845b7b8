"""The client without an event loop, and over several of them: threads, forks, interrupts, and what is left behind."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import (
    FINGERPRINT,
    Json,
    ManualClock,
    Service,
    answered,
    expected_score,
    items,
    problem,
    scores,
    served,
)
from testkit.waiting import HUNG_S
from trainer_client import errors, wire
from trainer_client.client import JudgeClient, Scored, reward


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "rubricd-client"}


def test_one_client_serves_one_asyncio_run_after_another() -> None:
    """Every second call once raised "Event loop is closed"."""
    service = Service()
    with served(service) as url:
        client = JudgeClient(url, concurrency=2, batch_items=1)
        for _ in range(5):
            outcomes = asyncio.run(client.score(items(4)))
            assert [reward(one) for one in outcomes] == [expected_score(f"answer {n}") for n in range(4)]
        del client
        gc.collect()  # a connection that was left open would warn, and a warning is an error here


def _scripted(answer: Callable[[Json], httpx.Response], **more: Any) -> tuple[JudgeClient, Service]:
    service = Service(answer)
    clock = ManualClock().clock
    return JudgeClient("http://judge", transport=service.transport, clock=clock, batch_items=1, **more), service


def test_calls_that_wait_for_the_judge_do_so_in_each_loop() -> None:
    """The line in which they wait belongs to a loop: in the second one it once was another loop's lock."""
    turn = count()
    client, _ = _scripted(lambda body: answered(scores(body)) if next(turn) % 4 == 3 else problem("unavailable", 503))
    for _ in range(3):
        outcomes = asyncio.run(client.score(items(3), wait_for_judge_s=10_000.0))
        assert [reward(one) for one in outcomes] == [expected_score(f"answer {n}") for n in range(3)]


def test_the_budget_of_retries_is_one_over_all_loops() -> None:
    client, service = _scripted(lambda body: problem("unavailable", 503), concurrency=20)
    for _ in range(4):
        asyncio.run(client.score(items(5)))
    assert len(service.bodies) == 4 * 5 + 8


def test_closing_within_a_loop_lets_the_next_call_open_again() -> None:
    async def twice(client: JudgeClient) -> list[float | None]:
        found = []
        for _ in range(2):
            async with client:
                found += [reward(one) for one in await client.score(items(1))]
        return found

    with served(Service()) as url:
        assert asyncio.run(twice(JudgeClient(url))) == [expected_score("answer 0")] * 2


def test_every_method_waits_for_its_answer() -> None:
    service = Service()
    seen: dict[int, float | None] = {}
    with served(service) as url, JudgeClient.sync(url) as client:
        outcomes = client.score(items(3), on_outcome=lambda place, outcome: seen.update({place: reward(outcome)}))
        assert seen == dict(enumerate(map(reward, outcomes)))
        assert [reward(one) for one in outcomes] == [expected_score(f"answer {n}") for n in range(3)]
        assert client.judge().fingerprint == FINGERPRINT
        request = wire.ScoreRequest.model_validate({"items": items(1)})
        assert client.score_request(request).results[0].score == expected_score("answer 0")
        assert client.ready() is False  # this service has no such route
        with pytest.raises(errors.ContractError):
            client.lint([{"text": "Is kind.", "points": 1}])
        with pytest.raises(TypeError, match="unknown options: modus"):
            client.score(items(1), modus="verdict")  # type: ignore[call-arg]
    assert not _threads()


def test_calls_from_many_threads_share_one_loop() -> None:
    service = Service()
    with served(service) as url, JudgeClient.sync(url, concurrency=4) as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: reward(client.score([items(n + 1)[n]])[0]), range(200)))
        assert len(_threads()) == 1
    assert found == [expected_score(f"answer {n}") for n in range(200)]


def test_it_works_where_a_loop_runs_already() -> None:
    """As in a notebook."""

    async def cell(url: str) -> list[Any]:
        return JudgeClient.sync(url).score(items(1))

    with served(Service()) as url:
        (outcome,) = asyncio.run(cell(url))
    assert isinstance(outcome, Scored)


def test_a_call_out_of_its_own_thread_is_an_error_and_no_deadlock() -> None:
    with served(Service()) as url, JudgeClient.sync(url) as client:
        with pytest.raises(RuntimeError, match="would wait for itself"):
            client.score(items(1), on_outcome=lambda place, outcome: client.score(items(1)))  # type: ignore[arg-type]
        assert len(client.score(items(1))) == 1


def test_a_client_that_is_dropped_leaves_no_thread() -> None:
    with served(Service()) as url:
        client = JudgeClient.sync(url)
        client.score(items(1))
        (own,) = _threads()
        del client
        gc.collect()
        own.join(HUNG_S)
    assert not own.is_alive()


@contextmanager
def _kept_alive(ended: threading.Event) -> Iterator[str]:
    """A service that ends a connection when it was idle for a moment, and sets `ended` then."""

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 0.05

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = json.dumps(scores(body)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def shutdown_request(self, request: Any) -> None:
            super().shutdown_request(request)
            ended.set()

    with Server(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_client_that_outlives_its_service_is_dropped_without_a_warning() -> None:
    """What the service has closed only the client knows, and the collector may take both at once."""
    ended = threading.Event()
    with _kept_alive(ended) as url:
        client: Any = JudgeClient.sync(url)
        client.score(items(1))
        assert ended.wait(HUNG_S)
    for _ in range(3):
        assert client.score([]) == []  # turns of its loop, which hears of the end
    circle = [client]
    circle.append(circle)
    (own,) = _threads()
    del client, circle
    gc.collect()
    own.join(HUNG_S)
    gc.collect()
    assert not own.is_alive()


def test_closing_ends_the_calls_under_way() -> None:
    asked, free = threading.Event(), threading.Event()

    def answer(body: Json) -> httpx.Response:
        asked.set()
        free.wait(HUNG_S)
        return answered(scores(body))

    with served(Service(answer)) as url, ThreadPoolExecutor(1) as pool:
        client = JudgeClient.sync(url)
        call = pool.submit(client.score, items(1))
        asked.wait(HUNG_S)
        client.close()
        with pytest.raises(CancelledError):
            call.result(HUNG_S)
        free.set()
        assert isinstance(client.score(items(1))[0], Scored), "a closed client opens again"
        client.close()


def _stream_lines(body: Json) -> httpx.Response:
    whole = scores(body)
    lines = [json.dumps({"index": n, **one}) for n, one in enumerate(whole["results"])]
    lines.append(json.dumps({"done": True, "judge": whole["judge"], "usage": whole["usage"]}))
    return httpx.Response(200, text="\n".join(lines) + "\n", headers={"content-type": "application/x-ndjson"})


def test_a_stream_is_an_iterator_and_may_be_left() -> None:
    with served(Service(_stream_lines)) as url, JudgeClient.sync(url) as client:
        came = dict(client.stream(items(10)))
        assert [reward(came[n]) for n in range(10)] == [expected_score(f"answer {n}") for n in range(10)]
        with closing(client.stream(items(10))) as stream:
            next(stream)
        assert len(dict(client.stream(items(2)))) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_connections_of_its_own() -> None:
    """Run in a process of its own, because forking one with pytest's threads is no test of the client."""
    code = """
import os, sys
from trainer_client import JudgeClient, reward
client = JudgeClient.sync(sys.argv[1])
items = [{"prompt": "p", "response": "r", "rubric": [{"text": "Is kind.", "points": 1}]}]
before = reward(client.score(items)[0])
child = os.fork()
mine = reward(client.score(items)[0]) == before
if child == 0:
    del client
    os._exit(0 if mine else 1)
_, status = os.waitpid(child, 0)
again = reward(client.score(items)[0]) == before
sys.exit(0 if mine and again and os.waitstatus_to_exitcode(status) == 0 else 1)
"""
    with served(Service()) as url:
        _quiet(code, url)


@pytest.mark.parametrize("client", ["JudgeClient.sync(sys.argv[1])", "Async()"])
def test_a_process_that_never_closes_its_client_ends_without_a_word(client: str) -> None:
    code = f"""
import asyncio, sys
from trainer_client import JudgeClient
class Async:
    def __init__(self):
        self.client = JudgeClient(sys.argv[1])
    def score(self, items):
        return asyncio.run(self.client.score(items))
client = {client}
items = [{{"prompt": "p", "response": "r", "rubric": [{{"text": "Is kind.", "points": 1}}]}}]
for _ in range(2):
    assert len(client.score(items)) == 1
"""
    with served(Service()) as url:
        _quiet(code, url)


def test_an_interrupt_ends_a_call_that_waits() -> None:
    code = """
import signal, sys, threading
from trainer_client import JudgeClient
signal.signal(signal.SIGINT, signal.default_int_handler)
client = JudgeClient.sync(sys.argv[1])
items = [{"prompt": "p", "response": "r", "rubric": [{"text": "Is kind.", "points": 1}]}]
try:
    client.score(items, wait_for_judge_s=60.0)
except KeyboardInterrupt:
    sys.exit(7)
"""
    asked = threading.Event()

    def answer(body: Json) -> httpx.Response:
        asked.set()
        return problem("unavailable", 503)

    with served(Service(answer)) as url:
        command = [sys.executable, "-W", "always", "-c", code, url]
        # Where the tests run in the background of a shell, what they start ignores the signal, but for the first line.
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert asked.wait(HUNG_S)
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=HUNG_S)
            finally:
                process.kill()
    assert (process.returncode, said) == (7, "")


def _quiet(code: str, url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, url], capture_output=True, text=True, timeout=HUNG_S
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_stream_that_outlives_its_client_does_not_end_as_if_it_were_whole() -> None:
    with served(Service(_stream_lines)) as url:
        with JudgeClient.sync(url) as client:
            stream, left = client.stream(items(10)), client.stream(items(10))
            next(stream), next(left)
        before = threading.active_count()
        with pytest.raises(RuntimeError, match="closed before its stream had ended"):
            next(stream)
        left.close()
        assert threading.active_count() == before, "no thread is begun for what is over"
