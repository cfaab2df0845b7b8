"""What the rules find among our own labelled criteria is what the page says, and no less than it was."""

from pathlib import Path

import pytest

from tests.trainer_client.lint.labelled import OF_A_CRITERION, OF_A_PAIR, Case, counted, criteria, pairs, rubrics
from trainer_client.lint.codes import CODES

PAGE = Path(__file__).parents[3] / "docs/guide/lint.md"
ASKED = ("judged_duplicate", "judged_contradiction")
OF_A_RUBRIC = tuple(code for code in CODES if code not in (*OF_A_CRITERION, *OF_A_PAIR, *ASKED))
SEVERITIES = ("error", "warning")
FEWEST_RIGHT = 0.8
"""Of the findings of each rule on texts that it was not written for."""


@pytest.fixture(scope="module")
def known() -> list[Case]:
    return [*criteria("criteria.txt"), *pairs("pairs.txt"), *rubrics((*OF_A_RUBRIC, "duplicate_text"))]


@pytest.fixture(scope="module")
def held_out() -> list[Case]:
    return [*criteria("held_out.txt"), *pairs("held_out_pairs.txt")]


def test_the_set_has_hundreds_of_labels(known: list[Case], held_out: list[Case]) -> None:
    assert (len(known), len(held_out)) == (499, 141)
    for cases in (known, held_out):
        for code in (*OF_A_CRITERION, *OF_A_PAIR):
            labelled = [one for one in cases if code in one.codes]
            assert any(code in {own for own, _ in one.wanted} for one in labelled)
            assert any(code not in {own for own, _ in one.wanted} for one in labelled)
    assert {code for one in known for code, _ in one.wanted} == set(CODES) - set(ASKED)


def test_the_page_has_the_figures_of_today(known: list[Case], held_out: list[Case]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `") and line.split("|")[2].strip() in SEVERITIES]
    rows = {line.split("|")[1].strip(" `"): line for line in lines}
    assert [(code, line.split("|")[2].strip()) for code, line in rows.items()] == list(CODES.items())
    for code, line in rows.items():
        own, other = counted(known, code), counted(held_out, code)
        figures = own.words + (f" | {other.words}" if code in (*OF_A_CRITERION, *OF_A_PAIR) else " | - | -")
        assert line.endswith(f"| {figures} |"), f"{code}: {figures}"


def test_rules_of_numbers_are_never_wrong(known: list[Case]) -> None:
    for code in OF_A_RUBRIC:
        count = counted(known, code)
        assert count.right and not count.wrong and not count.missed, code


def test_a_finding_is_right_at_least_four_times_in_five(known: list[Case], held_out: list[Case]) -> None:
    for code in (*OF_A_CRITERION, *OF_A_PAIR):
        for cases in (known, held_out):
            count = counted(cases, code)
            assert count.right >= FEWEST_RIGHT * (count.right + count.wrong), code
