"""Rows as people's data sets have them, each read as the items that its authors mean."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_client.data.test_items import ITEM, RAR, VERL
from trainer_client import wire
from trainer_client.data import reader
from trainer_client.data.formats import table, verl
from trainer_client.data.reader import Law
from trainer_client.data.records import RowError

Json = dict[str, Any]
CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"

QUESTION = "I have a stiff neck. What should I do?"
TURNS = [{"role": "user", "content": QUESTION}]
RUBRIC: list[Json] = [
    {"criterion": "Tells the user to drink ginger tea.", "points": 7},
    {"criterion": "Tells the user to ignore the pain.", "points": -5},
]
ANSWER = "Drink ginger tea."
FIRST: Json = {"text": "Drinks tea.", "points": 1}


def _read(row: Any, law: Law = reader.LENIENT) -> wire.Item:
    return reader.to_score(row, law).item


def _refused(row: Any, law: Law = reader.LENIENT) -> str:
    with pytest.raises(RowError) as caught:
        reader.to_score(row, law)
    return str(caught.value)


HEALTHBENCH: Json = {
    "example_tags": ["theme:x"],
    "ideal_completions_data": None,
    "prompt": TURNS,
    "prompt_id": "aa-1",
    "rubrics": [{**one, "tags": ["level:example", "axis:accuracy"]} for one in RUBRIC],
    "canary": "x",
    "response": ANSWER,
}
RUBRICHUB: Json = {"question": QUESTION, "id": "q1", "rubrics": RUBRIC, "response": ANSWER}
VERL_AS_TEXT: Json = {
    "prompt": TURNS,
    "data_source": "hb",
    "reward_model": json.dumps({"style": "rubric", "ground_truth": "", "rubrics": RUBRIC}),
    "response": ANSWER,
}
COPY_AS_TEXT: Json = {
    "prompt": TURNS,
    "extra_info": json.dumps({"reward_model": json.dumps({"rubrics": RUBRIC}), "split": "train"}),
    "response": ANSWER,
}
OPEN_INSTRUCT: Json = {
    "messages": TURNS,
    "ground_truth": json.dumps(
        {"query": QUESTION, "rubrics": [{"description": one["criterion"], "weight": one["points"]} for one in RUBRIC]}
    ),
    "dataset": "rubrics",
    "response": ANSWER,
}
COMPLETION: Json = {"prompt": TURNS, "rubric": RUBRIC, "completion": [{"role": "assistant", "content": ANSWER}]}
TEXTS: Json = {"prompt": json.dumps(TURNS), "rubric": json.dumps(RUBRIC), "response": ANSWER}
ALL = {
    "HealthBench": HEALTHBENCH,
    "RubricHub": RUBRICHUB,
    "verl as text": VERL_AS_TEXT,
    "copy as text": COPY_AS_TEXT,
    "open-instruct": OPEN_INSTRUCT,
    "open-instruct in a list": {**OPEN_INSTRUCT, "ground_truth": [OPEN_INSTRUCT["ground_truth"]]},
    "completion": COMPLETION,
    "columns of text": TEXTS,
    "item in an item": {"item": {"prompt": TURNS, "rubric": RUBRIC, "response": ANSWER}},
}


@pytest.mark.parametrize("row", ALL.values(), ids=ALL)
def test_every_format_gives_the_same_criteria(row: Json) -> None:
    item = _read(row)
    prompt = [wire.Message(role="user", content=QUESTION)]
    assert item.prompt in (QUESTION, prompt) and item.response == ANSWER
    assert item.rubric is not None
    assert [(one.text, one.points) for one in item.rubric.criteria] == [(r["criterion"], r["points"]) for r in RUBRIC]
    trained = reader.for_training(row, reader.LENIENT).item
    assert (trained.rubric, trained.prompt, trained.id) == (item.rubric, item.prompt, item.id)


def test_columns_that_are_not_ours_are_metadata() -> None:
    assert _read(HEALTHBENCH).metadata == {"example_tags": ["theme:x"], "prompt_id": "aa-1", "canary": "x"}
    assert _read({**ITEM, "metadata": {"a": 1}, "b": None, "c": 2}).metadata == {"a": 1, "c": 2}
    assert _read(COPY_AS_TEXT).metadata == {"extra_info": {"split": "train"}}
    assert _read({"item": ITEM, "level": 2}).metadata == {"level": 2}
    assert _read(ITEM).metadata is None


@pytest.mark.parametrize("row", [HEALTHBENCH, {**ITEM, "difficulty": 3}, {**RAR, "note": "x"}])
def test_strict_refuses_them(row: Json) -> None:
    assert "is not read; leave it out" in _refused(row, Law(strict=True))


def test_strict_takes_what_is_read() -> None:
    assert _read({**ITEM, "metadata": {"a": 1}}, Law(strict=True)).metadata == {"a": 1}


def test_nulls_whole_numbers_and_objects_as_tags() -> None:
    tags = {"verifier": "llm", "function": None, "parameters": {"min": 3}}
    criteria = [{**FIRST, "tags": None, "id": 3}, {**FIRST, "tags": tags, "verifier": None}]
    item = _read({"id": 17, "prompt": "?", "response": "", "rubric": criteria, "reference": None, "group": 4})
    assert (item.id, item.group) == ("17", "4")
    assert item.rubric is not None
    first, second = item.rubric.criteria
    assert (first.id, first.tags) == ("3", {})
    assert second.tags == {"verifier": "llm", "parameters": '{"min": 3}'}


def test_openrubrics_numbered_lists() -> None:
    text = "1. The answer names tea. [Hard Rule]\n2. The answer is\n   kind. [Principle]\n3) No kind."
    row = {"instruction": "?", "rubric": text, "response_a": "A", "response_b": "B", "winner": "A"}
    item = _read(row)
    assert item.responses == ["A", "B"] and item.metadata == {"winner": "A"}
    assert item.rubric is not None
    assert [(one.text, one.points, one.tags) for one in item.rubric.criteria] == [
        ("The answer names tea.", 1.0, {"kind": "hard rule"}),
        ("The answer is\n   kind.", 1.0, {"kind": "principle"}),
        ("No kind.", 1.0, {}),
    ]
    assert "write a list numbered 1., 2., ..." in _refused({**row, "rubric": "Be kind."})


COMPLETIONS: Json = {
    "step": 3,
    "prompt": [{"role": "user", "content": "?", "row": json.dumps({"id": "a", "rubric": [FIRST], "reference": "R"})}],
    "completion": [{"role": "assistant", "content": "Tea."}],
    "advantage": 0.5,
    "row": "a",
    "member": 1,
    "score": 0.25,
}


def test_rollouts_of_a_training_can_be_scored_again() -> None:
    item = _read(COMPLETIONS)
    assert item.prompt == [wire.Message(role="user", content="?")]
    assert (item.response, item.reference, item.group, item.id) == ("Tea.", "R", "3/a", None)
    assert item.rubric == wire.Rubric.model_validate([FIRST])
    assert item.metadata == {"step": 3, "row": "a", "member": 1, "score": 0.25, "advantage": 0.5}
    audited = {**COMPLETIONS, "verdicts": "v" * 20_000, "examiner/verdicts": "v" * 20_000}
    assert _read(audited) == item, "what is too long for metadata stays in the table"
    bare = {**COMPLETIONS, "prompt": "rendered"}
    assert "`prompt` does not hold its row" in _refused(bare)


def test_prompt_goes_before_question_and_that_is_said() -> None:
    said: list[str] = []
    row = {"prompt": "Mine.", "question": "Other?", "rubric": RAR["rubric"], "response": "4"}
    item = _read(row, Law(say=said.append))
    assert (item.prompt, item.metadata) == ("Mine.", {"question": "Other?"})
    assert said == ["`prompt` is the conversation; `question` is not read"]
    assert reader.for_training(row, reader.LENIENT).item.prompt == "Mine."


def test_a_near_miss_is_named() -> None:
    said: list[str] = []
    assert _read({**ITEM, "refrence": "R"}, Law(say=said.append)).metadata == {"refrence": "R"}
    assert said == ["`refrence` is carried as metadata; did you mean `reference`?"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**ITEM, "rubrics": RUBRIC}, "rubrics in `rubric` and in `rubrics`; keep one of them"),
        ({**VERL, "rubrics": RUBRIC}, "rubrics in `rubrics` and in `reward_model.rubrics`; keep one"),
        ({**RAR, "rubrics": RUBRIC}, "rubrics in `rubric` and in `rubrics`; keep one"),
        ({**ITEM, "response": None, "responses": ["x"], "group": "g"}, "the row: `responses` is a group of its own"),
        ({**ITEM, "completion": "x"}, "both `response` and `completion`; keep one"),
        ({"question": "?", "response": "x"}, "no `rubric`; its columns are `question`, `response`; a row must be"),
        ({"messages": TURNS, "rubric": RUBRIC}, "`messages` and `rubric` are in no format together; name the conv"),
        ({**OPEN_INSTRUCT, "ground_truth": "42"}, "`ground_truth` is the text '42' and must hold one rubric"),
        ({**OPEN_INSTRUCT, "ground_truth": "{"}, "`ground_truth` is the text '{'; write a list or an object"),
        ({"index": 0, "id": "0", "digest": "d", "score": 1}, "a result without its `item`"),
        ({**VERL, "reward_model": "rule"}, "`reward_model` is the text 'rule'; write a list or an object"),
        ({**ITEM, "rubric": ["Be kind."]}, "`rubric[0]`: is the text 'Be kind.'; write an object"),
        ({**ITEM, "rubric": '[{"text": "t", "points": 1, "points": 2}]'}, "`rubric[0].points`: this key stands twice"),
        ({**ITEM, "id": 1.5}, "`id`: is 1.5; write a text"),
        ({**ITEM, "rubric": [{**FIRST, "weigth": 2}]}, "`rubric[0].weigth`: is not known here; did you mean"),
        ({**ITEM, "rubric": [{**FIRST, "polarity": "up"}]}, "`rubric[0].polarity`: is the text 'up'; write one of"),
        ({**ITEM, "rubric": [{**FIRST, "points": True}]}, "`rubric[0].points`: is true; write a number"),
        ({**ITEM, "rubric": [{**FIRST, "points": 1e9}]}, "`rubric[0].points`: is 1000000000.0; write at most 1e+06"),
        ({**ITEM, "rubric": [{**FIRST, "verifier": {"rule": "x"}}]}, "`rubric[0].verifier`: "),
        ({**ITEM, "rubric": [{**FIRST, "verifier": {"rule": "exact"}}]}, "`rubric[0].verifier.gold`: is missing"),
    ],
)
def test_what_is_ambiguous_or_wrong_is_refused_with_what_to_write(row: Json, said: str) -> None:
    assert _refused(row).startswith(said)


def test_the_table_has_no_two_formats_with_the_same_columns() -> None:
    columns = [form.columns for form in table.FORMATS]
    assert len(set(columns)) == len(columns)


def test_the_guide_has_the_table_in_its_order() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "guide" / "files.md").read_text(encoding="utf-8")
    lines = page.split("\n## Formats\n")[1].splitlines()
    named = [line.split("|")[2].strip() for line in lines if line.startswith("| ")][1:]
    told = [", ".join(f"`{name}`" for name in form.columns) for form in table.FORMATS if form is not verl.COPY]
    copy = "`extra_info.reward_model`"
    assert [name.removesuffix(f" or {copy}") for name in named] == told and any(copy in name for name in named)


RIGHT = {"rar_pitfall_phrased_positively.jsonl": "is a pitfall with negative points"}


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the folder of cases")
@pytest.mark.parametrize("path", sorted(CASES.glob("*.[jp]*")), ids=lambda path: path.name)
def test_what_people_bring_is_read(path: Path) -> None:
    from trainer_client.data.items import read_items
    from trainer_client.data.rows import read_rows
    from trainer_client.errors import DataError

    if path.name in RIGHT:
        with pytest.raises(DataError, match=RIGHT[path.name]):
            list(read_items(path))
    law = Law(pitfalls="met_is_good")
    assert len(list(read_items(path, law=law))) == len(list(read_rows(path, law=law))) >= 1


def _healthbench(index: int) -> Json:
    tags = [f"axis:{'accuracy' if index % 2 else 'completeness'}", "level:example"]
    rubrics = [{"criterion": f"Says {index}, {n}.", "points": n - 2 or 7, "tags": tags} for n in range(2 + index % 9)]
    turns = [{"role": ("user", "assistant")[n % 2], "content": f"{n} of {index}"} for n in range(1 + 2 * (index % 3))]
    return {"prompt": turns, "prompt_id": str(index), "example_tags": [], "rubrics": rubrics}


def _criteria(path: Path) -> list[Any]:
    from trainer_client.data.rows import read_rows

    return [[(c.text, c.points, c.tags) for c in row.rubric.criteria] for row in read_rows(path) if row.rubric]


@pytest.mark.parametrize("real", [False, True], ids=["made up", "HealthBench"])
def test_the_same_rows_in_three_formats_have_the_same_criteria(tmp_path: Path, real: bool) -> None:
    """HealthBench's own lines, RuscaRL's parquet and items: 250 rows; of the real ones 2,981 criteria."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet = CASES.parent / "data" / "healthbench_dev.parquet"
    if real:
        if not parquet.exists():
            pytest.skip("needs HealthBench's rows")
        read = pq.read_table(parquet).to_pylist()
        own = [{"prompt": one["prompt"], "rubrics": one["reward_model"]["rubrics"], "canary": "x"} for one in read]
    else:
        own = [_healthbench(index) for index in range(250)]
    models = [{"style": "rubric", "ground_truth": "", "rubrics": one["rubrics"]} for one in own]
    ruscarl = [
        {"prompt": one["prompt"], "reward_model": model, "extra_info": {"prompt": one["prompt"], "reward_model": model}}
        for one, model in zip(own, models, strict=True)
    ]
    items = [{"prompt": one["prompt"], "rubric": one["rubrics"]} for one in own]
    for name, rows in (("own", own), ("items", items)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(ruscarl), tmp_path / "ruscarl.parquet")
    first = _criteria(tmp_path / "own.jsonl")
    assert len(first) == 250 and sum(map(len, first)) == (2981 if real else 1493)
    assert first == _criteria(tmp_path / "ruscarl.parquet") == _criteria(tmp_path / "items.jsonl")


_PYDANTIC = (
    "Input should",
    "Field required",
    "Extra inputs",
    "should have at",
    "should match",
    "valid dict",
    "Value error",
)
_WRONG: list[Any] = [
    None,
    "",
    "x",
    7,
    -1.5,
    True,
    [],
    [7],
    ["x"],
    {},
    {"a": 1},
    [{}],
    [[{}]],
    10**30,
    [None],
    "[1",
    "{}",
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _changed(copy[path[0]], path[1:], new)
    return copy


def test_no_sentence_of_pydantics_is_shown() -> None:
    """Every value of every format's row replaced by 17 wrong ones, and every object given an unknown field."""
    rule = {"text": "t", "points": 1, "verifier": {"rule": "length", "max": 3}}
    tried = refused = 0
    for row in [*ALL.values(), VERL, RAR, COMPLETIONS, {**ITEM, "rubric": [rule], "id": "a", "group": "g"}]:
        for path in _places(row)[1:]:
            for new in _WRONG:
                tried += 1
                try:
                    _read(_changed(row, path, new))
                except RowError as error:
                    refused += 1
                    assert not any(words in str(error) for words in _PYDANTIC), (path, new, str(error))
    assert tried > 2_000 and refused > 1_000
