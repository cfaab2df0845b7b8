"""Questions of multiple choice: their order, and the letters read from answers."""

import json
from collections import Counter
from pathlib import Path

import pytest

from trainer_client.errors import DataError
from trainer_client.evaluation.choice import Question, chosen, put, read_questions

OPTIONS = ("4 kJ", "12 kJ", "a long story", "None of these")
QUESTION = Question("q7", "How much?", ("right", "wrong 1", "wrong 2", "wrong 3"))


def test_the_order_is_that_of_seed_and_id_and_all_orders_come() -> None:
    assert put(QUESTION, 0) == put(QUESTION, 0)
    puts = [put(QUESTION, seed) for seed in range(2400)]
    assert {one.options["ABCD".index(one.right)] for one in puts} == {"right"}
    assert len({one.options for one in puts}) == 24
    shares = Counter(one.right for one in puts)
    assert all(540 < shares[letter] < 660 for letter in "ABCD")
    for letter, option in zip("ABCD", puts[0].options, strict=True):
        assert f"\n{letter}) {option}" in puts[0].prompt
    assert "\\boxed{}" in puts[0].prompt and "{question}" not in puts[0].prompt


@pytest.mark.parametrize(
    ("answer", "letter", "how"),
    [
        ("So \\boxed{B}.", "B", "boxed"),
        ("First \\boxed{A}, no: \\boxed{\\text{C}}", "C", "boxed"),
        ("\\boxed{(D)}", "D", "boxed"),
        ("\\boxed{b) 12 kJ}", "B", "boxed"),
        ("\\boxed{12 kJ}", "B", "boxed"),
        ("\\boxed{\\text{None of these}}", "D", "boxed"),
        ("\\boxed{a long story}", "C", "boxed"),
        ("\\boxed{$4$ kJ} is not closed \\boxed{A", None, "none"),
        ("\\boxed{42}\nThe answer is B.", "B", "stated"),
        ("Answer: C", "C", "stated"),
        ("**Answer:** (A)", "A", "stated"),
        ("The correct answer is option D because it is small.", "D", "stated"),
        ("The answer is A because it is small.", "A", "stated"),
        ("The answer is A long story.", None, "none"),
        ("The answer is a strange one.", None, "none"),
        ("Answer: A or B", None, "none"),
        ("Answer: A and B", None, "none"),
        ("I think about it.\n\nB", "B", "stated"),
        ("(C).", "C", "stated"),
        ("It must be 12 kJ", "B", "stated"),
        ("Option B is wrong, and so is C.", None, "none"),
        ("\\boxed{E}", None, "none"),
        ("", None, "none"),
    ],
)
def test_a_letter_is_read_where_the_answer_states_one(answer: str, letter: str | None, how: str) -> None:
    found = chosen(answer, OPTIONS)
    assert (found.letter, found.how) == (letter, how)


def test_files_with_gpqas_columns_are_read(tmp_path: Path) -> None:
    row = {
        "Question": "What\nis it? ",
        "Correct Answer": "one",
        "Incorrect Answer 1": "two",
        "Incorrect Answer 2": "three",
        "Incorrect Answer 3": "four ",
        "Record ID": "rec1",
        "Subdomain": "Optics",
        "Explanation": "not read",
    }
    lines, table = tmp_path / "q.jsonl", tmp_path / "q.csv"
    lines.write_text(json.dumps(row) + "\n")
    table.write_text(
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,Record ID,Subdomain\n"
        '"What\nis it? ",one,two,three,four ,rec1,Optics\n'
    )
    wanted = [Question("rec1", "What\nis it?", ("one", "two", "three", "four"), "Optics")]
    assert read_questions(lines) == read_questions(table) == wanted


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"Question": "?", "Correct Answer": "a"}], "no `Incorrect Answer 1`"),
        ([{"Question": "?", "Incorrect Answer 1": "a"}], "no `Correct Answer`"),
        ([{"Question": "?", "Correct Answer": "a", "Incorrect Answer 1": "a"}], "different texts"),
        ([["no object"]], "not an object"),
        ([{"Question": "?", "Correct Answer": "a", "Incorrect Answer 1": "b", "id": "1"}] * 2, "one id"),
        ([], "holds no question"),
    ],
)
def test_a_file_without_questions_is_refused_with_the_reason(tmp_path: Path, rows: list[object], said: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(DataError, match=said):
        read_questions(file)
