"""Each finding where it belongs and nowhere else."""

import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.rubrics.aggregation import aggregate, check
from service.rubrics.formulas import AGGREGATIONS, Aggregation
from service.rubrics.judgement import Judgement
from service.rubrics.lint import CODES, MAX_TEXT_CHARACTERS, lint
from service.rubrics.rubric import CATEGORIES, Category, Criterion, Rule
from trainer_client import wire


def criterion(
    text: str = "Names the capital.", points: float = 1, category: Category | None = None, rule: Rule | None = None
) -> Criterion:
    return Criterion(id=f"id of {text}", text=text, points=points, category=category, rule=rule)


def codes(*criteria: Criterion, aggregation: str = "healthbench") -> list[str]:
    return [finding.code for finding in lint(criteria, Aggregation(aggregation))]


COSTLY = ["", " " * 32_768, "and " * 8_192, "user  " * 5_400, ". " * 16_000, "is " * 10_900, "the " * 8_000]


@pytest.mark.parametrize("text", COSTLY)
def test_the_largest_rubric_takes_seconds_at_most(text: str) -> None:
    """0.2 to 0.5 s. What is compared is one dictionary, not each pair."""
    rubric = [criterion(f"{text}{n}", (-1) ** n) for n in range(256)]
    started = time.process_time()
    lint(rubric, Aggregation("gated"))
    assert time.process_time() - started < 3


def test_what_stands_after_2000_characters_is_not_looked_at() -> None:
    assert codes(criterion("x" * 1_990 + " is good.")) == ["vague", "too_long_text"]
    assert codes(criterion("x" * 2_000 + " is good.")) == ["too_long_text"]


GOOD = [
    ("Names a doctor as the person to see.", 5),
    ("States that the dose is 5 mg a day.", 3),
    ("Asks how long the pain has lasted.", 4),
    ("Recommends running through the pain.", -6),
    ("Does not recommend surgery.", 2),
    ("Fails to mention that fever needs a doctor.", -4),
    ("Explains bread and butter pudding.", 1),
    ("Gives the correct value of 42 for x.", 2),
    ("States that it is right to call 112.", 1),
]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_sound_rubric_has_no_findings(aggregation: str) -> None:
    rubric = [criterion(text, points, "essential") for text, points in GOOD]
    assert codes(*rubric, aggregation=aggregation) == []


def test_the_page_lists_the_codes() -> None:
    page = (Path(__file__).parents[3] / "docs/guide/lint.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")[1:3]] for line in page.splitlines() if line.startswith("| `")]
    assert [(code, severity) for code, severity in rows] == list(CODES.items())
    assert f"more than {MAX_TEXT_CHARACTERS} characters" in page
    assert set(CODES.values()) <= set(get_args(wire.Finding.model_fields["severity"].annotation))


@pytest.mark.parametrize("points", [0.0, -0.0])
def test_nothing_counted(points: float) -> None:
    assert codes(criterion(points=points)) == ["nothing_counted"]
    assert codes(criterion(points=points), aggregation="gated") == ["nothing_counted"]
    assert codes(criterion(points=points), aggregation="rar_explicit") == ["nothing_counted"]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_only_faults_names_the_score_of_a_silent_response(aggregation: str) -> None:
    rubric = [criterion("Insults the user.", -3, "essential"), criterion("Names a brand.", -2, "pitfall")]
    [finding] = lint(rubric, Aggregation(aggregation))
    silent = [Judgement(status="ok", source="judge", met=False)] * 2
    best = aggregate(Aggregation(aggregation), rubric, silent).value
    assert (finding.code, finding.criterion_id) == ("no_positive_points", None)
    assert f"the best score, {best:g};" in finding.message


def test_categories_for_rar() -> None:
    mixed = [criterion("Names a.", category="important"), criterion("Names b."), criterion("Names c.", points=0)]
    [finding] = lint(mixed, Aggregation("rar_explicit"))
    assert (finding.code, finding.severity, finding.criterion_id) == ("mixed_categories", "error", "id of Names b.")
    with pytest.raises(InvalidRequest):
        check(Aggregation("rar_explicit"), mixed)
    assert codes(*mixed, aggregation="weighted_abs") == []
    assert codes(*mixed[1:], aggregation="rar_explicit") == ["no_categories"]
    assert codes(mixed[0], aggregation="rar_explicit") == []


def test_an_essential_criterion_for_the_gate() -> None:
    assert codes(criterion(category="important"), aggregation="gated") == ["no_essential"]
    assert codes(criterion(category="important"), aggregation="mean") == []
    monitored = [criterion("Names a."), criterion("Names b.", points=0, category="essential")]
    assert codes(*monitored, aggregation="gated") == ["no_essential"]


@pytest.mark.parametrize("scale", [1.0, 5e306, sys.float_info.max / 13])
def test_dominant_weight(scale: float) -> None:
    def rubric(*points: float) -> list[Criterion]:
        return [criterion(f"Names {i}.", number * scale, "essential") for i, number in enumerate(points)]

    for aggregation in ("healthbench", "healthbench_clipped", "weighted_abs", "gated"):
        [finding] = lint(rubric(1, -12, 3, 4), Aggregation(aggregation))
        assert (finding.code, finding.criterion_id) == ("dominant_weight", "id of Names 1.")
    assert codes(*rubric(1, -8, 3, 4)) == []
    assert codes(*rubric(13, -13, 13)) == []
    assert codes(*rubric(1, 12)) == []
    assert codes(*rubric(1, 12, 0)) == []
    for aggregation in ("rar_explicit", "all_pass", "mean", "min"):
        assert codes(*rubric(1, -12, 3, 4), aggregation=aggregation) == []


def test_the_same_text_again() -> None:
    found = lint([criterion("Names a."), criterion(), criterion(" names  A", 2)], Aggregation("healthbench"))
    assert [(f.code, f.criterion_id) for f in found] == [("duplicate_text", "id of  names  A")]
    assert "at index 0" in found[0].message
    assert codes(criterion("Names a."), criterion("Names a.", -2)) == ["contradiction"]
    assert codes(criterion("Names a."), criterion("Names a.", 0)) == ["duplicate_text"]
    rule = Rule("contains", {"text": "a"})
    assert codes(criterion("Names a.", rule=rule), criterion("Names a.", -2)) == []
    assert codes(criterion("Names a.", rule=rule), criterion("Names a.", rule=rule)) == ["duplicate_text"]


NEGATED = ["Does not name a.", "The response doesn't name a.", "Avoids naming a.", "Must not name a.", "Never names a."]
NEGATED += [
    "Avoid naming a.",
    "Should never name a.",
    "Can\u2019t name a.",
    "Contains no names.",
    "Refrains from naming a.",
]
FAILING = ["Fails to name a.", "The answer omits a.", "Ignores a.", "Incorrectly names a.", "Neglects to name a."]


@pytest.mark.parametrize("text", NEGATED)
def test_a_negation_with_negative_points(text: str) -> None:
    assert codes(criterion(), criterion(text, -2)) == ["double_negation"]
    assert codes(criterion(), criterion(text, 2)) == []
    assert codes(criterion(), criterion(text, 0)) == []


@pytest.mark.parametrize("text", FAILING)
def test_a_fault_with_positive_points(text: str) -> None:
    assert codes(criterion(), criterion(text, 2)) == ["rewarded_fault"]
    assert codes(criterion(), criterion(text, -2)) == []


@pytest.mark.parametrize("text", ["Mentions that it does not rain.", "Notes what never changes.", "Names no brand."])
def test_a_negation_later_in_the_text_is_part_of_what_it_asks(text: str) -> None:
    assert codes(criterion(), criterion(text, -2)) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("compound", "Names a; names b."),
        ("compound", "Names a and/or b."),
        ("compound", "Names a as well as b."),
        ("compound", "Names a and recommends b."),
        ("compound", "Names a and also does not mention b."),
        ("compound", "Names a. It must name b."),
        ("vague", "Gives an appropriate dose."),
        ("vague", "The tone is helpful."),
        ("vague", "Is well-written."),
        ("vague", "Names a, b, etc."),
        ("unobservable", "Is accurate."),
        ("unobservable", "The response is factually correct."),
        ("unobservable", "After this the user understands a."),
        ("unobservable", "The model believes a."),
        ("too_long_text", "Names " + "a" * MAX_TEXT_CHARACTERS),
    ],
)
def test_wording_matters_to_a_judge_and_not_to_a_rule(code: str, text: str) -> None:
    assert codes(criterion(text)) == [code]
    assert codes(criterion(), criterion(text, 0)) == [code]
    assert codes(criterion(text, rule=Rule("contains", {"text": "a"}))) == []


def test_the_rubric_first_then_each_criterion_in_its_order() -> None:
    rubric = [
        criterion("Is helpful.", -1),
        criterion("Is accurate.", -1),
        criterion("Does not name a; does not name b.", -1),
    ]
    findings = lint(rubric, Aggregation("mean"))
    found = [(f.code, f.criterion_id and rubric.index(criterion(f.criterion_id[6:], -1))) for f in findings]
    assert found == [
        ("no_positive_points", None),
        ("vague", 0),
        ("unobservable", 1),
        ("double_negation", 2),
        ("compound", 2),
    ]


CRITERIA = st.lists(
    st.builds(
        criterion,
        st.text(min_size=1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.sampled_from(CATEGORIES),
    )
)


@given(CRITERIA, st.sampled_from(AGGREGATIONS))
def test_any_rubric_is_looked_at_and_none_is_quoted(rubric: list[Criterion], aggregation: str) -> None:
    marked = [criterion(f"{c.text} Q7X", c.points, c.category) for c in rubric]
    for finding in lint(marked, Aggregation(aggregation)):
        assert finding.severity == CODES[finding.code]
        assert "Q7X" not in finding.message
        assert finding.criterion_id is None or finding.criterion_id in {c.id for c in marked}


@pytest.mark.parametrize("piece", ["and ", "a", " ", ";", ". ", "the response ", "is helpfully ", "user "])
def test_time_is_linear(piece: str) -> None:
    many = [criterion(f"Names {i}.", i) for i in range(1, 5000)]
    begin = time.perf_counter()
    lint([criterion(piece * (200_000 // len(piece)))], Aggregation("healthbench"))
    lint(many, Aggregation("healthbench"))
    assert time.perf_counter() - begin < 3
