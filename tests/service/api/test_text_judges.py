"""A judge whose server reads texts serves requests like any other, and our own routes are such servers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.engine import build as module
from service.engine.base import ReadsTexts
from service.engine.build import LoadedJudge, build
from service.engine.chat.engine import ChatEngine
from service.engine.decisions.engine import DecisionsEngine
from service.engine.decisions.protocol import ProtocolName
from service.engine.upstream.text_server import TextServerOptions
from service.errors import ConfigurationError
from service.settings import EngineSettings, Settings
from testkit import chat_judge
from testkit.apps import app_of, client_of, fake_settings, item, serving, started
from testkit.decisions_server import DecisionsServer, connect

NO_REASONS = {"reasoned": "it writes no reasons"}
LEVELS = [{"text": "Never.", "value": 0}, {"text": "At once.", "value": 1}]
GRADED = [{"text": "How clearly does it say to rest?", "points": 1, "levels": LEVELS}]
EXTRACTED = [
    {
        "text": "The number of days.",
        "points": 1,
        "extract": {"type": "number", "instructions": "Days of rest.", "rule": {"rule": "math_verify", "gold": "3"}},
    }
]
ITEMS = [
    item(),
    item(response="", prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "“Knee”?"}]),
    item(
        prompt=[
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ]
    ),
]


@asynccontextmanager
async def judging_by(engine: DecisionsEngine | ChatEngine, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    reads = ReadsTexts(engine.referable, NO_REASONS) if isinstance(engine, DecisionsEngine) else None
    if isinstance(engine, ChatEngine):
        reads = ReadsTexts(True, documents=engine.documents)

    async def loaded(settings: Settings) -> LoadedJudge:
        return LoadedJudge(engine, None, reads_texts=reads)

    app = create_app(fake_settings(**changes), build=loaded)
    async with started(app), client_of(app) as client:
        yield client


async def scored(client: httpx.AsyncClient, items: Any, **options: Any) -> dict[str, Any]:
    answer = await client.post("/v1/score", json={"items": items, **options})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def of_criteria(body: dict[str, Any], field: str) -> list[Any]:
    return [criterion[field] for result in body["results"] for criterion in result["criteria"]]


@pytest.mark.parametrize("protocol", ["system_one", "openai"])
async def test_our_own_routes_give_the_same_p_as_the_judge_behind_them(protocol: ProtocolName) -> None:
    private = {"documents": ["Rest heals.", "Ice helps."]}
    items = [*ITEMS, *([item(reference="Rest it for a week."), item(**private)] if protocol == "system_one" else [])]
    async with serving() as behind:
        first = await scored(behind, items)
        engine = await connect(httpx.ASGITransport(app=app_of(behind)), protocol=protocol)
        async with judging_by(engine) as client:
            second = await scored(client, items)
            assert of_criteria(second, "p") == pytest.approx(of_criteria(first, "p"), abs=1e-6)
            assert set(of_criteria(second, "status")) == {"ok"}
            assert set(of_criteria(second, "label_mass")) == {None}, "the protocol has no place for it"
            again = await scored(client, items)
            assert set(of_criteria(again, "source")) == {"cache"} and of_criteria(again, "p") == of_criteria(
                second, "p"
            )
            assert second["judge"]["model"] == "fake" and second["judge"]["engine"] == "decisions"
            known = second["judge"]["fingerprint"]
            refused = await client.post("/v1/score", json={"items": items, "expect_judge": "0" * 16})
            assert refused.status_code == 409 and (await scored(client, items, expect_judge=known))["results"]


async def test_what_the_protocol_cannot_ask_is_refused_with_the_reason() -> None:
    async with judging_by(await connect(DecisionsServer(), protocol="openai")) as client:
        refused: list[tuple[dict[str, Any], str]] = [
            ({"mode": "reasoned"}, "writes no reasons"),
            ({"mode": "likert"}, "rates no response"),
            ({"mode": "implicit"}, "rates no response"),
            ({"layout": "healthbench"}, "its own layout"),
            ({"judge_prompt": "question"}, "server"),
            ({"items": [item(reference="Rest.")]}, "reference"),
            ({"items": [item(documents=["Rest heals."])]}, "documents"),
            ({"items": [item(rubric=GRADED)]}, "levels"),
            ({"items": [item(rubric=EXTRACTED)]}, "extract"),
        ]
        for change, said in refused:
            answer = await client.post("/v1/score", json={"items": [item()], **change})
            assert answer.status_code == 422 and said in answer.text, answer.text
        pair = {"pairs": [{"prompt": "p", "a": "x", "b": "y"}]}
        assert (await client.post("/v1/compare", json=pair)).status_code == 422
        described = (await client.get("/v1/judge")).json()
        assert described["facts"]["weights"] == "undeclared" and described["modes"] == ["verdict"]
        assert described["labels"] == {} and described["facts"]["server"] == "http://127.0.0.1"


async def test_the_cost_that_the_server_reports_is_the_teams() -> None:
    server = DecisionsServer()
    async with judging_by(await connect(server)) as client:
        assert (await client.get("/v1/usage")).json()["cost"] is None
        server.cost = 0.25
        asked = [item(response="a"), item(response="b")]
        assert (await scored(client, asked))["usage"]["cost"] == 0.5
        body = await scored(client, asked)
        assert body["usage"]["cost"] is None and body["usage"]["prompt_tokens"] == 0, "the cache costs nothing"
        assert (await client.get("/v1/usage")).json()["cost"] == 0.5
        server.cost = None
        assert (await scored(client, [item(response="c")]))["usage"]["cost"] is None
        used = (await client.get("/v1/usage")).json()
        assert (used["cost"], used["cost_reported"]) == (None, 0.5), "a part would look like the whole"
        page = (await client.get("/metrics")).text
        assert f'rubricd_team_cost_dollars_total{{team="{used["team"]}"}} 0.5' in page
        assert f'rubricd_team_unpriced_judgements_total{{team="{used["team"]}"}}' in page
        assert 'rubricd_team_unpriced_judgements_total{team="_service"}' in page, "canaries cost, too"


async def test_an_answer_that_is_no_verdict_costs_what_the_server_says() -> None:
    server = DecisionsServer()
    server.cost = 0.25
    async with judging_by(await connect(server, protocol="openai")) as client:
        server.faults = [_refusing]
        body = await scored(client, [item()])
        assert of_criteria(body, "status") == ["abstained"] * 2 and body["usage"]["cost"] == 0.25
        assert body["usage"]["prompt_tokens"] == 50
        server.faults = [httpx.Response(500)]
        body = await scored(client, [item(response="b")])
        assert of_criteria(body, "status") == ["engine_error"] * 2 and body["usage"]["cost"] is None, "nobody says"


def _refusing(answer: dict[str, Any]) -> Any:
    answer["answers"] = [{"type": "refusal", "name": one["name"]} for one in answer["answers"]]
    return answer


async def test_a_server_that_answers_as_another_model_ends_the_judging() -> None:
    server = DecisionsServer()
    async with judging_by(await connect(server)) as client:
        server.model = "jev-2"
        assert set(of_criteria(await scored(client, [item()]), "status")) == {"engine_error"}
        answer = await client.post("/v1/score", json={"items": [item()]})
        assert answer.status_code == 503 and "another judge" in answer.text


async def test_it_is_a_member_of_a_panel_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await connect(DecisionsServer())

    async def connected(options: TextServerOptions, **more: Any) -> DecisionsEngine:
        assert (options.url, options.model, options.api_key) == ("http://s", "jev", "hidden")
        assert "hidden" not in repr(options)
        return engine

    monkeypatch.setattr(DecisionsEngine, "connect", connected)
    monkeypatch.setenv("OF_THE_TEST", "hidden")
    file = tmp_path / "judges.yaml"
    file.write_text(
        "judges:\n  both: {panel: [ours, theirs]}\n  ours: {engine: fake}\n"
        "  theirs: {engine: decisions, decisions_url: http://s, decisions_model: jev, decisions_key_env: OF_THE_TEST}\n"
    )
    app = create_app(fake_settings(judges=file))
    async with started(app), client_of(app) as client:
        found = {name: await scored(client, ITEMS, judge=name) for name in ("both", "ours", "theirs")}
        p = {name: of_criteria(body, "p") for name, body in found.items()}
        mean = [(a + b) / 2 for a, b in zip(p["ours"], p["theirs"], strict=True)]
        assert p["both"] == pytest.approx(mean) and set(of_criteria(found["both"], "status")) == {"ok"}


@pytest.mark.parametrize("tokens", [True, False])
async def test_a_chat_api_judges_with_and_without_log_probabilities(tokens: bool) -> None:
    server = chat_judge.ChatJudge(tokens=tokens)
    async with judging_by(await chat_judge.connect(server)) as client:
        items = [*ITEMS, item(reference="Rest it for a week.")]
        first = await scored(client, items)
        assert set(of_criteria(first, "status")) == {"ok"}
        assert all((mass is not None) is tokens for mass in of_criteria(first, "label_mass"))
        written = await scored(client, items, mode="reasoned")
        assert all(text.startswith("because ") for text in of_criteria(written, "explanation"))
        assert all(p * 5 == pytest.approx(round(p * 5)) for p in of_criteria(written, "p"))
        assert written["judge"]["fingerprint"] != first["judge"]["fingerprint"]
        voted = await scored(client, items, mode="reasoned", votes=2)
        assert set(of_criteria(voted, "p")) <= {0.0, 0.5, 1.0}
        assert first["usage"]["completion_tokens"] > 0
        server.mass = 0.2
        if tokens:
            low = await scored(client, [item(response="Another.")])
            assert set(of_criteria(low, "status")) == {"abstained"} and set(of_criteria(low, "p")) == {None}


async def test_the_settings_name_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TextServerOptions] = []
    engine = await connect(DecisionsServer())

    async def connected(options: TextServerOptions, **more: Any) -> DecisionsEngine:
        assert more["framing"] == "So? {criterion}"
        seen.append(options)
        return engine

    monkeypatch.setattr(DecisionsEngine, "connect", connected)
    loaded = await build(
        EngineSettings(
            engine="decisions",
            decisions_url="http://s/v1",
            decisions_model="jev",
            decisions_key="k",
            decisions_framing="So? {criterion}",
            revision="jev-1",
        )
    )
    words = module.TEXT_WORDS
    assert seen == [TextServerOptions("decisions", "http://s/v1", "jev", "k", "jev-1", words, 60.0, seen[0].clock)]
    assert loaded.reads_texts is not None and loaded.reads_texts.referable
    await loaded.engine.stop()
    for settings in (
        EngineSettings(engine="decisions", decisions_url="http://s"),
        EngineSettings(engine="decisions", decisions_url="http://s", decisions_model="m", judge="j"),
    ):
        with pytest.raises(ConfigurationError, match="decisions_model"):
            await build(settings)


async def test_a_chat_api_answers_all_criteria_of_a_response_in_one_document_a_vote() -> None:
    server = chat_judge.ChatJudge()
    rubric = [{"text": f"Criterion {n}.", "points": 1} for n in range(3)]
    async with judging_by(await chat_judge.connect(server, votes=3)) as client:
        alone = await scored(client, [item(rubric=rubric)], mode="reasoned")
        before = len(server.bodies)
        together = await scored(client, [item(rubric=rubric)], mode="reasoned", batch="all")
        assert len(server.bodies) - before == 3, "and nine where each criterion is asked by itself"
        documents = [json.loads(body["messages"][1]["content"]) for body in server.bodies[before:]]
        assert [one["criteria"] for one in documents] == [{f"c{n + 1}": f"Criterion {n}." for n in range(3)}] * 3
        again = await scored(client, [item(rubric=rubric)], mode="reasoned", batch="all")
        refused = await client.post(
            "/v1/score", json={"items": [item(rubric=GRADED)], "mode": "reasoned", "batch": "all"}
        )
    assert of_criteria(together, "p") == of_criteria(alone, "p"), "this judge looks at each criterion by itself"
    assert set(of_criteria(together, "status")) == {"ok"} and all(of_criteria(together, "explanation"))
    assert together["judge"]["fingerprint"] != alone["judge"]["fingerprint"] and together["judge"]["batch"] == "all"
    assert (together["usage"]["judgements"], together["usage"]["prompt_tokens"]) == (3, 120)
    assert set(of_criteria(again, "source")) == {"cache"} and again["usage"]["cache_hits"] == 3
    assert refused.status_code == 422 and "leave `batch` out" in refused.text


async def test_what_documents_cost_is_the_teams_and_a_part_without_a_price_leaves_none() -> None:
    def priced(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "usage": {**answer["usage"], "cost": 0.25}}

    server = chat_judge.ChatJudge()
    async with judging_by(await chat_judge.connect(server, votes=3)) as client:
        server.faults = [priced, priced, priced]
        assert (await scored(client, [item()], mode="reasoned", batch="all"))["usage"]["cost"] == 0.75
        server.faults = [priced, lambda answer: {**priced(answer), "choices": []}, None]
        other = await scored(client, [item(response="Another.")], mode="reasoned", batch="all")
    assert other["usage"]["cost"] is None and other["usage"]["completion_tokens"] >= 2


async def test_a_server_of_decisions_is_asked_for_no_documents() -> None:
    async with judging_by(await connect(DecisionsServer())) as client:
        answer = await client.post("/v1/score", json={"items": [item()], "mode": "reasoned", "batch": "all"})
    assert answer.status_code == 422 and "writes no reasons" in answer.text
