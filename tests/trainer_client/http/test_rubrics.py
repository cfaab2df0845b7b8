"""The client and stored rubrics, against the service itself."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine
from service.settings import Settings
from testkit.apps import fake_settings, started
from testkit.tokenizer_families import family
from trainer_client import errors, wire
from trainer_client.client import Failed, JudgeClient, Scored, reward

RUBRIC = [{"text": f"Says thing {n}.", "points": n - 1} for n in range(4)]
UNKNOWN = "knee@0123456789abcdef"


async def _build(settings: Settings) -> LoadedJudge:
    return LoadedJudge(FakeEngine(), family("qwen"))


class Recorded(httpx.ASGITransport):
    """Keeps what was sent: method, path, body."""

    def __init__(self, **app: Any) -> None:
        super().__init__(**app)
        self.sent: list[tuple[str, str, bytes]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((request.method, request.url.path, await request.aread()))
        return await super().handle_async_request(request)


@pytest.fixture
async def transport() -> AsyncIterator[Recorded]:
    app = create_app(fake_settings(), build=_build)
    async with started(app):
        yield Recorded(app=app)


@pytest.fixture
async def client(transport: Recorded) -> AsyncIterator[JudgeClient]:
    async with JudgeClient("http://localhost", transport=transport) as judge:
        yield judge


def items(rubric: Any, count: int = 3) -> list[dict[str, Any]]:
    return [{"prompt": "Q?", "response": f"Answer {n}.", "rubric": rubric} for n in range(count)]


def known(name: str = "knee") -> wire.Rubric:
    """A rubric with its criteria and its reference, as a folder of rubrics gives it."""
    rubric = wire.Rubric.model_validate(RUBRIC)
    ref = f"{name}@{wire.version_of(wire.rubric_content(rubric))}"
    return wire.Rubric.model_validate({"criteria": RUBRIC, "ref": ref})


async def test_what_is_stored_comes_back_and_is_scored_as_the_rubric_is(client: JudgeClient) -> None:
    stored = await client.rubrics.put("knee", RUBRIC)
    again = await client.rubrics.put("knee", {"criteria": RUBRIC})
    assert (stored.created, again.created, stored.ref) == (True, False, again.ref)
    rubric = await client.rubrics.get(stored.ref)
    assert (rubric.ref, rubric.criteria) == (stored.ref, known().criteria)
    assert [one.ref for one in (await client.rubrics.versions()).versions] == [stored.ref]
    inline = await client.score(items(RUBRIC))
    by_ref = await client.score(items({"ref": stored.ref}))
    assert [reward(one) for one in inline] == [reward(one) for one in by_ref]
    assert None not in [reward(one) for one in inline]
    streamed = [outcome async for _, outcome in client.stream(items({"ref": stored.ref}))]
    assert sorted(reward(one) or 0 for one in streamed) == sorted(reward(one) or 0 for one in inline)
    await client.rubrics.remove(stored.ref)
    with pytest.raises(errors.Refused, match="no such rubric"):
        await client.rubrics.get(stored.ref)


async def test_what_is_not_stored_fails_its_own_items_only(client: JudgeClient) -> None:
    outcomes = await client.score([*items(RUBRIC, 2), *items({"ref": UNKNOWN}, 1)])
    assert [type(one) for one in outcomes] == [Scored, Scored, Failed]
    failed = outcomes[2]
    assert isinstance(failed, Failed)
    assert failed.error.code == "unknown_rubric"
    assert "rubricd rubrics put" in str(failed.error)


async def test_a_known_rubric_is_sent_by_reference_and_stored_where_it_is_missing(
    client: JudgeClient, transport: Recorded
) -> None:
    rubric = known()
    inline = await client.score(items(RUBRIC))
    transport.sent.clear()
    outcomes = await client.score(items(rubric))
    assert [reward(one) for one in outcomes] == [reward(one) for one in inline]
    assert [(method, path) for method, path, _ in transport.sent] == [
        ("POST", "/v1/score"),
        ("PUT", "/v1/rubrics/knee"),
        ("POST", "/v1/score"),
    ]
    assert all(b"criteria" not in body for method, _, body in transport.sent if method == "POST")
    transport.sent.clear()
    await client.score(items(rubric))
    assert [method for method, _, _ in transport.sent] == ["POST"]
    await client.rubrics.remove(rubric.ref or "")
    request = wire.ScoreRequest.model_validate({"items": items(rubric)})
    assert len((await client.score_request(request)).results) == 3


async def test_a_store_that_keeps_nothing_is_asked_once_more_and_no_oftener(
    client: JudgeClient, transport: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*about: Any) -> None:
        return None

    monkeypatch.setattr("service.rubric_store.memory.MemoryRubricStore.get", lost)
    (outcome,) = await client.score(items(known(), 1))
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "unknown_rubric"
    assert [method for method, _, _ in transport.sent] == ["POST", "PUT", "POST"]


async def test_another_rubric_than_the_reference_names_is_a_contract_error() -> None:
    other = wire.rubric_content(wire.Rubric.model_validate(RUBRIC[:2])).decode()

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=f'{{"ref":"{UNKNOWN}",{other[1:]}')

    async with JudgeClient("http://localhost", transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(errors.ContractError, match="is not the rubric"):
            await client.rubrics.get(UNKNOWN)


async def test_what_is_no_name_is_not_sent(client: JudgeClient, transport: Recorded) -> None:
    for call in (client.rubrics.put("a/b", RUBRIC), client.rubrics.get("knee"), client.rubrics.versions("..")):
        with pytest.raises(ValueError, match=r"the name of a rubric|no latest one"):
            await call
    assert transport.sent == []
