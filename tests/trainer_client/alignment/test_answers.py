"""The file of answers: what it keeps, and what it does after damage."""

from pathlib import Path

import pytest

from trainer_client.alignment.answers import Answer, Cost, open_store
from trainer_client.errors import DataError


def test_answers_and_costs_come_back_for_their_judge_alone(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    compared = Answer("ok", p=0.75, order_effect=-0.5, disagrees=False)
    with open_store(file) as store:
        store.keep("j", "k", compared, final=True)
        store.keep("j", "later", Answer("overloaded"), final=False)
        store.spend("j", "compare", Cost(1.5, 2, 4, 1, 100, 0, 7))
    with open_store(file) as store:
        assert store.answer("j", "k") == compared
        assert store.answer("j", "later") is None, "what may come later is asked again"
        assert store.answer("other", "k") is None
        store.spend("j", "compare", Cost(0.5, 1, 2, 0, 50, 10, 3))
        assert store.cost("j", "compare") == Cost(2.0, 3, 6, 1, 150, 10, 10)
        assert store.cost("j", "likert") == Cost()


def test_a_torn_last_line_is_removed_and_other_damage_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    with open_store(file) as store:
        store.keep("j", "k", Answer("ok", rating=5.0), final=True)
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"judge": "j", "key": "t')
    with open_store(file) as store:
        assert store.answer("j", "k") == Answer("ok", rating=5.0)
    assert file.read_bytes() == whole
    for damage in (b"{}\n", b"[1]\n", b"no\n", b'{"judge": "j", "key": "k", "answer": {"p": 1}}\n'):
        file.write_bytes(whole + damage)
        with pytest.raises(DataError, match=r"answers\.jsonl, line 2"), open_store(file):
            pass
