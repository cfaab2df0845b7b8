"""Which of a row's answers is preferred, in every form that says it."""

from typing import Any

import pytest

from trainer_client.data.preferred import holds_pair, pair_of, prompt_of_pair
from trainer_client.data.records import RowError

USER = {"role": "user", "content": "Hi"}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": "good", "rejected": "bad"},
        {"preferred": "good", "rejected": "bad"},
        {"chosen": [said("good")], "rejected": [said("bad")]},
        {"chosen": [USER, said("good")], "rejected": [USER, said("bad")]},
        {"response_a": "bad", "response_b": "good", "winner": "B"},
        {"response_a": "good", "response_b": "bad", "winner": "model_a"},
    ],
)
def test_the_preferred_answer_comes_first(row: dict[str, Any]) -> None:
    assert holds_pair(row)
    assert pair_of(row) == ("good", "bad")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"response_a": "x", "response_b": "y"}, "`winner` is nothing|`winner` is None|`winner` is null"),
        ({"response_a": "x", "response_b": "y", "winner": "tie"}, "write A or B"),
        ({"chosen": 7, "rejected": "bad"}, "`chosen` is 7"),
        ({"prompt": "p"}, "no pair of answers"),
    ],
)
def test_a_row_that_does_not_say_it_is_refused(row: dict[str, Any], told: str) -> None:
    with pytest.raises(RowError, match=told):
        pair_of(row)


def test_the_prompt_may_stand_in_the_answers_where_they_agree_on_it() -> None:
    assert prompt_of_pair({"chosen": [USER, said("a")], "rejected": [USER, said("b")]}) == [USER]
    assert prompt_of_pair({"chosen": "a", "rejected": "b"}) is None
    other = {"role": "user", "content": "Hello"}
    with pytest.raises(RowError, match="different conversations"):
        prompt_of_pair({"chosen": [USER, said("a")], "rejected": [other, said("b")]})
