"""What a proposer is shown, and what of its answer is taken."""

import json

import pytest

from trainer_client.live_rubrics.evolution import Proposal
from trainer_client.live_rubrics.proposing import Group, NoProposal, messages, read

GROUP = Group("r", ({"role": "user", "content": "My knee hurts {now}."},), ("Names a doctor.",), ("a", "b", "a"))


def test_the_request_holds_the_group_once() -> None:
    system, told = messages(GROUP, 2)
    assert "at most 2 new criteria" in system["content"] and '"anti_hack"' in system["content"]
    assert "My knee hurts {now}." in told["content"] and "- Names a doctor." in told["content"]
    assert told["content"].count("<answer number=") == 2


def test_long_texts_are_cut() -> None:
    long = Group("r", ({"role": "user", "content": "p" * 9000},), (), ("a" * 5000,))
    assert 12_000 < len(messages(long, 1)[1]["content"]) < 12_600


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", "```\n{}\n```", "  {}\n"])
def test_an_answer_is_read(form: str) -> None:
    told = json.dumps({"criteria": [{"text": " Asks\nsince when. ", "kind": "positive"}]})
    assert read(form.replace("{}", told)) == [Proposal("Asks since when.", "positive")]


def test_none_is_an_answer() -> None:
    assert read('{"criteria": []}') == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I propose: be nice.", "is not JSON"),
        ('{"rules": []}', "no list of criteria"),
        ("3", "no list of criteria"),
        ('{"criteria": [{"text": "a"}]}', "is not {text, kind}"),
        ('{"criteria": [{"text": "a", "kind": "negative"}]}', "is not {text, kind}"),
        ('{"criteria": [{"text": 3, "kind": "positive"}]}', "is not {text, kind}"),
        ('{"criteria": [{"text": " ", "kind": "positive"}]}', "says nothing"),
        (json.dumps({"criteria": [{"text": "a" * 401, "kind": "positive"}]}), "401 characters"),
        ('{"criteria": [{"text": "Is kind.", "kind": "positive"}, 3]}', "is not {text, kind}"),
    ],
)
def test_anything_else_is_no_proposal(text: str, why: str) -> None:
    with pytest.raises(NoProposal, match=why):
        read(text)
