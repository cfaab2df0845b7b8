import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.trainer_client.agreement.made import Json, judged_by, labels_of
from trainer_client.agreement import names
from trainer_client.agreement.measured import Asked, Measured, measure
from trainer_client.agreement.page import page
from trainer_client.agreement.thresholds import KNOWN, Limit, beyond
from trainer_client.labels import Labels

SECRET = "only-in-a-row"


def rows(draw: np.random.Generator, prompts: int = 30) -> list[Json]:
    """Responses of two lengths and two languages, labelled by three annotators."""
    found = []
    for prompt in range(prompts):
        for response in range(4):
            rubric = [
                {"id": "a", "text": f"Is kind {SECRET}.", "points": 5, "tags": {"axis": "<b>tone"}},
                {"id": "b", "text": "Lies.", "points": -3, "tags": {"axis": "truth", "language": "French"}},
            ]
            met = {id: [bool(word) for word in draw.random(3) < draw.random()] for id in ("a", "b")}
            text = f"{SECRET} {response} " * int(draw.integers(1, 30))
            found.append({"item": {"prompt": f"p{prompt}", "response": text, "rubric": rubric}, "met": met})
    return found


def measured(folder: Path, *, judges: int = 2) -> tuple[Labels, Measured]:
    draw = np.random.default_rng(0)
    labels = labels_of(folder, rows(draw))
    count = sum(len(one.criteria) for one in labels.items)
    asked = []
    for number in range(judges):
        p: list[float | None] = [float(one) for one in draw.random(count)]
        p[number] = None
        asked.append(Asked(f"judge <{number}>", judged_by(labels, p)))
    return labels, measure(labels, asked, resamples=100)


def test_the_json_has_every_figure_and_no_text_of_a_row(tmp_path: Path) -> None:
    labels, found = measured(tmp_path)
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert written["labels"]["digest"] == labels.digest and written["labels"]["annotators"] == 3
    assert [one["name"] for one in written["judges"]] == ["judge <0>", "judge <1>"]
    first = written["judges"][0]
    assert set(names.REWARDS) == set(first["rewards"]) and {"accuracy", "auroc", "ece"} <= set(first["figures"])
    assert set(first["figures"]) <= set(names.CRITERIA) and set(written["annotators"]) <= set(names.CRITERIA)
    assert set(written["comparisons"][0]["figures"]) == set(names.COMPARISON)
    assert first["statuses"] == {"ok": 239, "abstained": 1}
    assert {part["kind"] for part in first["slices"]} == {"tag", "length"}
    assert SECRET not in json.dumps(written)


def test_a_limit_is_kept_or_told(tmp_path: Path) -> None:
    _, found = measured(tmp_path, judges=1)
    value = found.judges[0].figures["accuracy"].value
    assert value is not None
    kept = [Limit("accuracy", value, True), Limit("accuracy", value, False), Limit("pairwise", 0.0, True)]
    assert list(beyond(found, kept)) == []
    missed = list(beyond(found, [Limit("accuracy", value + 0.01, True), Limit("accuracy", value - 0.01, False)]))
    assert [sentence.split(" is ")[0] for sentence in missed] == ["judge <0>: accuracy"] * 2
    figures = {**found.judges[0].figures, **found.judges[0].rewards}
    assert set(KNOWN) - set(names.LEVELS) <= set(figures)


def test_a_figure_without_a_value_is_within_no_limit(tmp_path: Path) -> None:
    rubric = [{"id": "a", "text": "Is kind.", "points": 5}]
    labels = labels_of(tmp_path, [{"item": {"prompt": "p", "response": "r", "rubric": rubric}, "met": {"a": True}}] * 3)
    found = measure(labels, [Asked("j", judged_by(labels, [0.9] * 3))], resamples=10)
    for at_least in (True, False):
        (sentence,) = beyond(found, [Limit("auroc", 0.5, at_least)])
        assert "auroc has no value" in sentence


class _Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str | None] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("judges", [1, 2])
def test_the_page_shows_every_figure_and_loads_nothing(tmp_path: Path, judges: int) -> None:
    _, found = measured(tmp_path, judges=judges)
    written = page(found)
    parsed = _Parsed(written)
    assert parsed.loaded == [] and "script" not in parsed.tags and "@import" not in written
    said = " ".join(parsed.text)
    for about in (*names.REWARDS.values(), *(names.CRITERIA[name] for name in found.judges[0].figures)):
        assert about in said, about
    for one in found.judges:
        assert f"Reliability: {one.name}" in said
        accuracy = one.figures["accuracy"].value
        assert accuracy is not None and f"{accuracy:.3f}" in said
    assert ("Judge against judge" in said) is (judges > 1)
    assert "annotators, each against the others" in said
    assert "axis:<b>tone" in said and "<b>tone" not in written and SECRET not in written
    circles = sum(tag == "circle" for tag in parsed.tags)
    assert circles >= sum(len(one.bins) for one in found.judges)
