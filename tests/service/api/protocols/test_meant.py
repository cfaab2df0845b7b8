"""A body on another protocol's route is refused with the route that takes it: every body on every route that judges."""

import json
from typing import Any

from testkit.apps import serving
from tests.service.api.protocols.bodies import JUDGING, PROMPT, RESPONSE, SECRET, score_request

QUESTION = {"type": "noul", "instructions": "Does it say to rest?"}
SYSTEM_ONE = {"model": "m", "state": {"submission": RESPONSE}, "questions": {"rest": QUESTION}}
COMPARE = {"items": [{"prompt": PROMPT, "a": RESPONSE, "b": "Run."}]}
BODIES: dict[str, Any] = {
    **{path: make() for path, make in JUDGING.items()},
    "/v1/systemone": SYSTEM_ONE,
    "/v1/score": score_request(),
    "/v1/compare": COMPARE,
}
PAIRS = [(body, route) for body in BODIES for route in BODIES if body != route]


async def test_every_body_is_taken_on_its_own_route() -> None:
    async with serving() as client:
        for path, body in BODIES.items():
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, (path, answer.text)


async def test_every_body_on_every_other_route_is_told_where_to_go() -> None:
    async with serving() as client:
        for body, route in PAIRS:
            sent = json.dumps(BODIES[body]).replace(RESPONSE, SECRET)
            answer = await client.post(route, content=sent, headers={"content-type": "application/json"})
            assert answer.status_code == 422, (body, route, answer.text)
            assert f"`POST {body}`" in answer.text, (body, route, answer.text)
            assert SECRET not in answer.text, (body, route)


async def test_a_single_item_and_a_rubric_with_messages_are_known_too() -> None:
    async with serving() as client:
        [one] = score_request()["items"]
        for route in (*JUDGING, "/v1/systemone"):
            answer = await client.post(route, json=one)
            assert answer.status_code == 422 and "`POST /v1/score`" in answer.text, (route, answer.text)


async def test_a_mistake_in_the_right_bodys_form_keeps_its_place() -> None:
    async with serving() as client:
        for path, name in (("/v1/decisions", "questions"), ("/v1/systemone", "questions")):
            body = {**BODIES[path], name: [] if path == "/v1/decisions" else {}}
            answer = await client.post(path, json=body)
            assert answer.status_code == 422 and name in answer.text and "`POST" not in answer.text, answer.text
