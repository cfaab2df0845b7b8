"""The service behind a real nginx, as shipped: nothing is held back, cut off, lost or sent astray."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.metrics_page import page_of
from testkit.nginx import nginx, tls_nginx
from testkit.processes import Running, service
from testkit.teams_file import auth, key, team, write
from testkit.waiting import HUNG_S
from trainer_client import wire
from trainer_client.client import Failed, JudgeClient, Scored
from trainer_client.errors import Unavailable
from trainer_client.http.headers import HEADER, affinity

FLAGS = (
    "--engine",
    "fake",
    "--canary-every-s",
    "0",
    "--exam",
    "false",  # whose last questions are asked while it serves, and would be counted with what a test asks
    "--cache-entries",
    "0",
    "--max-batch-tokens",
    "256",
    "--max-queued-tokens",
    "20000",
)
CLOSED = ("/metrics", "/v1/live", "/judge/metrics", "/judge/v1/live")
RUBRIC = [{"text": f"Criterion number {n}.", "points": 1} for n in range(3)]
PROMPTS, MEMBERS = 16, 4


class Pair:
    """Two replicas behind nginx, whose judges answer nothing from `on` to `off`. While the file `kill` is there,
    whatever is judged ends its replica."""

    def __init__(self, url: str, replicas: list[Running], hold: Path, kill: Path) -> None:
        self.url = url
        self.replicas = replicas
        self.kill = kill
        self._hold = hold

    def on(self) -> None:
        self._hold.touch()

    def off(self) -> None:
        self._hold.unlink()


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    hold, kill = folder / "hold", folder / "kill"
    flags = (*FLAGS, "--teams", str(write(folder / "teams.json", team("a"))))
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("HOLD", str(hold))
        environment.setenv("KILL", str(kill))
        replicas = [stack.enter_context(service(*flags, module="testkit.slow_service")) for _ in range(2)]
        yield Pair(stack.enter_context(nginx(folder, [one.url for one in replicas])), replicas, hold, kill)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("lasting")) as both:
        yield both


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Pair]:
    with pair(tmp_path) as both:
        yield both


def asking(both: Pair) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=both.url, headers=auth("a"), timeout=HUNG_S)


def body(prompt: str, **changes: Any) -> dict[str, Any]:
    return {"items": [{"prompt": prompt, "response": "Rest it.", "rubric": RUBRIC, **changes}]}


async def served(replicas: list[Running]) -> list[float]:
    """Answers of each with a verdict."""
    found = []
    for one in replicas:
        async with httpx.AsyncClient(base_url=one.url, timeout=HUNG_S) as direct:
            page = await page_of(direct)
        found.append(page("rubricd_requests_total", route="/v1/score", status="200"))
    return found


async def in_flight(one: Running) -> float:
    async with httpx.AsyncClient(base_url=one.url, timeout=HUNG_S) as direct:
        page = await page_of(direct)
    return page("rubricd_queued_tokens") + page("rubricd_in_flight_tokens")


async def until_held(both: Pair, tokens: float) -> float:
    """The replicas hold so many, or more."""
    async with asyncio.timeout(HUNG_S):
        while (found := sum([await in_flight(one) for one in both.replicas])) < tokens:
            await asyncio.sleep(0.02)
    return found


async def survivors(both: Pair) -> list[Running]:
    """Those that still run after one has ended. A killed process closes its connections before its end can be seen."""
    async with asyncio.timeout(HUNG_S):
        while len(found := [one for one in both.replicas if one.process.poll() is None]) == len(both.replicas):
            await asyncio.sleep(0.02)
    return found


async def test_what_the_service_says_passes_as_it_is(lasting: Pair) -> None:
    async with asking(lasting) as client:
        answer = await client.post("/v1/score", json=body("My knee hurts."))
        assert (answer.status_code, answer.headers.get_list("x-request-id")) == (200, [answer.json()["id"]])
        refused = await client.post("/v1/score", json=body("My knee hurts."), headers=auth("nobody"))
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        for path in CLOSED:
            closed = await client.get(path)
            assert (closed.status_code, closed.json()["detail"]) == (
                404,
                "metrics are not shown here: ask a replica itself",
            )
        assert (await client.get("/live")).status_code == 200  # the page, which shows that sentence
        rubric = await client.get("/v1/rubrics/metrics")  # one of this name passes
        assert rubric.json()["type"].endswith(":rubric_not_found")


async def test_a_large_body_reaches_the_service_and_one_too_large_is_refused_by_it(lasting: Pair) -> None:
    async with asking(lasting) as client:
        answer = await client.post("/v1/score", json=body("My knee hurts.", response="Rest it. " * 300_000))
        assert answer.status_code == 200
        refused = await client.post("/v1/score", content=b" " * (17 * 1024 * 1024))
    assert refused.status_code == 413
    assert wire.Problem.model_validate_json(refused.content).detail.startswith("the body holds more than")


async def test_lines_come_while_the_rest_is_judged(lasting: Pair) -> None:
    """All lines together are less than any buffer."""
    lines: list[dict[str, Any]] = []
    responses = [f"Answer {n}." + " Rest it." * 200 for n in range(3)]
    asked = body("My knee hurts.", rubric=RUBRIC[:1], response=None, responses=responses)
    ndjson = {"Accept": "application/x-ndjson"}
    async with asking(lasting) as client, client.stream("POST", "/v1/score", json=asked, headers=ndjson) as answer:
        async for line in answer.aiter_lines():
            lines.append(json.loads(line))
            if len(lines) == 1:
                lasting.on()
                assert sum([await in_flight(one) for one in lasting.replicas]) > 0
                lasting.off()
    assert sorted(line["index"] for line in lines[:-1]) == list(range(3))
    assert lines[-1]["done"] is True


async def test_over_tls_it_is_the_same_service(lasting: Pair, tmp_path: Path) -> None:
    """tls.conf in front of rubricd.conf: judged for who trusts the certificate, streamed, and without metrics."""
    with tls_nginx(tmp_path, lasting.url) as (url, certificate):
        trusted = ssl.create_default_context(cafile=certificate)
        async with httpx.AsyncClient(base_url=url, headers=auth("a"), timeout=HUNG_S, verify=trusted) as client:
            answer = await client.post("/v1/score", json=body("My knee hurts."))
            assert (answer.status_code, answer.headers.get_list("x-request-id")) == (200, [answer.json()["id"]])
            ndjson, lines = {"Accept": "application/x-ndjson"}, []
            async with client.stream("POST", "/v1/score", json=body("My hip hurts."), headers=ndjson) as streamed:
                lines = [json.loads(line) async for line in streamed.aiter_lines()]
            assert [line.get("done") for line in lines] == [None, True]
            assert {(await client.get(path)).status_code for path in CLOSED} == {404}
            assert (await client.post("/v1/score", content=b" " * (17 * 1024 * 1024))).status_code == 413
        async with httpx.AsyncClient(headers=auth("a"), timeout=HUNG_S) as stranger:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await stranger.get(f"{url}/healthz")
            plain = await stranger.get(url.replace("https", "http") + "/healthz")
        assert plain.status_code == 400  # never served, and never sent elsewhere with its key


async def test_calls_about_one_prompt_go_to_one_replica(lasting: Pair) -> None:
    shares = []
    async with asking(lasting) as client:
        for n in range(PROMPTS):
            asked = body(f"Prompt {n}.")
            value = affinity([wire.Item.model_validate(one) for one in asked["items"]], None)
            assert value is not None
            before = await served(lasting.replicas)
            calls = [client.post("/v1/score", json=asked, headers={HEADER: value}) for _ in range(MEMBERS)]
            assert [one.text for one in await asyncio.gather(*calls) if one.status_code != 200] == []
            shares.append([now - then for now, then in zip(await served(lasting.replicas), before, strict=True)])
    assert all(sorted(share) == [0, MEMBERS] for share in shares)
    assert all(sum(of_one) > 0 for of_one in zip(*shares, strict=True))


async def test_calls_that_name_no_prompt_go_to_both(lasting: Pair) -> None:
    before = await served(lasting.replicas)
    async with asking(lasting) as client:
        await asyncio.gather(*(client.post("/v1/score", json=body("My knee hurts.")) for _ in range(40)))
    assert all(now - then >= 5 for now, then in zip(await served(lasting.replicas), before, strict=True))


async def test_where_all_are_full_each_is_told_so_by_the_service(lasting: Pair) -> None:
    """And what was admitted is judged."""
    bodies = [body(f"Number {n:02}.", response="Rest it. " * 400) for n in range(60)]
    lasting.on()
    async with asking(lasting) as client:
        asked = [asyncio.create_task(client.post("/v1/score", json=one)) for one in bodies]
        async with asyncio.timeout(HUNG_S):
            while sum(task.done() for task in asked) < 20:
                await asyncio.sleep(0.02)
        lasting.off()
        answers = await asyncio.gather(*asked)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) >= 20
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.json()["type"] for answer in refused} == {"urn:rubricd:problem:overloaded"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


async def judged(both: Pair, while_held: Callable[[], Awaitable[None]]) -> list[httpx.Response]:
    """30 answers that were under way while something happened, and 30 that were asked for after it."""
    async with asking(both) as client:

        def asked(numbers: Iterable[int]) -> list[asyncio.Task[httpx.Response]]:
            bodies = [body(f"Number {n:02}.") for n in numbers]
            return [asyncio.create_task(client.post("/v1/score", json=one)) for one in bodies]

        both.on()
        under_way = asked([0])
        one = await until_held(both, 1)
        under_way += asked(range(1, 30))
        # More than 28 of them. A request counts for some per cent more where two batches compute its prefix.
        await until_held(both, 28.5 * one)
        assert all([await in_flight(replica) > 0 for replica in both.replicas])
        assert not any(answer.done() for answer in under_way)
        await while_held()
        afterwards = asked(range(30, 60))
        both.off()
        return await asyncio.gather(*under_way, *afterwards)


def assert_all_were(answers: list[httpx.Response]) -> None:
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    assert all(one["status"] == "ok" for answer in answers for one in answer.json()["results"][0]["criteria"])


async def test_what_a_replica_takes_with_it_when_it_dies_is_said_to_be_lost(mortal: Pair) -> None:
    """It is handed to no other replica by nginx: it may be what killed this one. Whoever asks later hears nothing."""

    async def killed() -> None:
        mortal.replicas[0].process.kill()
        await asyncio.to_thread(mortal.replicas[0].process.wait, 30)

    answers = await judged(mortal, killed)
    lost = [answer for answer in answers if answer.status_code != 200]
    assert 1 <= len(lost) < 30
    assert {answer.status_code for answer in lost} == {502}
    problems = [wire.Problem.model_validate_json(answer.content) for answer in lost]
    assert {problem.type for problem in problems} == {"urn:rubricd:problem:answer_lost"}
    assert {answer.headers["content-type"] for answer in lost} == {"application/problem+json"}
    assert [answer.text for answer in answers[30:] if answer.status_code != 200] == []


def client_of(both: Pair) -> JudgeClient:
    return JudgeClient(both.url, token=key("a"), batch_items=1)


async def test_the_clients_own_retry_gets_what_a_replica_took_with_it(mortal: Pair) -> None:
    items = [wire.Item.model_validate(body(f"Number {n:02}.")["items"][0]) for n in range(20)]
    mortal.on()
    async with client_of(mortal) as client:
        asked = asyncio.create_task(client.score(items))
        await until_held(mortal, 1)
        while not all([await in_flight(replica) > 0 for replica in mortal.replicas]):
            await asyncio.sleep(0.02)
        mortal.replicas[0].process.kill()
        mortal.off()
        outcomes = await asked
    assert [one for one in outcomes if not isinstance(one, Scored) or one.result.score is None] == []


async def test_a_request_that_kills_is_handed_on_by_nobody_but_once_by_the_client(mortal: Pair) -> None:
    mortal.kill.touch()
    async with asking(mortal) as client:
        answer = await client.post("/v1/score", json=body("Poison."))
    assert answer.json()["type"] == "urn:rubricd:problem:answer_lost"
    alive = await survivors(mortal)
    assert len(alive) == 1
    mortal.kill.unlink()
    item = wire.Item.model_validate(body("Not poison.")["items"][0])
    async with client_of(mortal) as client:
        [outcome] = await client.score([item])
        assert isinstance(outcome, Scored)
        mortal.kill.touch()
        # The last one ends too. Then nobody is there, which is said at once, and is no loss.
        [outcome] = await client.score([item.model_copy(update={"prompt": "Poison."})], deadline_s=10)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Unavailable)
    assert str(outcome.error).startswith("no replica can be reached (request ")
    assert await asyncio.to_thread(alive[0].process.wait, HUNG_S) != 0


async def test_who_asks_while_a_replica_drains_hears_nothing_of_it(mortal: Pair) -> None:
    draining = mortal.replicas[0]

    async def told_to_end() -> None:
        draining.process.terminate()
        async with httpx.AsyncClient(base_url=draining.url, timeout=HUNG_S) as direct:
            while (await direct.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.01)

    assert_all_were(await judged(mortal, told_to_end))
    assert await asyncio.to_thread(draining.process.wait, 30) == 0
