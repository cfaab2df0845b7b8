"""Simulates a judge service that answers by a script, over httpx's MockTransport or real loopback HTTP.

It also has two clocks: one that sleeping moves, and one for many tasks that skips to the next one to wake.
"""

import asyncio
import hashlib
import heapq
import itertools
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from trainer_client import wire
from trainer_client.http.retry import Clock

FINGERPRINT = "judge-1"
Json = dict[str, Any]
Answer = Callable[[Json], httpx.Response]


class ManualClock:
    """A clock that moves when a task sleeps, and at no other time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep)


class SimulatedClock:
    """A clock for many tasks: when all of them sleep, it moves to the time of the next one to wake."""

    def __init__(self) -> None:
        self.now = 0.0
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._asleep, (self.now + seconds, next(self._order), woken))
        await woken

    async def play(self, *work: Coroutine[Any, Any, Any]) -> None:
        """Runs all coroutines to their end."""
        everything = asyncio.gather(*work)
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        while not everything.done():
            await asyncio.sleep(0)
            if not ready and self._asleep:
                self.now, _, woken = heapq.heappop(self._asleep)
                if not woken.done():
                    woken.set_result(None)
        await everything

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep)


def chance(*texts: Any) -> float:
    """This judge's P(met). It depends on the texts alone, so that a test can tell which response a score belongs to."""
    digest = hashlib.sha256("\x00".join(map(str, texts)).encode()).digest()
    return digest[0] / 255


def items(count: int, **more: Any) -> list[Json]:
    rubric = [{"text": "Is kind.", "points": 5}, {"text": "Lies.", "points": -3}]
    return [{"prompt": "Hello?", "response": f"answer {n}", "rubric": rubric, **more} for n in range(count)]


def expected_score(response: str) -> float:
    met = {text: chance(response, text) >= 0.5 for text in ("Is kind.", "Lies.")}
    return (5 * met["Is kind."] - 3 * met["Lies."]) / 5


def result(id: str, response: str, criteria: list[Json]) -> Json:
    judged = [_criterion(str(n), response, criterion) for n, criterion in enumerate(criteria)]
    gained = sum(one["points"] for one in judged if one["met"])
    wanted = sum(one["points"] for one in judged if one["points"] > 0)
    score = gained / wanted if wanted else None
    bounds = None if score is None else [score, score]
    return {"id": id, "status": "ok", "score": score, "score_bounds": bounds, "coverage": 1.0, "criteria": judged}


def _criterion(index: str, response: str, criterion: Json) -> Json:
    p = chance(response, criterion["text"])
    return {
        "id": criterion.get("id", index),
        "status": "ok",
        "met": p >= 0.5,
        "p": p,
        "p_raw": p,
        "label_mass": 0.99,
        "points": criterion["points"],
        "source": "judge",
    }


def scores(request: Json) -> Json:
    """The right answer to the body of a request."""
    results = []
    for index, item in enumerate(request["items"]):
        ids = wire.Item.model_validate(item).result_ids(index)
        responses = item.get("responses", [item.get("response")])
        criteria = item.get("rubric", {"criteria": []})["criteria"]
        results += [result(id, response, criteria) for id, response in zip(ids, responses, strict=True)]
    names = {"model": "fake", "revision": "r", "engine": "fake", "mode": request["mode"], "layout": request["layout"]}
    names |= {"batch": request["batch"]} if request.get("batch") else {}
    counts = ("judgements", "cache_hits", "deduplicated", "prompt_tokens", "cached_tokens", "completion_tokens")
    usage = dict.fromkeys(counts, 0)
    judge = {**names, "fingerprint": FINGERPRINT}
    return {"id": "req-1", "judge": judge, "results": results, "usage": usage}


def preferences(request: Json) -> Json:
    """The right answer to the body of a comparison: as `chance` of the two texts says, whichever is first."""
    results = []
    for index, item in enumerate(request["items"]):
        there = chance(item["prompt"], item.get("rubric"), item.get("reference"), item["a"])
        back = chance(item["prompt"], item.get("rubric"), item.get("reference"), item["b"])
        p = 0.5 + (there - back) / 2
        orders = [{"first": first, "p": p, "label_mass": 0.99, "source": "judge"} for first in ("a", "b")]
        named = {"id": item.get("id", str(index)), "status": "ok", "p": p, "p_raw": p}
        results.append({**named, "label_mass": 0.99, "order_effect": 0.0, "orders": orders})
    return {**scores({"items": [], "mode": "compare", "layout": "rubricd"}), "results": results}


def answered(body: Json, **headers: str) -> httpx.Response:
    return httpx.Response(200, json=body, headers={"x-request-id": "req-1", **headers})


def problem(code: str, status: int, *, retry_after: str | None = None, **more: Any) -> httpx.Response:
    body = {
        "type": f"urn:rubricd:problem:{code}",
        "title": code,
        "status": status,
        "detail": f"about {code}",
        "request_id": "req-9",
        **more,
    }
    headers = {"x-request-id": "req-9", "content-type": "application/problem+json"}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    return httpx.Response(status, json=body, headers=headers)


def judge_info(**limits: int) -> Json:
    bounds = {"max_items": 256, "max_criteria": 64, "max_body_bytes": 8_000_000, "max_model_len": 4096}
    names = {"model": "fake", "revision": "r", "engine": "fake", "fingerprint": FINGERPRINT}
    return {
        **names,
        "modes": ["verdict"],
        "layouts": ["rubricd"],
        "judges": [{**names, "mode": "verdict", "layout": "rubricd"}],
        "labels": {"Yes": 1, "No": 2},
        "label_mass_floor": 0.5,
        "limits": {**bounds, "max_queued_tokens": 100_000, **limits},
    }


def exam(trust: str, reason: str | None) -> Json:
    """One of the exams in `GET /v1/judge`."""
    names = {"mode": "verdict", "layout": "rubricd", "fingerprint": FINGERPRINT, "trust": trust, "reason": reason}
    counts = {"questions": 80, "answered": 80, "pairs": 40, "auroc": 0.5, "met_when_empty": 0.2}
    return {**names, **counts, "accuracy": {"value": 0.5, "low": 0.34, "high": 0.66}}


class Service:
    """Answers `/v1/score` with `answer(body)` and `/v1/compare` with `compares(body)`. It keeps the bodies of requests
    and the most requests at one time."""

    def __init__(self, answer: Answer | None = None, **limits: int) -> None:
        self.answer = answer or (lambda body: answered(scores(body)))
        self.compares: Answer = lambda body: answered(preferences(body))
        self.limits = limits
        self.toy = False
        self.info: Json = {}
        self.exams: list[Json] = []
        self.unserved: list[Json] = []
        self.bodies: list[Json] = []
        self.requests: list[httpx.Request] = []
        self.busy = self.busiest = 0

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        try:
            await asyncio.sleep(0)
            return self.respond(request)
        finally:
            self.busy -= 1

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == "/v1/judge":
            told = {"toy": self.toy, "exams": self.exams, "unserved": self.unserved, **self.info}
            return answered({**judge_info(**self.limits), **told})
        if request.url.path not in ("/v1/score", "/v1/compare"):
            return httpx.Response(404, text="not here")
        body = json.loads(request.content)
        self.bodies.append(body)
        return self.compares(body) if request.url.path == "/v1/compare" else self.answer(body)


@contextmanager
def served(service: Service) -> Iterator[str]:
    """The service on a loopback port; yields its URL."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond("GET")

        def do_POST(self) -> None:
            self._respond("POST")

        def _respond(self, method: str) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            url = f"http://127.0.0.1{self.path}"
            response = service.respond(httpx.Request(method, url, headers=dict(self.headers), content=content))
            with suppress(BrokenPipeError, ConnectionResetError):  # the client may have been killed
                self.send_response(response.status_code)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(response.content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # closing waits for them, so that none outlives its test
        request_queue_size = 64  # with the default of 5, a client that opens 8 at once waits a second for the sixth

    server = Server(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
