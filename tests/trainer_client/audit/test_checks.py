"""A planted defect is found by the checks that are for it, and by no other."""

from typing import get_args

import pytest

from tests.trainer_client.audit import judges
from trainer_client import wire
from trainer_client.audit import rewording
from trainer_client.audit.askings import Rival, audit_rows
from trainer_client.audit.audit import audit
from trainer_client.audit.checks import CHECKS, askings_of

ALL = {check.name for check in CHECKS}
FAILS: dict[judges.Judge, set[str]] = {
    judges.right: set(),
    judges.noisy: {"repeatability"},
    judges.positional: {"order"},
    judges.literal: {"paraphrase"},
    judges.agreeable: {"negation", "empty", "off-topic"},
    judges.long_winded: {"length"},
    judges.marked: {"format"},
}


@pytest.mark.parametrize("judge", FAILS, ids=lambda judge: judge.__name__)
def test_a_planted_defect_is_found_by_its_checks_and_by_no_other(judge: judges.Judge) -> None:
    done = judges.audited(judge)
    verdicts = {one.check.name: one.verdict for one in done.findings}
    assert {name for name, verdict in verdicts.items() if verdict == "fail"} == FAILS[judge]
    assert {name for name, verdict in verdicts.items() if verdict == "pass"} == ALL - FAILS[judge] - {"self-preference"}
    assert verdicts["self-preference"] == "not run"
    assert done.verdict == ("fail" if FAILS[judge] else "pass")


def test_effects_have_the_size_that_was_planted() -> None:
    measured = {
        (one.check.name, estimate.measure.name): estimate.mean
        for judge in (judges.noisy, judges.marked, judges.agreeable)
        for one in judges.audited(judge).findings
        if one.check.name in FAILS[judge]
        for estimate in one.estimates
    }
    assert measured["repeatability", "change"] == pytest.approx(0.04)
    assert measured["format", "bullets"] == pytest.approx((4 * 0.05 + 2 * 0.2) / 6)
    assert measured["negation", "excess"] == pytest.approx(0.9)
    assert measured["negation", "contradictions"] == 1
    assert measured["empty", "met"] == pytest.approx(0.95)


@pytest.mark.parametrize("judge, verdict", [(judges.right, "pass"), (judges.vain, "fail")], ids=["fair", "vain"])
def test_a_judge_that_prefers_its_own_policy_is_found_where_both_are_labelled(
    judge: judges.Judge, verdict: str
) -> None:
    items = judges.items()
    rivals = {}
    for place, item in enumerate(items):
        named = {str(k): k < 4 for k in range(6)}
        # The rival names the second word to the last: other labels, which a fair judge follows.
        words = " ".join(f"Take w{place}x{k}." for k in range(1, 6))
        own = item.model_copy(update={"response": f"{item.response} So it is, as I always say."})
        items[place] = own
        rivals[place] = Rival(words, own_labels=named, labels={str(k): k >= 1 for k in range(6)})
    chosen = audit_rows(items, 24, rivals=rivals)
    done = audit(judges.JUDGE, chosen, judges.answers(judge, chosen.rows), {})
    (found,) = (one for one in done.findings if one.check.name == "self-preference")
    assert found.verdict == verdict
    favour = found.estimates[0].mean
    assert favour == pytest.approx(0.2 if judge is judges.vain else 0.0)
    assert found.estimates[0].pairs == 24 * 3  # the words that both answers name, by their labels


@pytest.mark.parametrize("mode", get_args(wire.Mode))
def test_every_mode_has_the_checks_that_have_a_meaning_in_it(mode: wire.Mode) -> None:
    done = judges.audited(judges.right, mode)
    ran = {one.check.name for one in done.findings if one.verdict != "not run"}
    without = {
        "verdict": {"self-preference"},
        "reasoned": {"self-preference"},
        "implicit": {"self-preference", "negation"},
        "likert": {"self-preference", "negation", "order", "paraphrase"},
    }
    assert ran == ALL - without[mode]
    assert all(one.why_not for one in done.findings if one.verdict == "not run")


def test_criteria_that_speak_of_form_or_of_absence_are_left_out_where_they_may_rightly_change() -> None:
    rubric = [
        {"text": "Names w0x0.", "points": 1},
        {"text": "Uses at most 50 words.", "points": 1},
        {"text": "Does not mention w0x9.", "points": 1},
    ]
    item = judges.items(1)[0]
    item = wire.Item.model_validate({**item.model_dump(exclude_none=True), "rubric": rubric})
    chosen = audit_rows([item, *judges.items(2)[1:]], 2)
    asked = [one.item for one in askings_of(CHECKS, chosen.rows).values()]
    padded = rewording.padded(str(item.response))
    texts = {
        response: {
            one.text for other in asked if other.response == response and other.rubric for one in other.rubric.criteria
        }
        for response in (padded, "")
    }
    assert "Uses at most 50 words." not in texts[padded] and "Does not mention w0x9." in texts[padded]
    assert "Does not mention w0x9." not in texts[""] and "Uses at most 50 words." in texts[""]


def test_what_checks_have_in_common_is_asked_once() -> None:
    chosen = audit_rows(judges.items(), 24)
    asked = askings_of(CHECKS, chosen.rows)
    # The row itself, again, backwards, three paraphrases, a negation, padded, two forms, empty, off topic.
    assert len(asked) == 24 * 12
