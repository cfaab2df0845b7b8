"""What is remembered of a judge's modes is what they are, and each setting of theirs makes others."""

import pytest

from service.engine.fake import FakeEngine
from service.errors import ConfigurationError
from service.modes.registry import judging_modes
from service.settings import ModeSettings
from testkit.remembered_modes import remembered_modes
from testkit.tokenizer_families import family


def test_the_same_judge_has_the_same_modes_which_are_those_of_the_service() -> None:
    identity, settings = FakeEngine().identity, ModeSettings()
    found = remembered_modes(identity, family("qwen"), settings)
    assert remembered_modes(FakeEngine().identity, family("qwen"), ModeSettings()) is found
    fresh = judging_modes(identity, family("qwen"), settings)
    assert {way: mode.judge.fingerprint for way, mode in found.ways.items()} == {
        way: mode.judge.fingerprint for way, mode in fresh.ways.items()
    }


def test_another_judge_setting_grader_or_context_has_others() -> None:
    identity, tokenizer, settings = FakeEngine().identity, family("qwen"), ModeSettings()
    found = remembered_modes(identity, tokenizer, settings)
    others = [
        remembered_modes(identity, family("llama3"), settings),
        remembered_modes(identity, tokenizer, ModeSettings(reasoned_tokens=settings.reasoned_tokens + 1)),
        remembered_modes(identity, tokenizer, settings, "Is it so?"),
        remembered_modes(identity, tokenizer, settings, None, ("reasoned",)),
        remembered_modes(identity, tokenizer, settings, None, (), 4096),
    ]
    assert len({id(one) for one in (found, *others)}) == 6


def test_what_is_refused_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            remembered_modes(FakeEngine().identity, family("qwen"), ModeSettings(prompt="none such"))
