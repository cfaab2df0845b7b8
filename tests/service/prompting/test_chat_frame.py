"""The text around what a caller sends: the same on every day, fenced, and with reasoning closed before the answer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from unittest.mock import Mock

import pytest
from transformers.utils import chat_template_utils

from service.engine.tokenizer import CheckpointTokenizer
from service.errors import ConfigurationError
from service.prompting.chat_frame import frame_chat, frame_message
from service.prompting.template import build_skeleton
from testkit.tokenizer_families import family

# Llama 3.1's way of printing the date, and its turns.
DATED = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def _tokenizer(name: str, template: str) -> CheckpointTokenizer:
    return CheckpointTokenizer(family(name).backend_tokenizer, template, {"bos_token": "<|begin_of_text|>"})


def _closed(template: str, arguments: Mapping[str, Any] = {}) -> str:
    return frame_chat(_tokenizer("qwen", template), "Judge.", arguments).tail_after_reasoning


def test_a_restart_on_another_day_is_the_same_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = _tokenizer("llama3", DATED)
    printed, built = set(), set()
    for day in (1, 2, 3):
        moved = Mock(now=Mock(return_value=datetime(2031, 5, day)))
        monkeypatch.setattr(chat_template_utils, "datetime", moved)
        chat = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
        printed.add(tokenizer.apply_chat_template(chat, tokenize=False))
        built.add(build_skeleton(tokenizer).fixed_text)
    assert (len(printed), len(built)) == (3, 1)
    assert "Today Date: 26 Jul 2024" in built.pop()[1]


def test_the_date_can_be_set_as_an_argument_of_the_template() -> None:
    frame = frame_chat(_tokenizer("llama3", DATED), "Judge.", {"date_string": "1 Jan 2000"})
    assert "Today Date: 1 Jan 2000" in frame.head


def test_an_argument_changes_the_frame_and_so_the_judge() -> None:
    tokenizer = family("harmony")
    low = build_skeleton(tokenizer, arguments={"reasoning_effort": "low"})
    assert "Reasoning: low" in low.head
    assert low.fixed_text != build_skeleton(tokenizer).fixed_text


def test_an_argument_that_the_template_does_not_read_is_refused() -> None:
    for layout in ("rubricd", "healthbench", "simple_evals"):
        with pytest.raises(ConfigurationError, match=r"`chat_template_kwargs`: .* reads no `reasoning`"):
            build_skeleton(_tokenizer("llama3", DATED), layout, arguments={"reasoning": "low"})


@pytest.mark.parametrize(
    ("opening", "end"),
    [
        ("<think>\n", "</think>"),
        ("<seed:think>", "</seed:think>"),
        ("<thought>\n", "</thought>"),
        ("◁think▷", "◁/think▷"),
    ],
)
def test_reasoning_that_the_template_opens_is_closed(opening: str, end: str) -> None:
    template = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n" + opening + "{% endif %}"
    assert _closed(template).endswith(f"<|im_start|>assistant\n{opening.strip()}\n\n{end}\n\n")
    assert frame_chat(_tokenizer("qwen", template), "Judge.").reasoning_end == end


def test_a_block_that_is_opened_stays_open_where_the_judge_writes() -> None:
    """Qwen3 Thinking opens one in the generation prompt, and shows an answer without reasoning behind an empty one."""
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n\n</think>\n\n"
        "{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    )
    tokenizer = _tokenizer("qwen", template)
    assert build_skeleton(tokenizer, mode="reasoned").tail.endswith("<|im_start|>assistant\n<think>\n")
    assert build_skeleton(tokenizer).tail.endswith("<think>\n\n</think>\n\nAnswer:")


def test_reasoning_that_an_argument_switches_off_is_switched_off() -> None:
    """Seed-OSS by a budget of none, DeepSeek V3.1 and Kimi K2.5 by `thinking`, Qwen3 by `enable_thinking`."""
    for off in ("thinking_budget == 0", "not thinking", "not enable_thinking"):
        template = (
            TURNS + "{% if add_generation_prompt %}{% if " + off + " %}closed{% else %}open{% endif %}{% endif %}"
        )
        assert _closed(template).endswith("closed")
    assert _closed(template, {"enable_thinking": True}).endswith("open")


def test_an_answer_stands_where_the_template_itself_puts_one_without_reasoning() -> None:
    """gpt-oss behind its channel `final`; Kimi K2 Thinking behind an empty block that its own turns have."""
    assert frame_chat(family("harmony"), "Judge.").tail.endswith("<|start|>assistant<|channel|>final<|message|>")
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think></think>{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert frame_chat(_tokenizer("qwen", template), "Judge.").tail.endswith("<|im_start|>assistant\n<think></think>")


def test_a_boundary_that_merges_or_changes_is_no_fence() -> None:
    merged = "{% for m in messages %}{{ m.content }}\n{% endfor %}<|im_start|>"
    numbered = "{% for m in messages %}<|im_start|>{{ loop.index }} {{ m.content }}{% endfor %}<|im_end|>"
    for template in (merged, numbered):
        assert frame_chat(_tokenizer("qwen", template), "Judge.").fence is None
    assert frame_chat(_tokenizer("qwen", TURNS), "Judge.").fence == "<|im_end|>\n<|im_start|>user\n"


def test_a_template_that_cannot_be_rendered_or_loses_the_message_is_refused() -> None:
    for template, reason in (("{{ raise_exception('no') }}", "cannot be rendered: no"), ("x", "loses or repeats")):
        with pytest.raises(ConfigurationError, match=reason):
            frame_chat(_tokenizer("qwen", template), "Judge.")
        with pytest.raises(ConfigurationError, match=reason):
            frame_message(_tokenizer("qwen", template), "before", "after")
