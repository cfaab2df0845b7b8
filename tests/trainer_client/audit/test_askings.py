"""Rows are single responses with criteria for the judge, from as many prompts as there are."""

from collections import Counter

from trainer_client import wire
from trainer_client.audit.askings import Asking, audit_rows


def _item(prompt: str, rubric: object = None, **fields: object) -> wire.Item:
    rubric = rubric or [{"text": "Is kind.", "points": 1}]
    return wire.Item.model_validate({"prompt": prompt, "rubric": rubric, **fields})


def test_what_cannot_be_audited_is_counted_with_its_reason() -> None:
    rule = {"text": "Says yes.", "points": 1, "verifier": {"rule": "contains", "text": "yes"}}
    turns = [{"role": "assistant", "content": "a"}, {"role": "tool", "content": "b"}]
    chosen = audit_rows(
        [
            _item("a", response="fine"),
            _item("a", response=" "),
            _item("b", [rule], response="fine"),
            _item("b", [rule, {"text": "Is kind.", "points": 1}], response="fine"),
            _item("c", response=turns),
        ],
        50,
    )
    assert [row.name for row in chosen.rows] == ["0", "3"]
    assert [one.id for one in chosen.rows[1].criteria] == ["1"]
    assert chosen.left_out == {"an empty response": 1, "no criterion for the judge": 1, "a trajectory": 1}


def test_a_sample_takes_every_prompt_before_a_second_response_to_one() -> None:
    items = [_item(str(n), responses=[f"{n} {k}" for k in range(8)], id=str(n)) for n in range(20)]
    chosen = audit_rows(items, 50)
    per_prompt = Counter(row.group for row in chosen.rows)
    assert len(chosen.rows) == 50 and set(per_prompt.values()) == {2, 3}
    assert chosen.left_out == {"not in the sample": 110}
    assert [row.name for row in chosen.rows] == [row.name for row in audit_rows(items, 50).rows]


def test_another_answer_is_to_another_prompt_and_closest_in_length() -> None:
    items = [_item("a", responses=["x" * 10, "x" * 99]), _item("b", response="y" * 90), _item("c", response="z" * 12)]
    others = {row.response: row.other for row in audit_rows(items, 50).rows}
    assert others == {"x" * 10: "z" * 12, "x" * 99: "y" * 90, "y" * 90: "x" * 99, "z" * 12: "x" * 10}
    assert audit_rows(items[:1], 50).rows[0].other is None


def test_equal_questions_have_one_key_and_repeats_another() -> None:
    one, other = _item("a", response="b", id="1"), _item("a", response="b", metadata={"n": 1})
    assert Asking(one).key == Asking(other).key != Asking(one, attempt=1).key
    assert Asking(_item("a", response="c")).key != Asking(one).key
