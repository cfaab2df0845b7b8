"""The playground as some service would serve it: what it answers is the test's to say."""

import json
from typing import Any

from playwright.sync_api import Page, Route

from service.api.pages import FOLDER
from service.api.pages.headers import headers_of
from trainer_client.pages.assembly import assembled

PAGE = assembled(FOLDER, "playground.html")
KEY = "rbd_right"
URL = "http://judge.test/"
JUDGE: dict[str, Any] = {
    "model": "m",
    "engine": "e",
    "fingerprint": "f",
    "modes": ["verdict", "reasoned", "likert"],
    "layouts": ["rubricd", "healthbench"],
    "judges": [{"fingerprint": "f", "trust": "proven"}],
}


def verdict(**fields: Any) -> dict[str, Any]:
    one = {"id": "0", "met": True, "status": "ok", "p": 0.9, "p_raw": 0.9, "source": "judge", "points": 5.0}
    return {**one, "label_mass": 1.0, "explanation": None, "detail": None, "disagreement": None, **fields}


def result(*verdicts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    whole = {"score": 1.0, "score_bounds": [1, 1], "status": "ok", "coverage": 1, "criteria": list(verdicts)}
    return {"id": "0", **whole, "rating": None, "warnings": [], **fields}


class ScriptedPage:
    """`results` answer each request in turn, the last one again and again; `refusal` answers in their place. With
    `needs_key` the service wants one. What was sent is in `asked`, and the keys it came with in `keys`."""

    def __init__(self, page: Page, *, needs_key: bool = False, **judge: Any) -> None:
        self.page = page
        self.needs_key = needs_key
        self.judge: dict[str, Any] = {**JUDGE, **judge}
        self.refusal: tuple[int, dict[str, Any] | str, dict[str, str]] | None = None
        self.no_judge: tuple[int, dict[str, Any], dict[str, str]] | None = None
        self.results: list[list[dict[str, Any]]] = [[result(verdict())]]
        self.held: list[Route] = []
        self.hold = False
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        page.route(f"{URL}**", self._route)

    def open(self) -> Page:
        self.page.goto(URL)
        return self.page

    def _route(self, route: Route) -> None:
        path = route.request.url.removeprefix(URL).partition("?")[0]
        if path == "":
            route.fulfill(body=PAGE, content_type="text/html; charset=utf-8", headers=headers_of(PAGE))
            return
        self.keys.append(route.request.header_value("authorization"))
        if self.needs_key and self.keys[-1] != f"Bearer {KEY}":
            _refuse(route, 401, problem("No or unknown key", "give a key"), {})
        elif path == "v1/judge":
            if self.no_judge:
                _refuse(route, *self.no_judge)
            else:
                route.fulfill(json=self.judge)
        elif path == "v1/rubrics/lint":
            route.fulfill(json={"findings": []})
        elif path == "v1/score":
            self._score(route)

    def _score(self, route: Route) -> None:
        sent: Any = route.request.post_data_json
        self.asked.append(sent)
        if self.hold:
            self.held.append(route)
        elif self.refusal:
            _refuse(route, *self.refusal)
        else:
            results = self.results.pop(0) if len(self.results) > 1 else self.results[0]
            judge = {
                "model": "m",
                "fingerprint": self.judge["fingerprint"],
                "mode": self.asked[-1].get("mode", "verdict"),
            }
            usage = {"judgements": 1, "cache_hits": 0, "prompt_tokens": 9, "completion_tokens": 0}
            end = {"done": True, "id": "r", "judge": judge, "usage": usage, "groups": None}
            if "ndjson" in (route.request.header_value("accept") or ""):
                lines = [*({**one, "index": index} for index, one in enumerate(results)), end]
                route.fulfill(
                    body="".join(f"{json.dumps(line)}\n" for line in lines), content_type="application/x-ndjson"
                )
            else:
                route.fulfill(json={**end, "results": results})


def problem(title: str, detail: str) -> dict[str, Any]:
    return {"title": title, "detail": detail, "errors": []}


def _refuse(route: Route, status: int, body: dict[str, Any] | str, headers: dict[str, str]) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    route.fulfill(status=status, body=text, headers={"Content-Type": "application/problem+json", **headers})
