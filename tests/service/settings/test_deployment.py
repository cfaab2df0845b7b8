"""Tests of the entries of `judges.yaml`: their order, and who has to be able to judge."""

from service.settings import Settings
from service.settings.deployment import EngineJudge, JudgesFile


def test_members_come_before_what_is_made_of_them() -> None:
    file = JudgesFile.model_validate(
        {"judges": {"top": {"panel": ["low", "a"]}, "low": {"panel": ["a", "b"]}, "a": {}, "b": {"engine": "fake"}}}
    )
    assert file.in_order() == ["a", "b", "low", "top"]
    assert file.must_judge == ["top"], "the others are members"
    assert file.model_copy(update={"required": ["a"]}).must_judge == ["a"]


def test_an_engines_judge_has_the_services_settings_but_the_key() -> None:
    own = {name for name in EngineJudge.model_fields if not name.endswith("_env")}
    assert own <= Settings.model_fields.keys()
