"""What a request is judged in: the way that it names, or a refusal that says what is served instead."""

from pathlib import Path

import pytest

from service.engine.fake import FakeEngine
from service.errors import ConfigurationError, InvalidRequest
from service.modes.registry import judging_modes, readable_modes
from service.modes.served_modes import BATCHED, JudgingModes, Way
from service.settings import ModeSettings
from testkit.tokenizer_families import family

SERVED = ("question", "bare", "examples", "examples_bare", "opposite")
"""The prompts whose labels are one token each in this tokenizer."""
DEFAULT = Way("verdict", "rubricd", "question")


def _modes(prompt: str = "question") -> JudgingModes:
    return judging_modes(FakeEngine().identity, family("qwen"), ModeSettings(prompt=prompt))


def _refusal(modes: JudgingModes, mode: str, layout: str, prompt: str | None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        modes.choose(mode, layout, prompt)
    return refused.value


def test_every_prompt_is_a_judge_of_its_own_and_the_default_one_is_first() -> None:
    modes = _modes()
    asked = [way.prompt for way in modes.ways if way[:2] == ("verdict", "rubricd")]
    assert (tuple(asked), next(iter(modes.ways))) == (SERVED, DEFAULT)
    prints = [mode.judge.fingerprint for mode in modes.ways.values()]
    assert len(set(prints)) == len(prints)
    assert [modes.choose("verdict", "rubricd", name).judge.prompt for name in SERVED] == list(SERVED)
    assert modes.choose("verdict", "rubricd", None) is modes["verdict", "rubricd"] is modes.first
    assert modes.choose("likert", "rubricd", None).judge.prompt is None


def test_another_default_prompt_is_another_first_judge_and_the_same_judges() -> None:
    plain, other = _modes(), _modes("examples")
    assert other.first.judge.prompt == "examples"
    assert {way: mode.judge.fingerprint for way, mode in plain.ways.items()} == {
        way: mode.judge.fingerprint for way, mode in other.ways.items()
    }


def test_a_prompt_whose_labels_are_no_single_tokens_is_not_served_and_says_why() -> None:
    modes = _modes()
    refusal = _refusal(modes, "verdict", "rubricd", "true_false")
    assert (
        "does not serve prompt `true_false` (the label 'true' is not one token after the judge's prompt (it makes 4)); "
        in (str(refusal))
    ), "and no advice on a setting that this prompt does not read"
    assert "name another one as `judge_prompt`: question, bare, examples, examples_bare, opposite" in str(refusal)
    assert refusal.errors[0][0] == ("judge_prompt",)


def test_what_is_not_known_or_not_served_is_refused_at_its_field() -> None:
    modes = _modes()
    places = {
        "judge_prompt": _refusal(modes, "verdict", "rubricd", "nobodys"),
        "layout": _refusal(modes, "likert", "healthbench", None),
        "mode": _refusal(modes.without({Way("likert", "rubricd"): "it abstains"}), "likert", "rubricd", None),
    }
    assert {place: refusal.errors[0][0] for place, refusal in places.items()} == {place: (place,) for place in places}
    assert "`likert` (it abstains); it serves verdict, reasoned, implicit" in str(places["mode"])


def test_a_batch_that_is_not_served_says_so_and_one_of_an_unserved_mode_names_the_mode() -> None:
    modes = _modes()
    assert modes.choose(*BATCHED).judge.batch == "all" and modes["reasoned", "rubricd"].judge.batch is None
    with pytest.raises(InvalidRequest) as refused:
        modes.without({BATCHED: "it writes one at a time"}).choose(*BATCHED)
    assert refused.value.errors[0][0] == ("batch",)
    said = "`batch: all` in mode `reasoned`, layout `rubricd` (it writes one at a time); leave `batch` out"
    assert said in str(refused.value)
    with pytest.raises(InvalidRequest) as refused:
        modes.without({BATCHED: "", Way("reasoned", "rubricd"): "it writes noise"}).choose(*BATCHED)
    assert "layout `rubricd` in mode `reasoned` (it writes noise)" in str(refused.value)


def test_a_default_that_is_left_out_is_refused_and_others_are_served() -> None:
    modes = _modes().without({DEFAULT: "unparseable: 0.02"}, {DEFAULT: 0.02})
    refusal = _refusal(modes, "verdict", "rubricd", None)
    assert "does not serve prompt `question` (unparseable: 0.02); name another one" in str(refusal)
    assert modes.first.judge.prompt == "bare"
    assert ("verdict", "rubricd") not in modes and modes.get(("verdict", "rubricd")) is None
    assert modes.choose("verdict", "rubricd", "bare") and modes["reasoned", "rubricd"]
    assert modes.label_mass == {DEFAULT: 0.02}


def test_a_default_prompt_that_this_tokenizer_cannot_carry_ends_the_start() -> None:
    with pytest.raises(ConfigurationError, match="the label 'true' is not one token"):
        _modes("true_false")


def test_labels_that_the_engine_cannot_read_leave_a_prompt_out_and_end_the_start_for_the_default() -> None:
    modes = _modes()
    bare = modes.choose("verdict", "rubricd", "bare").judge.label_ids
    default = modes.first.judge.label_ids

    def check(ids: tuple[int, ...]) -> None:
        if ids == refused:
            raise ConfigurationError("the server prints them alike")

    refused = bare
    assert Way("verdict", "rubricd", "bare") not in readable_modes(modes, check).ways
    refused = default
    with pytest.raises(ConfigurationError, match="alike"):
        readable_modes(modes, check)


def test_a_file_is_served_under_its_name_and_its_text_is_in_its_fingerprint(tmp_path: Path) -> None:
    text = 'description = "Mine."\ninstructions = "Judge."\nquestion = "Well, <<met>> or <<unmet>>?"\n'
    prints = []
    for changed in (text, text.replace("Well", "So"), text.replace("Mine", "Ours")):
        file = tmp_path / "mine.toml"
        file.write_text(changed, encoding="utf-8")
        modes = _modes(str(file))
        assert modes.first.judge.prompt == "mine"
        prints.append(modes.first.judge.fingerprint)
    assert prints[0] == prints[2] != prints[1]


def test_both_questions_are_in_the_fingerprint_where_both_make_the_verdict(tmp_path: Path) -> None:
    asks = 'question = "<<met>> or <<unmet>>?"\nopposite = "Not <<met>> or <<unmet>>?"\n'
    text = f'description = ""\ninstructions = "Judge."\n{asks}'
    prints = {}
    for reading in ("single", "opposite"):
        for changed in (text, text.replace("Not", "Un")):
            file = tmp_path / "mine.toml"
            file.write_text(f'{changed}reading = "{reading}"', encoding="utf-8")
            prints[reading, changed] = _modes(str(file)).first.judge.fingerprint
    assert len(set(prints.values())) == 3
    assert prints["single", text] == prints["single", text.replace("Not", "Un")]
