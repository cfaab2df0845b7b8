"""What makes a judge in a mode and layout another one: its fingerprint, as the registry names it."""

import json
import logging

import pytest
from pydantic import JsonValue
from tokenizers import Tokenizer

from service.engine.fake import FakeEngine
from service.engine.tokenizer import CheckpointTokenizer
from service.errors import ConfigurationError
from service.modes.registry import judging_modes, readable_modes
from service.settings import ModeSettings
from testkit.tokenizer_families import family


def test_the_tokenizer_as_it_was_built_is_part_of_the_fingerprint() -> None:
    """Not only its files: another way of cutting text into words is another judge."""
    engine, tokenizer = FakeEngine(), family("qwen")
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    split = {"type": "Split", "pattern": {"String": "-"}, "behavior": "Isolated", "invert": False}
    spec["pre_tokenizer"]["pretokenizers"].insert(0, split)
    other = CheckpointTokenizer(Tokenizer.from_str(json.dumps(spec)), tokenizer.chat_template, {})
    prints = [
        judging_modes(engine.identity, one, ModeSettings())["verdict", "rubricd"].judge.fingerprint
        for one in (tokenizer, other, tokenizer)
    ]
    assert prints[0] == prints[2] != prints[1]


def test_arguments_of_the_chat_template_make_another_judge() -> None:
    engine = FakeEngine()
    choices: list[dict[str, JsonValue]] = [{}, {"reasoning_effort": "low"}, {"reasoning_effort": "high"}]
    prints = {
        judging_modes(engine.identity, family("harmony"), ModeSettings(chat_template_kwargs=arguments))[
            "verdict", "rubricd"
        ].judge.fingerprint
        for arguments in choices
    }
    assert len(prints) == 3


def test_a_mode_that_no_judge_has_in_a_layout_is_refused_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        modes = judging_modes(FakeEngine().identity, family("qwen"), ModeSettings())
    refused = {way.described: why for way, why in modes.refused.items()}
    assert refused["mode `likert`, layout `healthbench`"] == "layout `healthbench` has no mode `likert`"
    assert "has no mode" not in caplog.text


def test_what_a_judge_cannot_be_asked_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    modes = judging_modes(FakeEngine().identity, family("qwen"), ModeSettings())
    first = modes.first.judge.label_ids

    def check(labels: tuple[int, ...]) -> None:
        if labels != first:
            raise ConfigurationError("it does not know these labels")

    with caplog.at_level(logging.INFO):
        readable = readable_modes(modes, check)
    left_out = len(modes.ways) - len(readable.ways)
    assert left_out > 2
    [line] = [one.getMessage() for one in caplog.records if one.name == "service.modes.registry"]
    assert line.startswith("this judge cannot be asked in mode `") and "it does not know these labels" in line
    assert line.endswith(f"; nor in {left_out - 1} other ways")
