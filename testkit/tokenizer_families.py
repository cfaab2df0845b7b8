"""Builds tokenizers of eleven families with the real families' structure.

They have the normaliser, pre-tokeniser, byte handling, special and non-special added tokens, and chat template of the
real ones. Only their vocabularies are small.
"""

import json
from collections.abc import Callable
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "Tells the user to see a doctor. Answer Yes or No, with one word.",
    "The conversation, the response and the criterion; treat them as text to be checked.",
    "user assistant system think start_of_turn end_of_turn INST im_start im_end begin_of_text eot_id",
    "My knee hurts when I run. What should I do? Ünïcödé, 日本語, and 1234567890.",
] * 20

CHATML = """{%- for m in messages -%}
<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{%- endif -%}"""
LLAMA = """{{ bos_token }}{%- for m in messages -%}
<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{%- endfor -%}
{%- if add_generation_prompt -%}<|start_header_id|>assistant<|end_header_id|>

{% endif -%}"""
GEMMA = """{{ bos_token }}
{%- if messages[0].role == 'system' -%}{{ raise_exception('System role not supported') }}{%- endif -%}
{%- for m in messages -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor -%}{%- if add_generation_prompt -%}<start_of_turn>model
{% endif -%}"""
MISTRAL = """{{ bos_token }}{%- set ns = namespace(system='', users=true) -%}{%- for m in messages -%}
{%- if m.role != 'system' -%}
{%- if (m.role == 'user') != ns.users -%}{{ raise_exception('Roles must alternate.') }}{%- endif -%}
{%- set ns.users = not ns.users -%}
{%- endif -%}
{%- if m.role == 'system' -%}{%- set ns.system = m.content -%}
{%- elif m.role == 'user' -%}[INST] {% if ns.system %}{{ ns.system }}

{% endif %}{{ m.content }}[/INST]{%- else -%}{{ m.content }}</s>{%- endif -%}{%- endfor -%}"""
HARMONY = """<|start|>system<|message|>You are a chat model.
Current date: {{ strftime_now("%Y-%m-%d") }}

Reasoning: {{ reasoning_effort | default('medium') }}

# Valid channels: analysis, commentary, final.<|end|>
{%- for m in messages -%}
{%- if m.role == 'system' -%}<|start|>developer<|message|># Instructions

{{ m.content }}<|end|>
{%- elif m.role == 'assistant' -%}<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>
{%- else -%}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>
{%- endif -%}
{%- endfor -%}{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}"""
DEEPSEEK = """{{ bos_token }}{%- for m in messages -%}
{%- if m.role == 'system' -%}{{ m.content }}{%- elif m.role == 'user' -%}<｜User｜>{{ m.content }}
{%- else -%}<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>{%- endif -%}
{%- endfor -%}{%- if add_generation_prompt -%}<｜Assistant｜><think>
{% endif -%}"""
PHI = """{%- for m in messages -%}<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor -%}{%- if add_generation_prompt -%}<|assistant|>
{% endif -%}"""
GRANITE = """{%- if messages[0].role == 'system' -%}
{%- set system, rest = messages[0].content, messages[1:] -%}
{%- else -%}
{%- set system, rest = "You are Granite, a helpful AI assistant.", messages -%}
{%- endif -%}
<|start_of_role|>system<|end_of_role|>{{ system }}<|end_of_text|>
{% for m in rest -%}
<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>
{% endfor -%}
{%- if add_generation_prompt -%}<|start_of_role|>assistant<|end_of_role|>{%- endif -%}"""
COHERE = """{{ bos_token }}{%- set rest = messages -%}
{%- if messages[0].role == 'system' -%}{%- set rest = messages[1:] -%}
<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{{ messages[0].content }}<|END_OF_TURN_TOKEN|>{%- endif -%}
{%- for m in rest -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}
<|START_OF_TURN_TOKEN|><|{{ 'USER' if m.role == 'user' else 'CHATBOT' }}_TOKEN|>{{ m.content.strip() -}}
<|END_OF_TURN_TOKEN|>{%- endfor -%}
{%- if add_generation_prompt -%}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{%- endif -%}"""
SMOLLM = """{%- for m in messages -%}
{%- if loop.first and m.role != 'system' -%}
<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
{% endif -%}
<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""

_WORDS = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+")


def _train(tokenizer: Tokenizer, *, initial: list[str], specials: list[str], corpus: list[str], size: int) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=initial, special_tokens=specials, show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def _byte_level(normaliser: normalizers.Normalizer | None, *, ignore_merges: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normaliser is not None:
        tokenizer.normalizer = normaliser
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_WORDS, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return _train(
        tokenizer, initial=pre_tokenizers.ByteLevel.alphabet(), specials=[], corpus=[*CORPUS, "Yes Yes No No"], size=700
    )


def _byte_fallback(specials: list[str], corpus: list[str], size: int = 900) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    bytes_ = [f"<0x{n:02X}>" for n in range(256)]
    _train(tokenizer, initial=["▁"], specials=[*specials, *bytes_], corpus=corpus, size=size)
    spec = json.loads(tokenizer.to_str())  # bytes are in such a vocabulary without being added tokens
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] not in bytes_]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def _wrap(
    tokenizer: Tokenizer, template: str, *, special: list[str], plain: list[str], **names: str
) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    wrapped.chat_template = template
    return wrapped


def qwen() -> PreTrainedTokenizerFast:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>"]
    plain = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|repo_name|>"]
    return _wrap(
        _byte_level(normalizers.NFC(), ignore_merges=False),
        CHATML,
        special=special,
        plain=plain,
        eos_token="<|im_end|>",
    )


def llama3() -> PreTrainedTokenizerFast:
    special = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
    ]
    tokenizer = _byte_level(None, ignore_merges=True)
    wrapped = _wrap(tokenizer, LLAMA, special=special, plain=[], bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")
    bos = wrapped.convert_tokens_to_ids("<|begin_of_text|>")
    wrapped.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", bos)]
    )
    return wrapped


def gemma(spellable: bool = False) -> PreTrainedTokenizerFast:
    """With `spellable`, ordinary merges spell `<start_of_turn>`: the worst a vocabulary can do."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    plain = ["<table>", "</table>", "\n\n", "▁▁"]
    corpus = [text.replace(" ", "▁") for text in CORPUS] + ["Yes", "No", "▁▁", "\n\n"] * 50
    tokenizer = _byte_fallback([*special, *plain], corpus + ["<start_of_turn>"] * (400 if spellable else 0), 1100)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    return _wrap(tokenizer, GEMMA, special=special, plain=plain, bos_token="<bos>", eos_token="<eos>")


def mistral() -> PreTrainedTokenizerFast:
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"]
    corpus = [text.replace(" ", "▁") for text in CORPUS] + ["Yes", "No"] * 50
    tokenizer = _byte_fallback(special, corpus)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    return _wrap(tokenizer, MISTRAL, special=special, plain=[], bos_token="<s>", eos_token="</s>")


def harmony() -> PreTrainedTokenizerFast:
    special = ["<|startoftext|>", "<|endoftext|>", "<|return|>", "<|start|>", "<|message|>", "<|channel|>", "<|end|>"]
    return _wrap(_byte_level(None, ignore_merges=False), HARMONY, special=special, plain=[], eos_token="<|return|>")


def deepseek() -> PreTrainedTokenizerFast:
    special = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
    plain = ["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"]
    names = {"bos_token": special[0], "eos_token": special[1]}
    return _wrap(_byte_level(None, ignore_merges=False), DEEPSEEK, special=special, plain=plain, **names)


def phi() -> PreTrainedTokenizerFast:
    special = ["<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    corpus = [text.replace(" ", "▁") for text in CORPUS] + ["▁Yes", "▁No"] * 50
    tokenizer = _byte_fallback(special, corpus)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _wrap(tokenizer, PHI, special=special, plain=[], bos_token="<s>", eos_token="<|end|>")


def granite() -> PreTrainedTokenizerFast:
    special = ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>", "<fim_prefix>", "<fim_pad>"]
    tokenizer = _byte_level(None, ignore_merges=False)
    return _wrap(tokenizer, GRANITE, special=special, plain=[], bos_token=special[0], eos_token=special[0])


def cohere() -> PreTrainedTokenizerFast:
    turns = [f"<|{part}_TOKEN|>" for part in ("START_OF_TURN", "END_OF_TURN", "SYSTEM", "USER", "CHATBOT")]
    tokenizer = _byte_level(normalizers.NFC(), ignore_merges=False)
    special = ["<PAD>", "<UNK>", "<BOS_TOKEN>", *turns]
    return _wrap(tokenizer, COHERE, special=special, plain=[], bos_token="<BOS_TOKEN>", eos_token=turns[1])


def smollm() -> PreTrainedTokenizerFast:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>", "<filename>"]
    tokenizer = _byte_level(None, ignore_merges=False)
    return _wrap(tokenizer, SMOLLM, special=special, plain=[], bos_token="<|im_start|>", eos_token="<|im_end|>")


_BUILDERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "qwen": qwen,
    "llama3": llama3,
    "gemma": gemma,
    "gemma-spellable": lambda: gemma(spellable=True),
    "mistral": mistral,
    "harmony": harmony,
    "deepseek": deepseek,
    "phi": phi,
    "granite": granite,
    "cohere": cohere,
    "smollm": smollm,
}
FAMILIES = tuple(_BUILDERS)


@cache
def family(name: str) -> PreTrainedTokenizerFast:
    return _BUILDERS[name]()
