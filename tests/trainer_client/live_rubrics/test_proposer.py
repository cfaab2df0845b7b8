"""A proposer is asked once for the same group, and whatever it does costs its proposals alone."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from testkit.chat_server import Raw, chat_server
from trainer_client.endpoint import ChatEndpoint
from trainer_client.errors import DataError
from trainer_client.live_rubrics.evolution import Proposal
from trainer_client.live_rubrics.journal import Answer, Journal
from trainer_client.live_rubrics.proposer import EndpointProposer, FunctionProposer, Proposer, ask_all
from trainer_client.live_rubrics.proposing import Group

GROUPS = [Group(f"r{n}", ({"role": "user", "content": f"Case {n}?"},), ("Is kind.",), ("a", "b")) for n in range(3)]
GOOD = json.dumps({"criteria": [{"text": "Asks since when.", "kind": "positive"}]})


async def _asked(proposer: Proposer, journal: Path | None = None, step: int = 4) -> list[Answer]:
    kept = None if journal is None else Journal(journal)
    try:
        return await ask_all(proposer, GROUPS, step=step, most=2, journal=kept)
    finally:
        await proposer.aclose()


async def test_an_endpoint_is_paid_once_also_after_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "proposals.jsonl"
    with chat_server(lambda asked: "no" if "Case 1?" in asked.last else GOOD) as server:
        first = await _asked(EndpointProposer(ChatEndpoint(server.url, "writer")), path)
        assert first == [[Proposal("Asks since when.", "positive")], "the proposer's answer is not JSON", first[0]]
        assert [asked.body["seed"] for asked in server.asked] == [4] * 3
        again = await _asked(EndpointProposer(ChatEndpoint(server.url, "writer")), path)
        assert again == first and len(server.asked) == 3, "failures are told again, too"
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        assert await _asked(EndpointProposer(ChatEndpoint(server.url, "writer")), path) == first
        assert len(server.asked) == 4 and len(path.read_bytes().splitlines()) == 3
        await _asked(EndpointProposer(ChatEndpoint(server.url, "writer")), path, step=5)
        assert len(server.asked) == 7, "another step is another question"


async def test_an_endpoint_that_refuses_has_no_criteria() -> None:
    with chat_server(lambda asked: Raw(401, {"error": {"message": "who are you?"}})) as server:
        answers = await _asked(EndpointProposer(ChatEndpoint(server.url, "writer")))
    assert all(isinstance(one, str) and "who are you?" in one for one in answers)


async def test_an_endpoint_that_takes_too_long_has_no_criteria() -> None:
    class Never(ChatEndpoint):
        async def chat(self, *_: Any, **__: Any) -> Any:
            await asyncio.Event().wait()

    slow = EndpointProposer(Never("http://127.0.0.1:9", "writer"), timeout_s=0.01)
    assert await _asked(slow) == ["no answer within 0.01 s"] * 3


async def test_a_function_may_be_asynchronous_and_may_fail() -> None:
    def plain(*, answers: list[str], most: int, **_: Any) -> Any:
        return [{"text": f"Says {len(answers)} and {most}.", "kind": "anti_hack"}]

    async def later(**told: Any) -> Any:
        return plain(**told)

    wanted = [Proposal("Says 2 and 2.", "anti_hack")]
    assert await _asked(FunctionProposer("p", plain)) == [wanted] * 3 == await _asked(FunctionProposer("p", later))
    assert await _asked(FunctionProposer("p", lambda **_: 1 / 0)) == ["ZeroDivisionError: division by zero"] * 3
    assert (
        await _asked(FunctionProposer("p", lambda **_: "a"))
        == ["NoProposal: the proposer gave no list of criteria"] * 3
    )


def test_a_journal_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "proposals.jsonl"
    path.write_text('{"step": 1}\n')
    with pytest.raises(DataError, match="line 1: not a proposer's answer; bring the file back"):
        Journal(path)
