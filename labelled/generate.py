"""Writes the answers of a real language model to the topics' questions: the text that rules are then checked on.

It runs once, and its answers are in the repository: `python -m labelled answers --model FOLDER`. Sampling differs
between machines and versions, so another run gives other answers, of which the truth is decided in the same way.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from labelled.topics import TOPICS

_TOKENS = 90
_TEMPERATURE = 0.7
_BATCH = 24
_ASKED = "Answer in two or three short sentences."


def write_answers(model: Path, out: Path, *, seed: int = 0) -> int:
    """Writes a line for each question: topic, prompt, response. Returns their number."""
    asked = [(topic.name, question) for topic in TOPICS for question in topic.questions]
    count = 0
    with out.open("w", encoding="utf-8") as file:
        for (topic, question), response in zip(asked, _answers(model, [one for _, one in asked], seed), strict=True):
            file.write(
                json.dumps({"topic": topic, "prompt": question, "response": response}, ensure_ascii=False) + "\n"
            )
            count += 1
    return count


def _answers(folder: Path, questions: list[str], seed: int) -> Iterator[str]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for start in range(0, len(questions), _BATCH):
        turns = [[{"role": "user", "content": f"{one} {_ASKED}"}] for one in questions[start : start + _BATCH]]
        texts = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in turns]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=_TOKENS, do_sample=True, temperature=_TEMPERATURE)
        written = output[:, inputs["input_ids"].shape[1] :]
        yield from (text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True))
