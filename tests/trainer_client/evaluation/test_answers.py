"""Answers of a policy: from an endpoint in chunks and seeds, from files, and from rows."""

import json
from pathlib import Path

import pytest

from testkit.chat_server import Asked, Raw, chat_server
from trainer_client import wire
from trainer_client.endpoint import AnswerLog, ChatEndpoint
from trainer_client.errors import DataError, RubricdClientError
from trainer_client.evaluation.answers import Answer, Prompt, answers_of_items, ask_policy, read_answers
from trainer_client.http.retry import RetryPolicy
from trainer_client.policy_answers import PolicyAnswers

READER = PolicyAnswers("remove")


def prompt(id: str, seed: int = 0) -> Prompt:
    return Prompt(id, seed, [{"role": "user", "content": f"about {id}"}])


def spoken(asked: Asked) -> list[str]:
    return [f"<think>hm</think>{asked.last}, {asked.body['seed']}, {n}" for n in range(asked.n)]


async def test_each_prompt_and_seed_gets_its_samples_and_the_log_gives_them_again(tmp_path: Path) -> None:
    told: list[int] = []
    prompts = [prompt("a", 0), prompt("b", 0), prompt("a", 2)]
    with chat_server(spoken) as server:
        for _ in range(2):
            with AnswerLog(tmp_path / "answers.jsonl") as log:
                async with ChatEndpoint(server.url, "m", log=log) as endpoint:
                    found = await ask_policy(
                        endpoint,
                        prompts,
                        samples=20,
                        sampling={"temperature": 0.5},
                        reader=READER,
                        workers=3,
                        progress=told.append,
                    )
        assert len(server.asked) == 6, "two chunks for each of three, and none the second time"
        assert {asked.body["temperature"] for asked in server.asked} == {0.5}
    assert sum(told) == 2 * 60
    assert set(found) == {("a", 0), ("b", 0), ("a", 2)} and {len(some) for some in found.values()} == {20}
    texts = [one.text for one in found["a", 2]]
    assert texts == [f"about a, 2000000, {n}" for n in range(16)] + [f"about a, 2000016, {n}" for n in range(4)]


async def test_what_an_endpoint_refuses_is_one_error(tmp_path: Path) -> None:
    with chat_server(lambda asked: Raw(400, {"error": {"message": "too long"}})) as server:
        async with ChatEndpoint(server.url, "m", retry=RetryPolicy(attempts=1)) as endpoint:
            with pytest.raises(RubricdClientError, match="too long"):
                await ask_policy(
                    endpoint, [prompt("a")], sampling={}, reader=READER, workers=4, progress=lambda done: None
                )


def test_a_file_has_seeds_or_they_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    lines = [
        {"id": "a", "response": "one"},
        {"id": 7, "response": "<think>cut off"},
        {"id": "a", "responses": ["two", "three"]},
        {"id": "b", "seed": 4, "completion": [{"role": "assistant", "content": "four"}]},
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    ids = frozenset({"a", "b", "7"})
    assert read_answers(file, READER, ids=ids) == {
        ("a", 0): [Answer("one")],
        ("7", 0): [Answer("")],
        ("a", 1): [Answer("two")],
        ("a", 2): [Answer("three")],
        ("b", 4): [Answer("four")],
    }
    assert list(read_answers(file, READER, ids=frozenset({"7"}), others=True)) == [("7", 0)]
    several = read_answers(file, READER, ids=ids, samples=4)
    assert [one.text for one in several["a", 0]] == ["one", "two", "three"]


def test_rows_hold_answers_of_as_many_seeds() -> None:
    items = [
        wire.Item(prompt="?", responses=["x", "y"]),
        wire.Item(id="named", prompt="?", response="<think>no</think>z"),
    ]
    assert answers_of_items(items, READER) == {
        ("0", 0): [Answer("x")],
        ("0", 1): [Answer("y")],
        ("named", 0): [Answer("z")],
    }
    assert list(answers_of_items(items, READER, samples=2)) == [("0", 0), ("named", 0)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"response": "x"}, "no `id`"),
        ({"id": "c", "response": "x"}, "no prompt has it"),
        ({"id": "a"}, "no `response`"),
        ({"id": "a", "response": "x", "seed": -1}, "whole number"),
        ({"id": "a", "response": [{"role": "user", "content": "x"}]}, "texts"),
    ],
)
def test_a_wrong_line_is_named_with_what_to_write(tmp_path: Path, line: object, said: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps(line))
    with pytest.raises(DataError, match=f"answers.jsonl, line 1: .*{said}"):
        read_answers(file, READER, ids=frozenset({"a"}))
