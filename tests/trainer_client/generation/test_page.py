"""The page shows rubrics with what was found, escapes what models wrote, and loads nothing."""

import re

from tests.trainer_client.generation.drafts import source
from tests.trainer_client.generation.test_tally import finding, outcome
from trainer_client.generation import templates
from trainer_client.generation.consistency import Preference
from trainer_client.generation.page import Examples, page
from trainer_client.generation.run import Outcome
from trainer_client.generation.tally import Tally

SPENDING = {"requests": 7, "from_log": 3, "prompt_tokens": 1000, "completion_tokens": 200, "cost": 0.5, "uncounted": 0}


def _page(*outcomes: Outcome, cost: float | None = 0.5, uncounted: int = 0) -> str:
    tally, examples = Tally(), Examples()
    for one in outcomes:
        tally.add(one)
        examples.add(one)
    template = templates.load("rar-medicine")
    return page(tally, examples, template, "rows.jsonl", {**SPENDING, "cost": cost, "uncounted": uncounted})


def test_a_rubric_is_shown_with_its_findings_and_what_was_merged() -> None:
    html = _page(outcome((finding("vague"), finding("no_essential", criterion=None))))
    assert "Mentions rest." in html and "vague: correct the &lt;vague&gt;" in html and "no_essential: correct" in html
    assert "Merged: 1" in html and "\N{MINUS SIGN}2</b>" in html and "pitfall" in html
    assert "Rest &lt;it&gt;." in html, "the answer that was written first"


def test_texts_are_escaped_and_nothing_is_loaded() -> None:
    attack = '<script src="http://evil"></script>'
    one = outcome(source=source(id=attack, messages=({"role": "user", "content": attack},), pair=(attack, attack)))
    html = _page(one, outcome(written=None, why=attack))
    assert "<script" not in html and not re.search(r'(?:src|href)="(?!#)', html)


def test_rows_without_a_rubric_come_first_and_their_reason_is_told() -> None:
    dropped = outcome(preference=Preference(0.1, 0.2, "judge-1"), why="not preferred")
    html = _page(outcome(), outcome(written=None, why="no draft"), dropped)
    badges = re.findall(r'<span class="badge \w+">(\w+)</span>', html)
    assert badges == ["failed", "dropped", "written"]
    assert "preferred 0.100, rejected 0.200" in html and "Why rows have no rubric" in html


def test_of_many_rows_some_are_shown_and_how_many_is_said() -> None:
    html = _page(*(outcome() for _ in range(90)))
    assert html.count("<h2>Row ") == 40 and "40 of 90 rows" in html


def test_without_prices_there_is_no_cost() -> None:
    html = _page(outcome(), cost=None)
    assert ">cost<" not in html and ">requests<" in html


def test_a_cost_of_which_a_part_is_missing_is_the_least() -> None:
    assert "at least" not in _page(outcome()) and "at least 0.5000" in _page(outcome(), uncounted=1)
