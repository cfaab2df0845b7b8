"""Embeddings of answers from an endpoint."""

from typing import Any

import pytest

from testkit.json_server import JsonServer
from trainer_client.errors import RubricdClientError
from trainer_client.evaluation.embeddings import embed


def lengths(body: dict[str, Any]) -> tuple[int, Any]:
    """The number of letters and of words of each text, in another order than asked."""
    data = [{"index": n, "embedding": [len(text), len(text.split())]} for n, text in enumerate(body["input"])]
    return 200, {"data": data[::-1]}


async def test_each_text_has_its_vector_at_its_place() -> None:
    told: list[int] = []
    with JsonServer(lengths) as server:
        found = await embed(server.url, "m", {"a": ["one", "two words"], "b": [""]}, key=None, progress=told.append)
    assert list(found) == ["a", "b"] and found["a"].tolist() == [[3, 1], [9, 2]]
    assert found["b"].tolist() == [[1, 0]], "a space stands for the empty text"
    assert sum(told) == 3 and {body["path"] for body in server.bodies} == {"/v1/embeddings"}
    assert {body["model"] for body in server.bodies} == {"m"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {"data": []}), "as an endpoint of embeddings does"),
        ((200, {"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]}), "embeddings"),
        ((404, {"error": {"message": "no such model"}}), "no such model"),
    ],
)
async def test_what_is_no_answer_is_an_error(answer: tuple[int, Any], said: str) -> None:
    with JsonServer(lambda body: answer) as server, pytest.raises(RubricdClientError, match=said):
        await embed(server.url, "m", {"a": ["one", "two"]}, key=None, progress=lambda done: None)
