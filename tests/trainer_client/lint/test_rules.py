"""Each finding where it belongs and nowhere else."""

import time
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api import translate
from service.errors import InvalidRequest
from service.rubrics.aggregation import aggregate, check
from service.rubrics.judgement import Judgement
from trainer_client import wire
from trainer_client.formulas import AGGREGATIONS
from trainer_client.lint.codes import CODES
from trainer_client.lint.rules import lint
from trainer_client.lint.wording import MAX_TEXT_CHARACTERS

RULE = {"rule": "contains", "text": "a"}


def criterion(text: str = "Names the capital.", points: float = 1, category: str | None = None, **more: Any) -> Any:
    tags = {} if category is None else {"category": category}
    return wire.Criterion.model_validate({"text": text, "points": points, "tags": tags, **more})


def found(*criteria: wire.Criterion, aggregation: Any = "healthbench") -> list[wire.Finding]:
    return [one for one in lint(wire.Rubric(criteria=list(criteria)), aggregation) if one.code != "item_count"]


def codes(*criteria: wire.Criterion, aggregation: Any = "healthbench") -> list[str]:
    return [finding.code for finding in found(*criteria, aggregation=aggregation)]


COSTLY = ["", " " * 32_000, "and " * 8_000, "user  " * 5_300, ". " * 16_000, "is " * 10_600, "the " * 8_000, "very "]
COSTLY += ["does not " * 3_500, "truly " * 5_000, "names a " * 4_000, "(" * 32_000, "that a b cs " * 2_600]


@pytest.mark.parametrize("text", COSTLY)
def test_the_largest_rubric_takes_seconds_at_most(text: str) -> None:
    """0.02 to 0.4 s for a third of the most criteria. Texts are compared by the words of their beginnings."""
    rubric = [criterion(f"Names{text}{n}", (-1) ** n) for n in range(85)]
    started = time.process_time()
    found(*rubric, aggregation="gated")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "piece", ["and ", "a", " ", ";", ". ", "the response ", "is helpfully ", "user ", "[*", "not "]
)
def test_time_is_linear_in_a_text(piece: str) -> None:
    begin = time.process_time()
    found(criterion(piece * (32_000 // len(piece)) + "x"))
    assert time.process_time() - begin < 1


def test_what_stands_after_2000_characters_is_not_looked_at() -> None:
    assert codes(criterion("x " * 900 + "and recommends b.")) == ["compound"]
    assert codes(criterion("x " * 1_000 + "and recommends b.")) == []


GOOD = [
    ("Names a doctor as the person to see.", 5),
    ("States that the dose is 5 mg a day.", 3),
    ("Asks how long the pain has lasted.", 4),
    ("Recommends running through the pain.", -2),
    ("Does not recommend surgery.", 2),
    ("Fails to mention that fever needs a doctor.", -1),
    ("Does not mention that rest helps.", -2),
    ("Explains bread and butter pudding.", 1),
    ("Gives the correct value of 42 for x.", 2),
    ("States that it is right to call 112.", 1),
]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_sound_rubric_has_no_findings(aggregation: str) -> None:
    tags = {"dimension": "a", "kind": "factual", "veto": "yes"}
    rubric = [
        criterion(text, points, tags={"category": "essential" if points > 0 else "pitfall", **tags})
        for text, points in GOOD
    ]
    assert lint(wire.Rubric(criteria=rubric), aggregation) == []  # type: ignore[arg-type]


def test_severities_are_the_contract() -> None:
    assert set(CODES.values()) <= set(get_args(wire.Finding.model_fields["severity"].annotation))


@pytest.mark.parametrize("points", [0.0, -0.0])
@pytest.mark.parametrize("aggregation", ["healthbench", "gated", "rar_explicit"])
def test_nothing_counted(points: float, aggregation: str) -> None:
    assert codes(criterion(points=points), aggregation=aggregation) == ["nothing_counted"]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_only_faults_names_the_score_of_a_silent_response(aggregation: Any) -> None:
    tags = {"dimension": "a", "kind": "factual", "veto": "yes"}
    rubric = [
        criterion("Insults the user.", -3, tags={"category": "essential", **tags}),
        criterion("Names a brand.", -2, tags={"category": "pitfall", **tags}),
    ]
    [finding] = [one for one in found(*rubric, aggregation=aggregation) if one.code == "no_positive_points"]
    silent = [Judgement(status="ok", source="judge", met=False)] * 2
    domain = translate.criteria(wire.Rubric(criteria=rubric))
    best = aggregate(translate.aggregation(aggregation), domain, silent).value
    assert finding.criterion is None and f"the best score, {best:g};" in finding.message


def test_a_rubric_that_the_service_refuses_for_its_categories_is_an_error() -> None:
    mixed = [criterion("Names a.", category="important"), criterion("Names b."), criterion("Names c.", points=0)]
    [finding] = found(*mixed, aggregation="rar_explicit")
    assert (finding.code, finding.severity, finding.criterion) == ("mixed_categories", "error", "1")
    with pytest.raises(InvalidRequest):
        check(translate.aggregation("rar_explicit"), translate.criteria(wire.Rubric(criteria=mixed)))


@pytest.mark.parametrize("scale", [1.0, 76_923.0])
def test_dominant_weight(scale: float) -> None:
    def rubric(*points: float) -> list[wire.Criterion]:
        return [criterion(f"Names {i}.", number * scale, "essential") for i, number in enumerate(points)]

    for aggregation in ("healthbench", "healthbench_clipped", "weighted_abs", "gated"):
        [one] = [one for one in found(*rubric(1, -12, 3, 4), aggregation=aggregation) if one.code == "dominant_weight"]
        assert one.criterion == "1"
    for points in ((1, -8, 3, 4), (13, -13, 13), (1, 12), (1, 12, 0)):
        assert "dominant_weight" not in codes(*rubric(*points))
    for aggregation in ("rar_explicit", "all_pass", "mean", "min"):
        assert "dominant_weight" not in codes(*rubric(1, -12, 3, 4), aggregation=aggregation)


def test_options_of_an_aggregation_name_the_tag() -> None:
    tagged = [criterion("Names a.", tags={"axis": "safety"}), criterion("Names b.")]
    veto = wire.LintRequest.model_validate(
        {"rubric": [{"text": "t", "points": 1}], "aggregation": {"name": "veto", "tag": "axis", "tag_value": "style"}}
    ).aggregation
    [finding] = found(*tagged, aggregation=veto)
    assert finding.code == "no_tagged" and "with that value" in finding.message
    assert codes(*tagged, aggregation="veto") == ["no_tagged"]


def test_the_same_text_again_names_the_first() -> None:
    again, untidy = found(criterion("Names a."), criterion(), criterion(" names the  capital", 2, id="c"))
    assert [(one.code, one.criterion) for one in (again, untidy)] == [("duplicate_text", "c"), ("untidy_text", "c")]
    assert "at index 1" in again.message
    assert codes(criterion("Names a."), criterion("Names a.", -2)) == ["contradiction"]
    assert codes(criterion("Names a."), criterion("Names a.", 0)) == ["duplicate_text"]
    assert codes(criterion("Names a.", verifier=RULE), criterion("Names a.", -2)) == []
    assert codes(criterion("Names a.", verifier=RULE), criterion("Names a.", verifier=RULE)) == ["duplicate_text"]


@pytest.mark.parametrize(
    "text",
    [
        "Names the tea and recommends rest.",
        "Gives an appropriate dose.",
        "Is clear.",
        "Is accurate.",
        "Names " + "a" * 3_300,
    ],
)
def test_wording_matters_to_a_judge_and_not_to_a_rule(text: str) -> None:
    assert len(codes(criterion(text))) == 1
    assert codes(criterion(), criterion(text, 0)) == codes(criterion(text))
    assert codes(criterion(text, verifier=RULE)) == []


def test_a_reference_is_compared_with_what_a_judge_reads() -> None:
    reference = " ".join(f"word{n}" for n in range(20))
    rubric = wire.Rubric(criteria=[criterion(f"Says {reference}."), criterion(f"Says {reference}!", verifier=RULE)])
    assert [(one.code, one.criterion) for one in lint(rubric, reference=reference)] == [("copied_reference", "0")]
    assert lint(rubric) == lint(rubric, reference="")


def test_the_rubric_first_then_each_criterion_in_its_order() -> None:
    rubric = [
        criterion("Is helpful.", -1),
        criterion("Is accurate.", -1),
        criterion("Does not confuse a and recommends b.", -1),
    ]
    assert [(one.code, one.criterion) for one in found(*rubric, aggregation="mean")] == [
        ("no_positive_points", None),
        ("generic", "0"),
        ("unobservable", "1"),
        ("double_negation", "2"),
        ("compound", "2"),
    ]


def test_the_longest_text_of_healthbench_is_not_too_long() -> None:
    assert MAX_TEXT_CHARACTERS > 3_185


CRITERIA = st.lists(
    st.builds(
        lambda text, points, category: criterion(f"{text} Q7X", points, category),
        st.text(min_size=1),
        st.floats(min_value=0.01, max_value=1e6) | st.floats(min_value=-1e6, max_value=-0.01) | st.just(0.0),
        st.none() | st.sampled_from(wire.CATEGORIES),
    ),
    min_size=1,
)


@settings(max_examples=200)
@given(CRITERIA, st.sampled_from(AGGREGATIONS))
def test_any_rubric_is_looked_at_and_none_is_quoted(rubric: list[wire.Criterion], aggregation: Any) -> None:
    for finding in lint(wire.Rubric(criteria=rubric), aggregation, "Q7X " * 30):
        assert finding.severity == CODES[finding.code]
        assert "Q7X" not in finding.message and finding.message == f"{finding.why}; {finding.remedy}"
        assert finding.criterion is None or int(finding.criterion) < len(rubric)
