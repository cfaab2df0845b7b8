"""A prompt in which the assistant has called a tool keeps the call, from the file to the policy and to the judge."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_client.data.test_items import lines_file
from trainer_client import wire
from trainer_client.data.items import read_items
from trainer_client.data.joined import Rubrics
from trainer_client.data.reader import LENIENT, Law
from trainer_client.data.rows import Row, read_rows
from trainer_client.scaffold import for_template
from trainer_client.trl.prompt_row import bare, row_of, with_row
from trainer_client.verl import rows as verl_rows

Json = dict[str, Any]
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": "neck"}'}}
PROMPT: list[Json] = [
    {"role": "user", "content": "My neck is stiff."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "ginger tea", "name": "look_up"},
]
ROW: Json = {"id": "a", "prompt": PROMPT, "rubric": [{"text": "Says tea.", "points": 1}]}
KEPT: list[Any] = [
    {"role": "user", "content": "My neck is stiff."},
    {"role": "assistant", "content": "", "tool_calls": [{key: CALL[key] for key in ("type", "function")}]},
    {"role": "tool", "content": "ginger tea", "name": "look_up"},
]


@pytest.fixture
def row(tmp_path: Path) -> Row:
    (found,) = read_rows(lines_file(tmp_path, ROW))
    return found


def test_a_row_keeps_its_calls(row: Row) -> None:
    assert list(row.messages) == KEPT


def test_policy_and_judge_see_them_through_a_table_with_nulls(row: Row) -> None:
    """A data set gives every turn all keys that any turn has."""
    prompt = [{"tool_calls": None, "name": None, **message} for message in with_row(row)]
    assert bare(prompt) == KEPT and row_of(prompt)["id"] == "a"
    item = wire.Item.model_validate({"prompt": bare(prompt), "response": ""})
    assert not isinstance(item.prompt, str) and item.prompt[1].tool_calls == [
        wire.ToolCall(name="look_up", arguments='{"q": "neck"}')
    ]
    (scored,) = (wire.Item.model_validate({**ROW, "response": ""}),)
    assert item.prompt == scored.prompt, "a training's judge sees what `rubricd score` sends"


@pytest.mark.parametrize(
    ("arguments", "taken"), [('{"q": "neck"}', {"q": "neck"}), ("neck", "neck"), ("[1]", "[1]"), ("", "")]
)
def test_a_template_gets_arguments_as_an_object_where_they_are_one(row: Row, arguments: str, taken: Any) -> None:
    messages: list[Any] = json.loads(json.dumps(KEPT))
    messages[1]["tool_calls"][0]["function"]["arguments"] = arguments
    told: list[Any] = list(for_template(messages))
    assert told[1]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": taken}
    assert told[0] is messages[0] and messages[1]["tool_calls"][0]["function"]["arguments"] == arguments


def test_verls_rows_keep_them(tmp_path: Path, row: Row) -> None:
    from pyarrow import parquet

    verl_rows.to_parquet([row], tmp_path / "train.parquet", split="train")
    (sample,) = parquet.read_table(tmp_path / "train.parquet").to_pylist()
    own = verl_rows.prompt_row(sample["extra_info"])
    assert own.row == row
    prompt = own.item("Rest.").prompt
    assert not isinstance(prompt, str) and prompt[1].tool_calls is not None


def test_rows_are_joined_by_a_conversation_with_calls(tmp_path: Path) -> None:
    rubrics = Rubrics(lines_file(tmp_path, ROW, {**ROW, "id": "b", "prompt": PROMPT[:1]}, name="train.jsonl"), LENIENT)
    answer = {"prompt": PROMPT, "response": "Drink tea."}
    (item,) = read_items(lines_file(tmp_path, answer), law=Law(join=rubrics.joined))
    assert item.rubric is not None and not isinstance(item.prompt, str)
    assert item.prompt[1].tool_calls == [wire.ToolCall(name="look_up", arguments='{"q": "neck"}')]
