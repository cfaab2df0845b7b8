"""Documents, which the judge alone reads, over HTTP: real app, queue and caches, with the fake engine."""

from typing import Any

import httpx
import pytest

from service.engine.fake import FakeEngine
from testkit.apps import item, serving
from testkit.tokenizer_families import family
from trainer_client import wire

SECRET = "The cap heals in nine days."


async def scored(client: httpx.AsyncClient, *items: dict[str, Any], **options: Any) -> wire.ScoreResponse:
    answer = await client.post("/v1/score", json={"items": items, **options})
    assert answer.status_code == 200, answer.text
    return wire.ScoreResponse.model_validate_json(answer.content)


def prompts_of(engine: FakeEngine) -> list[str]:
    return [family("qwen").backend_tokenizer.decode(ids) for ids in engine.seen_ids]


@pytest.mark.parametrize("mode", ["verdict", "reasoned", "implicit", "likert"])
async def test_every_mode_reads_them_before_the_response(mode: str) -> None:
    engine = FakeEngine()
    async with serving(engine) as client:
        engine.seen_ids.clear()
        await scored(client, item(documents=[SECRET]), mode=mode)
    seen = prompts_of(engine)
    assert seen and all(text.index(SECRET) < text.index("Rest it.") for text in seen)


async def test_a_verdict_is_of_its_documents_and_their_order() -> None:
    """Seven sets, of which none is another's cached verdict; without any the prompt is what it always was."""
    engine = FakeEngine()
    sets = [None, ["a"], ["b"], ["a", "b"], ["b", "a"], ["ab"], ["a\n\nb"]]
    async with serving(engine) as client:
        plain = await scored(client, item())
        for documents in sets[1:]:
            answer = await scored(client, item(documents=documents))
            assert answer.usage.cache_hits == 0 and answer.usage.judgements == 2, documents
            assert answer.judge.fingerprint == plain.judge.fingerprint
        for documents in [*sets, []]:
            again = await scored(client, item(documents=documents))
            assert again.usage.judgements == 0 and again.usage.cache_hits == 2, documents


async def test_a_group_shares_its_documents() -> None:
    engine = FakeEngine()
    group = {"prompt": "Knee?", "responses": ["a", "b"], "rubric": item()["rubric"], "documents": [SECRET]}
    async with serving(engine) as client:
        engine.seen_ids.clear()
        answer = await scored(client, group)
    assert [one.status for one in answer.results] == ["ok", "ok"]
    assert [text.count(SECRET) for text in prompts_of(engine)] == [1] * 4


@pytest.mark.parametrize("documents", ["one", [""], [{"text": "x"}], ["x"] * 65])
async def test_what_is_no_list_of_texts_is_refused_by_its_place(documents: Any) -> None:
    async with serving() as client:
        answer = await client.post("/v1/score", json={"items": [item(documents=documents)]})
    assert answer.status_code == 422 and "documents" in answer.text


async def test_the_published_graders_have_no_place_for_them() -> None:
    async with serving() as client:
        for layout in ("healthbench", "simple_evals"):
            body = {"items": [item(documents=[SECRET])], "layout": layout, "mode": "reasoned"}
            answer = await client.post("/v1/score", json=body)
            assert answer.status_code == 422 and "no place for `documents`" in answer.text


async def test_pairs_labels_and_states_carry_them() -> None:
    engine = FakeEngine()
    label = {"rubric": item()["rubric"], "prompt": "Knee?", "documents": [SECRET]}
    state = {"input": "Knee?", "submission": "Rest it.", "documents": [SECRET]}
    pair = {"prompt": "Knee?", "a": "Rest it.", "b": "Run.", "documents": [SECRET]}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/compare", {"items": [pair]}),
        ("/rm", {"prompt": "Knee?", "response": "Rest it.", "label": label}),
        ("/v1/systemone", {"state": state, "questions": {"q": {"type": "noul", "instructions": "Says to rest?"}}}),
    ]
    async with serving(engine) as client:
        for route, body in bodies:
            engine.seen_ids.clear()
            answer = await client.post(route, json=body)
            assert answer.status_code == 200, (route, answer.text)
            assert all(SECRET in text for text in prompts_of(engine)) and engine.seen_ids, route
        engine.seen_ids.clear()
        other = {**state, "documents": "a text of the caller's own"}
        await client.post("/v1/systemone", json={**bodies[2][1], "state": other})
        assert all('"documents"' in text for text in prompts_of(engine)), "any other state is judged as JSON"
