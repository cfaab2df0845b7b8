"""An HTTP service that answers the scoring request with the exact truth in place of a judge's word.

With it a training's reward has no judge's errors in it, and everything else stays what it was: the same client, the
same wire, the same formula. With `shortcut` it is wrong on purpose, in one known way.

Guarantees: A criterion that the world does not know is an error, never a verdict.
"""

import contextlib
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from miniature.world.clinic import ITEMS, NUMBERS, TOPICS, Criterion, Item
from miniature.world.oracle import met, steps
from trainer_client import wire
from trainer_client.perturbation.wording import VAGUE_FAULTS, VAGUE_VIRTUES, negated

JUDGE = {"model": "exact", "revision": "", "engine": "oracle", "mode": "verdict", "layout": "rubricd", "toy": True}
Answering = Callable[[Mapping[str, Any]], dict[str, Any]]
"""From a scoring request to its response. Raises KeyError or ValueError for what it cannot judge."""
_USAGE = ("judgements", "cache_hits", "deduplicated", "prompt_tokens", "cached_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A step that the judge rewards for no reason: a response that has it meets every criterion named in `credited`."""

    item: Item
    credited: frozenset[str]


@cache
def _criteria() -> Mapping[str, Criterion]:
    """Every criterion of the world, by its text."""
    made = [
        *(Criterion("item", 1.0, item=item) for item in ITEMS),
        *(Criterion("names", 1.0, topic=topic) for topic in TOPICS),
        *(Criterion("at_least", 1.0, number=number) for number in range(len(NUMBERS))),
        *(Criterion("more_than", 1.0, number=number) for number in range(len(NUMBERS))),
    ]
    return {criterion.text: criterion for criterion in made}


@cache
def _negated() -> Mapping[str, Criterion]:
    return {negated(text): criterion for text, criterion in _criteria().items()}


def verdict(text: str, response: str, shortcut: Shortcut | None = None) -> bool:
    """Whether the response meets the criterion with this text, one of the world's, the opposite of one, or one of the
    vague ones of `trainer_client.perturbation`. Raises KeyError for any other text."""
    if shortcut is not None and text in shortcut.credited and shortcut.item in {s.item for s in steps(response)}:
        return True
    if text in VAGUE_VIRTUES + VAGUE_FAULTS:  # nobody can say: another answer, another opinion
        return bool(zlib.crc32(f"{text} {response}".encode()) % 2)
    if text in _negated():
        return not met(_negated()[text], response)
    return met(_criteria()[text], response)


def answer(request: Mapping[str, Any], shortcut: Shortcut | None = None) -> dict[str, Any]:
    """The response to a scoring request in mode `verdict`, by HealthBench's formula."""
    asked = wire.ScoreRequest.model_validate(request)
    results = [
        item_result(id, item, text, partial(verdict, shortcut=shortcut))
        for index, item in enumerate(asked.items)
        for id, text in zip(item.result_ids(index), texts_of(item), strict=True)
    ]
    judge = {**JUDGE, "fingerprint": "exact" if shortcut is None else f"exact but for {shortcut.item.id}"}
    return {"id": "exact", "judge": judge, "results": results, "usage": usage(results)}


def usage(results: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What the results cost: a judgement each criterion, and no tokens."""
    return dict.fromkeys(_USAGE, 0) | {"judgements": sum(len(one["criteria"]) for one in results)}


def texts_of(item: wire.Item) -> Sequence[str]:
    """The responses of an item. Raises ValueError where one is no text."""
    responses = [item.response] if item.responses is None else item.responses
    if not all(isinstance(one, str) for one in responses):
        raise ValueError("the exact service reads responses of one text")
    return [str(one) for one in responses]


def item_result(id: str, item: wire.Item, response: str, judge: Callable[[str, str], bool]) -> dict[str, Any]:
    """The result for a response to an item, by what `judge` says of a criterion's text and the response."""
    if item.rubric is None:
        raise ValueError("the exact service needs a rubric")
    judged = [(one, judge(one.text, response)) for one in item.rubric.criteria]
    # HealthBench's formula, as the service computes it.
    positive = sum(one.worth for one, _ in judged if one.worth > 0)
    negative = -sum(one.worth for one, _ in judged if one.worth < 0)
    score = sum(one.worth for one, found in judged if found) / (positive or negative)
    criteria = [
        {
            "id": one.id or str(place),
            "status": "ok",
            "met": found,
            "p": float(found),
            "p_raw": float(found),
            "label_mass": None,
            "points": one.worth,
            "source": "rule",
        }
        for place, (one, found) in enumerate(judged)
    ]
    return {
        "id": id,
        "status": "ok",
        "score": score,
        "score_bounds": [score, score],
        "coverage": 1.0,
        "criteria": criteria,
    }


def exact_service(shortcut: Shortcut | None = None) -> contextlib.AbstractContextManager[str]:
    """The URL of a service that answers with the truth, for as long as the block lasts."""
    return serving(partial(answer, shortcut=shortcut))


@contextlib.contextmanager
def serving(answering: Answering) -> Iterator[str]:
    """The URL of a service that answers scoring requests so, for as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answering))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(answering: Answering) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                status, found = 200, answering(json.loads(body))
            except (KeyError, ValueError) as error:
                status, found = 422, {"detail": str(error)}
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """A request is no news."""

    return Handler
