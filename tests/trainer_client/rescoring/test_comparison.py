"""Figures of a comparison by hand, and the page that shows them."""

from pathlib import Path

import pytest

from tests.trainer_client.rescoring.logs import line, written
from trainer_client.rescoring.change import Change, settings_of
from trainer_client.rescoring.comparison import ABOUT, compare
from trainer_client.rescoring.formula import Formula
from trainer_client.rescoring.page import page


def test_two_groups_by_hand(tmp_path: Path) -> None:
    """At 0.7 in place of 0.5. Group a: 7/7, 4/7, 2/7 become 5/7, 5/7, 2/7. Group b: 5/7 and 5/7 stay."""
    rollouts = written(
        tmp_path / "log.jsonl",
        [
            line("a", "1", [0.9, 0.1, 0.6]),
            line("a", "2", [0.9, 0.6, 0.9]),
            line("a", "3", [0.1, 0.1, 0.9]),
            line("b", "4", [0.9, 0.1, 0.1]),
            line("b", "5", [0.9, 0.2, 0.2]),
            line("b", "6", [0.9, None, 0.2]),
        ],
    )
    change = Change(Formula(), Formula(threshold=0.7))
    rescored = list(map(change.of, rollouts))
    assert [one.after.score for one in rescored] == [5 / 7, 7 / 7, 2 / 7, 5 / 7, 5 / 7, None]
    found = compare(rescored, before=0.5, after=0.7)
    assert dict(found.counts) == {
        "rollouts": 6,
        "with_both_scores": 5,
        "score_lost": 0,
        "score_gained": 0,
        "without_any_score": 1,
        "logged_scores": 5,
        "logged_scores_reproduced": 5,
        "rewards_of_more_than_the_score": 0,
        "criteria_only_after": 0,
        "verdicts_lost": 0,
        "verdicts_gained": 0,
        "verdicts": 17,
        "verdicts_flipped": 2,
        "groups": 2,
    }
    values = {name: figure.value for name, figure in found.figures.items()}
    # Before, group a: 1, 4/7, 2/7, mean 13/21: +, -, -. After: 5/7, 1, 2/7, mean 2/3: +, +, -.
    assert values == {
        "score_before": pytest.approx((7 + 4 + 2 + 5 + 5) / 35),
        "score_after": pytest.approx((5 + 7 + 2 + 5 + 5) / 35),
        "change": pytest.approx(1 / 35),
        "absolute_change": pytest.approx(5 / 35),
        "changed": 2 / 5,
        "advantage_sign_changed": 1 / 5,
        "advantage_turned": 1 / 5,
        "order_turned": 1 / 4,
        "order_lost": 0.0,
        "order_gained": 0.0,
        "best_changed": 1 / 2,
        "zero_variance_before": 1 / 2,
        "zero_variance_after": 1 / 2,
    }
    assert set(values) == set(ABOUT)
    flips = {(one.kind, one.name): (one.n, one.to_met, one.to_unmet) for one in found.flips}
    assert flips == {
        ("tag", "axis:tone"): (6, 0, 0),
        ("tag", "axis:truth"): (5, 0, 1),
        ("criterion", "Is short."): (6, 0, 1),
        ("criterion", "Lies."): (5, 0, 1),
        ("criterion", "Is kind."): (6, 0, 0),
    }


def test_a_group_of_one_has_no_advantage(tmp_path: Path) -> None:
    rollouts = written(tmp_path / "log.jsonl", [line("a", "1", [0.9, 0.1, 0.6]), line("b", "2", [0.9, 0.1, 0.6])])
    found = compare(map(Change(Formula(), Formula("mean")).of, rollouts), before=0.5, after=0.5)
    assert found.figures["advantage_turned"].value is None
    assert "order_turned" not in found.figures


def test_the_page_escapes_what_a_log_says_and_has_no_number_where_there_is_none(tmp_path: Path) -> None:
    lines = [line("a", "1", [0.9, 0.1, 0.6]), line("a", "2", [0.9, 0.6, 0.9])]
    for one in lines:
        one["item"]["rubric"] = [{**one["item"]["rubric"][0], "text": "<script>"}, *one["item"]["rubric"][1:]]
    rollouts = written(tmp_path / "log.jsonl", lines)
    change = Change(Formula(), Formula(threshold=0.95))
    found = compare(map(change.of, rollouts), before=0.5, after=0.95)
    facts = {"logs": ["a<b"], "changed": ["threshold"], "notes": [], "settings": settings_of(change.formula)}
    html = page(facts, found)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "a&lt;b" in html
    assert "nan" not in html.lower()
    assert "http://" not in html.replace("http://www.w3.org", "")
