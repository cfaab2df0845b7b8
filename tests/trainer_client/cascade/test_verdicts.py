"""What a cascade decides: each judge in its order, and what it is unsure of goes on."""

import numpy as np

from trainer_client import wire
from trainer_client.cascade.verdicts import NOBODY, JudgedRows, cascade, judged_rows
from trainer_client.labels import JudgedCriterion, LabelledItem, Labels
from trainer_client.wire import CascadeBand

NAN = float("nan")


def _rows(p: list[list[float]], decided: list[list[bool]] | None = None) -> JudgedRows:
    seen = np.array(p)
    here = np.ones_like(seen, np.bool_) if decided is None else np.array(decided)
    groups = np.arange(seen.shape[1]).astype(np.intp)
    return JudgedRows(np.ones(seen.shape[1], np.bool_), here, np.nan_to_num(seen) >= 0.5, seen, groups, groups)


def test_the_ends_of_a_band_belong_to_it() -> None:
    rows = _rows([[0.1, 0.2, 0.5, 0.8, 0.9], [0.9] * 5])
    found = cascade(rows, (CascadeBand(low=0.2, high=0.8), None))
    assert found.by.tolist() == [0, 1, 1, 1, 0]
    assert found.asked.tolist() == [[True] * 5, [False, True, True, True, False]]
    assert found.wrong.tolist() == [1, 0, 0, 0, 0]


def test_a_missing_verdict_goes_on_and_at_the_end_is_a_disagreement() -> None:
    rows = _rows([[0.9, NAN, NAN], [0.9, 0.9, NAN]], [[True, False, False], [True, True, False]])
    found = cascade(rows, (None, None))
    assert found.by.tolist() == [0, 1, NOBODY]
    assert found.wrong.tolist() == [0, 0, 1]


def test_a_verdict_without_p_goes_on_where_there_is_a_band() -> None:
    rows = _rows([[NAN, NAN], [0.9, 0.9]])
    assert cascade(rows, (CascadeBand(low=0.4, high=0.6), None)).by.tolist() == [1, 1]
    assert cascade(rows, (None, None)).by.tolist() == [0, 0]


def test_as_one_criterion_at_a_time() -> None:
    """2,000 criteria of three judges against the rule in words; 0 wrong."""
    draw = np.random.default_rng(0)
    p = draw.random((3, 2000)).round(1)
    rows = _rows(p.tolist(), (draw.random((3, 2000)) < 0.9).tolist())
    bands = (CascadeBand(low=0.2, high=0.7), CascadeBand(low=0.4, high=0.5), None)
    found = cascade(rows, bands)
    for n in range(2000):
        assert found.by[n] == _by(rows, bands, n)


def _by(rows: JudgedRows, bands: tuple[wire.CascadeBand | None, ...], n: int) -> int:
    for judge, band in enumerate(bands):
        if rows.decided[judge, n] and (band is None or not band.holds(rows.p[judge, n])):
            return judge
    return NOBODY


def test_rules_levels_missing_labels_and_prompts_that_are_left_out_are_in_no_row() -> None:
    items = tuple(_labelled(n) for n in range(3))
    labels = Labels(items, (), "")
    said = [
        JudgedCriterion(n, id, id, 1.0, {}, items[n].met[id], "ok", True, 0.9, 0.9, 1.0, source, plain)
        for n in range(3)
        for id, source, plain in (
            ("a", "judge", True),
            ("b", "rule", True),
            ("c", "judge", False),
            ("d", "judge", True),
        )
    ]
    rows = judged_rows(labels, [said, said], {"g2"})
    assert rows.responses.tolist() == [0, 1] and rows.prompts == 2
    assert rows.label.tolist() == [True, True]


def _labelled(n: int) -> LabelledItem:
    criteria = [wire.Criterion(id=id, text=id, points=1.0) for id in "abcd"]
    item = wire.Item(prompt=f"p{n}", response="r", rubric=wire.Rubric(criteria=criteria))
    return LabelledItem(item, {"a": True, "b": True, "c": True, "d": None}, {}, f"g{n}")
