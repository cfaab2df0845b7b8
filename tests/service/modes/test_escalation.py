"""Which verdicts are judged a second time."""

from dataclasses import replace

from service.engine.fake import FakeEngine
from service.modes.escalation import OFF, Escalation, SecondOpinion
from service.modes.level_reading import NO_READINGS
from service.modes.modes import ReasonedMode
from service.modes.registry import judging_modes
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Criterion, Extraction, Option, Rule
from service.settings import ModeSettings
from testkit.tokenizer_families import family


def test_what_is_uncertain_is_so_after_calibration() -> None:
    sure_by_now = Judgement("ok", "judge", met=True, p=0.9, p_raw=0.5)
    unsure_by_now = Judgement("ok", "judge", met=True, p=0.55, p_raw=0.99)
    missing, abstained = Judgement("timeout", "judge"), Judgement("abstained", "judge", p_raw=0.99)
    by_rule = Judgement("ok", "rule", met=True, p=0.5)
    judgements = [sure_by_now, unsure_by_now, missing, abstained, by_rule]
    assert Escalation(band=0.1, share=1.0).choose(judgements) == [3, 1]


def test_a_criterion_is_judged_again_where_the_second_mode_reads_its_kind() -> None:
    second = judging_modes(FakeEngine().identity, family("qwen"), ModeSettings())["reasoned", "rubricd"]
    assert isinstance(second, ReasonedMode)
    plain = Criterion("c", "Says it.", 1.0)
    graded = replace(plain, options=(Option("no", 0.0), Option("yes", 1.0)))
    value = replace(plain, extraction=Extraction("number", "The dose.", Rule("exact", {"gold": "4"})))
    asked = [SecondOpinion(mode, OFF) for mode in (second, replace(second, readings=NO_READINGS))]
    found = [[one.can_be_asked(criterion) for criterion in (plain, graded, value)] for one in asked]
    assert found == [[True, True, False], [True, False, False]]
