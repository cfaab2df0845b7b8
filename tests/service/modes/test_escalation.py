"""Which verdicts are judged a second time."""

from service.modes.escalation import Escalation
from service.rubrics.judgement import Judgement


def test_what_is_uncertain_is_so_after_calibration() -> None:
    sure_by_now = Judgement("ok", "judge", met=True, p=0.9, p_raw=0.5)
    unsure_by_now = Judgement("ok", "judge", met=True, p=0.55, p_raw=0.99)
    missing, abstained = Judgement("timeout", "judge"), Judgement("abstained", "judge", p_raw=0.99)
    by_rule = Judgement("ok", "rule", met=True, p=0.5)
    judgements = [sure_by_now, unsure_by_now, missing, abstained, by_rule]
    assert Escalation(band=0.1, share=1.0).choose(judgements) == [3, 1]
