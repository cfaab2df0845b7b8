"""Which tags a policy's reasoning has, by its tokenizer and template, and what is left of what it wrote."""

from pathlib import Path
from typing import Any

import pytest
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from trainer_client import wire
from trainer_client.policy_answers import PolicyAnswers

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
CHANNELS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")


def tokenizer(template: str = "{{ messages[0].content }}", special: tuple[str, ...] = ()) -> Any:
    """A token a byte, besides the special ones."""
    core = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate(sorted(_alphabet()))}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([*special, "<s>", "</s>"])
    made: Any = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    made.chat_template = template
    return made


def _alphabet() -> list[str]:
    return list(pre_tokenizers.ByteLevel.alphabet())


FAMILIES: list[tuple[str, str | None, bool | None]] = [
    ("qwen3", "<think>", None),
    ("qwen3_5_think", "<think>", True),
    ("deepseek_r1_distill", "<think>", True),
    ("nemotron_3_nano", "<think>", True),
    ("glm4moe", "<think>", None),
    ("gemma4", "<|channel>thought", None),
    ("qwen2_5", None, None),
    ("qwen3_instruct_2507", None, None),
    ("llama3_1", None, None),
    ("gptoss", None, None),
]


@pytest.mark.parametrize(("name", "open", "prefilled"), FAMILIES)
def test_a_template_says_how_its_policy_reasons(name: str, open: str | None, prefilled: bool | None) -> None:
    answers = PolicyAnswers("remove", tokenizer((TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")))
    assert (answers.tags and answers.tags.open, answers.tags and answers.tags.prefilled) == (open, prefilled)


def test_the_templates_arguments_count() -> None:
    """Qwen's template closes the block where thinking is switched off: an answer does not begin inside it."""
    one = tokenizer((TEMPLATES / "qwen3_5_think.jinja").read_text(encoding="utf-8"))
    tags = PolicyAnswers("remove", one, {"enable_thinking": False}).tags
    assert tags is not None and tags.prefilled is None
    assert PolicyAnswers("remove", one, {"enable_thinking": False}).split("Rest.").answer == "Rest."
    assert PolicyAnswers("remove", one).split("Rest.").answer == ""


def test_a_response_template_goes_before_the_chat_template() -> None:
    one = tokenizer("</thought>")
    one.response_template = {"fields": {"reasoning_content": {"open": "<plan>", "close_pattern": r"</plan\>\s*"}}}
    assert PolicyAnswers("remove", one).tags == wire.Tags("<plan>", "</plan>")
    one.response_template = {"fields": {"thinking": {"open_pattern": "(?=x)", "close_pattern": r"</think>\s*"}}}
    assert PolicyAnswers("remove", one).tags == wire.Tags("<think>", "</think>")
    one.response_template = None
    one.response_schema = {"properties": {"thinking": {"x-regex": r"\[THINK\](.*?)[/THINK]"}}}
    assert PolicyAnswers("remove", one).tags == wire.Tags("[THINK]", "[/THINK]")


def test_the_callers_tags_go_before_all() -> None:
    one = tokenizer("{{ messages[0].content }}</think><plan>\n")
    answers = PolicyAnswers({"open": "<plan>", "close": "</plan>"}, one)
    assert answers.tags == wire.Tags("<plan>", "</plan>", prefilled=True)
    with pytest.raises(ValueError, match="`keep`, `remove` or tags"):
        PolicyAnswers("drop")  # type: ignore[arg-type]


def test_tags_that_are_special_tokens_survive_decoding() -> None:
    one = tokenizer("[THINK][/THINK]", special=("[THINK]", "[/THINK]"))
    ids = one("[THINK]I could say: run.[/THINK]Rest it.</s>")["input_ids"]
    assert "[" not in one.decode(ids, skip_special_tokens=True), "that is why ids are read"
    answers = PolicyAnswers("remove", one)
    assert answers.split(answers.decode(ids)).answer == "Rest it."
    cut = answers.split(answers.decode(one("[THINK]I could")["input_ids"]))
    assert (cut.answer, cut.ended) == ("", "unfinished")


def test_channels_are_read_from_ids() -> None:
    one = tokenizer(special=CHANNELS)
    text = "<|channel|>analysis<|message|>Run.<|end|><|start|>assistant<|channel|>final<|message|>Rest it.<|return|>"
    answers = PolicyAnswers("remove", one)
    assert answers.split(answers.decode(one(text)["input_ids"])).answer == "Rest it."
    assert answers.split(answers.decode(one(text[:40])["input_ids"])).ended == "unfinished"


def test_tokens_that_end_a_turn_elsewhere_are_left_out() -> None:
    one = tokenizer(special=("<|end|>",))
    answers = PolicyAnswers("remove", one)
    assert answers.split(answers.decode(one("Rest it.<|end|></s>")["input_ids"])).answer == "Rest it."


NOTHING_LOST = [
    "Rest it.",
    "Write </think> at the end.",
    "Between <think> and </think> it reasons.",
    "",
    "a [/THINK] b",
]


@pytest.mark.parametrize("text", NOTHING_LOST)
def test_a_policy_without_reasoning_loses_nothing(text: str) -> None:
    one = tokenizer()
    answers = PolicyAnswers("remove", one)
    assert answers.split(answers.decode(one(text)["input_ids"])).answer == text


def test_a_policy_without_reasoning_that_begins_with_it_is_cut() -> None:
    assert PolicyAnswers("remove", tokenizer()).split("<think>run</think>Rest.").answer == "Rest."
    assert PolicyAnswers("keep", tokenizer()).split("<think>run</think>Rest.").ended == "none"


def test_what_something_else_has_parsed_does_not_begin_inside() -> None:
    answers = PolicyAnswers("remove", tokenizer("{{ messages[0].content }}<think>\n"))
    assert answers.split("Rest it.").ended == "unfinished"
    assert answers.split("Rest it.", whole=False).answer == "Rest it."


def test_an_unknown_policy_has_the_tags_of_all_families() -> None:
    assert PolicyAnswers().split("run\n</think>\n\nRest.").answer == "Rest."
    assert not PolicyAnswers().knows_tokens


def test_plain_leaves_out_the_special_tokens_that_are_no_reasoning() -> None:
    one = tokenizer((TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8"), special=("<think>", "</think>"))
    assert PolicyAnswers("remove", one).plain("<s><think>a</think>Rest.</s>") == "<think>a</think>Rest."
    assert PolicyAnswers("remove").plain("Rest.</s>") == "Rest.</s>"
