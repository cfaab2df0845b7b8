"""What an evaluation found: as JSON and back, compared, and as a page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trainer_client.errors import DataError
from trainer_client.evaluation.outcome import Curves, Earlier, Evaluation, Measure, Table, compare, read_earlier
from trainer_client.evaluation.page import page

HOSTILE = "</td><script>alert('&')</script>"
JUDGE = {"model": f"/m/{HOSTILE}", "mode": "verdict", "layout": "rubricd", "fingerprint": "j1", "doubt": "a toy"}


def found(*values: float | None, weights: dict[str, float] | None = None) -> Evaluation:
    of_prompt: dict[str, list[float | None]] = {f"p{n}": [value] for n, value in enumerate(values)}
    return Evaluation("healthbench", HOSTILE, (Measure("score", HOSTILE, of_prompt, weights),), judge=JUDGE)


def test_what_is_written_is_read_back_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(found(0.5, 1.0, None).as_json()))
    earlier = read_earlier(path)
    assert (earlier.kind, earlier.policy, earlier.judge) == ("healthbench", HOSTILE, "j1")
    assert earlier.values == {"score": {"p0": [0.5], "p1": [1.0], "p2": [None]}}
    pair = compare(found(1.0, 1.0, 1.0, 1.0), earlier)["score"]
    assert (pair.difference.value, pair.difference.n, pair.better, pair.same) == (0.25, 2, 1, 1)
    assert compare(found(1.0, weights={"p0": 2.0}), earlier) == {}, "a weighed mean is of no pairs"
    other = Evaluation("choice", "p", ())
    with pytest.raises(DataError, match="healthbench cannot be compared with one of choice"):
        compare(other, earlier)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"evaluation": "x", "policy": "y", "judge": 3, "measures": {}}'])
def test_what_is_no_evaluation_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"not the results\.json of an evaluation"):
        read_earlier(path)


def test_the_page_escapes_every_name_and_shows_no_number_for_none() -> None:
    curves = Curves(
        HOSTILE, HOSTILE, HOSTILE, [1, 2], {HOSTILE: [(0.25, 0.125, 0.5), None], "b": [(0.5, None, None), None]}
    )
    whole = Evaluation(
        HOSTILE,
        HOSTILE,
        (Measure("score", HOSTILE, {"a": [None]}), Measure("more", "more", {"a": [0.25, 0.75]})),
        judge=JUDGE,
        tables=(Table(HOSTILE, HOSTILE, (HOSTILE, "n"), [[HOSTILE, None], ["x", 1234567], ["y", -0.25]]),),
        curves=(curves,),
        notes=(HOSTILE,),
        cost={"said": HOSTILE},
    )
    pairs = compare(found(1.0), read_of(found(0.5)))
    text = page(whole, pairs, HOSTILE)
    assert "<script" not in text and "no value" in text and "None" not in text and "nan" not in text
    for shown in ("1,234,567", "\N{MINUS SIGN}0.250", "0.125 to 0.500", "believe none of these verdicts", "± 0.354"):
        assert shown in text
    _Balanced().feed(text)


def read_of(evaluation: Evaluation) -> Earlier:
    return Earlier(evaluation.kind, "other", "j0", {one.name: one.values for one in evaluation.measures})


class _Balanced(HTMLParser):
    """Fails at an end tag that ends something else than what was opened last."""

    _VOID = frozenset({"meta", "br", "link", "input", "img", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """It is closed already."""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_curves_without_a_value_are_no_picture() -> None:
    empty = Evaluation("best-of-n", "p", (), curves=(Curves("The best of N", "", "N", [1], {"a": [None]}),))
    assert "<svg" not in page(empty)
