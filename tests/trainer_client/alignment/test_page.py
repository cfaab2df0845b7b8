"""The page of a study shows what was measured, and makes no text of it into HTML."""

from pathlib import Path

from tests.trainer_client.alignment.studies import answered, judge, open_store, pair
from trainer_client.alignment.answers import Answer, Cost
from trainer_client.alignment.arms import ARMS
from trainer_client.alignment.page import page
from trainer_client.alignment.study import study_of


def test_names_are_escaped_and_what_was_not_judged_has_no_number(tmp_path: Path) -> None:
    one, pairs = judge("<b>judge"), [pair(n, "<i>kind" if n else "half") for n in range(4)]
    arms = [arm for arm in ARMS if arm.name in ("likert", "explicit-hard", "compare")]
    with open_store(tmp_path / "s") as store:
        for each in pairs:
            answered(store, one, arms[0], each, Answer("ok", rating=7.0), Answer("ok", rating=3.0))
            answered(store, one, arms[2], each, Answer("abstained"))
        store.spend("<b>judge-likert", "likert", Cost(2.0, 8, 8, 0, 1_000_000, 0, 0))
        done = study_of([one], arms, pairs, store, more={"left_out": {"a <reason>": 2}}, prices={one.name: (0.5, None)})
    shown = page(done)
    assert "<b>judge" not in shown and "&lt;b&gt;judge" in shown
    assert "<i>kind" not in shown and "a <reason>" not in shown
    assert "<b>1.000</b>" in shown
    assert "4 abstained" in shown and "4 no answer" in shown
    assert "0.5000" in shown, "a million tokens at 0.5"
    told = done.as_json()
    assert [arm["accuracy"]["value"] for arm in told["judges"][0]["arms"]] == [1.0, None, None]
